"""The generated tables of docs/ipus.md are right, and have the notebook's values where the defaults are the same."""

import pytest

from repository import ROOT
from whisper_finetune_api.planning import ipu_layout, model_dimensions

TEXT = (ROOT / "docs" / "ipus.md").read_text(encoding="utf-8")
#: What Graphcore's notebook gives IPUConfig.from_dict on 4 IPUs, the nested generation settings among the others.
NOTEBOOK_IPU_CONFIG = {
    "optimizer_state_offchip": "true",
    "recompute_checkpoint_every_layer": "true",
    "enable_half_partials": "true",
    "gradient_accumulation_steps": "16",
    "replication_factor": "1",
    "layers_per_ipu": "[5, 7, 5, 7]",
    "matmul_proportion": "[0.2, 0.2, 0.6, 0.6]",
    "projection_serialization_factor": "5",
    "inference_replication_factor": "1",
    "inference_layers_per_ipu": "[12, 12]",
    "use_cache": "true",
    "use_encoder_output_buffer": "true",
    "on_device_generation_steps": "16",
}
#: Every other setting of its cells, and ours.
NOTEBOOK = {
    "optimum-graphcore": "optimum-graphcore 0.7.1",
    "soundfile": "soundfile ",
    "jiwer": "jiwer ",
    "NUM_AVAILABLE_IPU": "4 for whisper-small",
    "executable_cache_dir": "`/caches/executables/whisper`",
    "library's default, 42": "`0`",
    "more than 224 tokens": "droppedClips",
    "load_dataset": "`train`",
    "test_size=0.2, seed=0": "`0.2`, seed 0",
    "`path`": "found by name",
    "sampling_rate=16000": "16 kHz",
    "MODEL_NAME": "required",
    "LANGUAGE": "required",
    "TASK": "`transcribe`",
    "MAX_LENGTH": "`224`",
    "WhisperProcessorTorch": "WhisperFeatureExtractorTorch",
    "tokenizer.pad_token": "-100",
    "tokenizer.max_length": "`224`",
    "set_prefix_tokens": "prefix",
    "np.float16": "float16",
    "input_ids": "start token",
    "pad_to_multiple_of=224": "`224`",
    'evaluate.load("wer")': "percent",
    "normalized_wer": "normalizer",
    "`max_length = 224`": "`224`",
    "forced_decoder_ids": "prefix",
    "suppress_tokens": "`[]`",
    "learning_rate": "`1e-05`",
    "total_steps": "`1000`",
    "warmup_steps": "`250`",
    "evaluation_strategy": "at the end",
    "save_strategy": "at the end",
    "logging_steps": "`25`",
    "dataloader_num_workers": "`16`",
    "dataloader_drop_last": "`false`",
    "predict_with_generate": "`true`",
    "batch size 1": "`1`",
    "trainer.evaluate()": "baseline",
    "processor.feature_extractor": "saved",
}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    part = TEXT.split(f"## {heading}\n", 1)[1].split("\n##", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize("setting", NOTEBOOK)
def test_every_setting_of_the_notebook_has_its_row(setting: str) -> None:
    found = [row for row in rows("Every setting of the notebook") if setting in row[1]]
    assert any(NOTEBOOK[setting] in row[-1] for row in found), found
    assert all(row[2] for row in found)


@pytest.mark.parametrize("key", NOTEBOOK_IPU_CONFIG)
def test_every_key_of_the_notebooks_ipu_config_has_its_value_as_default(key: str) -> None:
    found = [row for row in rows("Every setting of the notebook") if row[0] == "IPUConfig" and f"`{key}`" in row[1]]
    assert [row[-1] for row in found] == [f"`{NOTEBOOK_IPU_CONFIG[key]}`"]


def test_every_model_has_a_row_for_every_partition_size() -> None:
    found = [
        (row[0].strip("`"), int(size)) for row in rows("Every model on every partition") for size in row[1].split(",")
    ]
    assert found == [(model, size) for model in model_dimensions.DIMENSIONS for size in ipu_layout.PARTITION_SIZES]


def test_the_notebooks_own_case_is_its_row() -> None:
    [row] = [row for row in rows("Every model on every partition") if row[:2] == ["`openai/whisper-small`", "16"]]
    assert row[2:8] == ["4", "5 7 5 7", "12 12", "250", "4e-05", "9"]
