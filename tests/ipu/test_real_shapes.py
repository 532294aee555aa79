"""Whisper's real sizes on emulated IPUs: whisper-small's layout on every partition size, and whisper-base's weights."""

import os
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
import torch
from ipu_runs import IpuVolume
from optimum.graphcore.trainer import IPUTrainer
from test_notebook import default_config
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration
from transformers.modeling_utils import no_init_weights

from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.planning.model_dimensions import DIMENSIONS
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.ipu import assembly, train_data
from whisper_finetune_trainer.ipu.executable_cache import ExecutableCache
from whisper_finetune_trainer.model.backend import BackendSettings
from whisper_finetune_trainer.model.model import LoadedModel

SMALL = DIMENSIONS["openai/whisper-small"]
PROMPT = (50258, 50262, 50359, 50363)
Blocks = List[Tuple[str, int]]


@pytest.fixture(scope="module")
def small() -> LoadedModel:
    """Return whisper-small without its values: only shapes matter."""
    config = WhisperConfig(
        d_model=SMALL.width,
        encoder_layers=SMALL.encoder_layers,
        decoder_layers=SMALL.decoder_layers,
        encoder_attention_heads=SMALL.heads,
        decoder_attention_heads=SMALL.heads,
        encoder_ffn_dim=4 * SMALL.width,
        decoder_ffn_dim=4 * SMALL.width,
        vocab_size=SMALL.vocabulary,
    )
    with no_init_weights():
        network = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    network.generation_config = GenerationConfig(decoder_start_token_id=PROMPT[0], eos_token_id=50257)
    settings = decoding.feature_settings_of(config)
    return LoadedModel(network, None, settings, SMALL, PROMPT, 225, "es", english_only=False, spellings={})


class Compiled:
    """What the library compiled: its blocks by name with their IPUs, and how many IPUs it takes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.blocks: Blocks = []
        self.ipus = 0
        compile_model = IPUTrainer.compile_model

        def noting(trainer: Any, model: Any, batch: Dict[str, Any], **options: Any) -> None:
            compile_model(trainer, model, batch, **options)
            self.blocks, self.ipus = model.graph.blocks, model.graph.ipus

        patch.setattr(IPUTrainer, "compile_model", noting)


@pytest.mark.parametrize("ipus", [4, 8, 16, 32, 64])
def test_whisper_small_compiles_at_every_partition_size(
    small: LoadedModel, ipus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is there to run on: the library compiles for offline IPUs.
    monkeypatch.setenv("NUM_AVAILABLE_IPU", "0")
    # The library makes each layer anew and copies the values of the old one: random ones before that cost seconds.
    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", lambda _: None)
    config = default_config(ipus).model_copy(update={"scratch_folder": str(tmp_path)})
    plan = run_plan.make_run_plan(config.spec, "ipu", ipus=ipus).ipu
    assert plan is not None
    example = {"input_features": np.zeros((80, 3000), dtype=np.float16), "labels": [*PROMPT, 50257]}
    data = train_data.of_one_example(example, plan)
    compiled = Compiled(monkeypatch)
    settings = BackendSettings(
        accelerator="ipu",
        training=config.spec.training,
        schedule=config.schedule,
        ipu_plan=plan,
        scratch_folder=config.scratch_folder,
        encoder_outputs_bytes=0,
        ipu_wait_seconds=config.ipu_wait_seconds,
        cpus=1,
    )
    with data.order.after(0), pytest.raises(SystemExit) as ended, no_init_weights():
        assembly.make_trainer(settings, small, ExecutableCache(None), data, compile_only=True)
    assert ended.value.code == 0
    assert compiled.ipus == ipus
    assert layers_on(compiled.blocks) == {"Encoder": [5, 7, 0, 0], "Decoder": [0, 0, 5, 7]}


def layers_on(blocks: Blocks) -> Dict[str, List[int]]:
    """Return how many layers of each half lie on each IPU of a replica."""
    found: Dict[str, List[int]] = {"Encoder": [0] * 4, "Decoder": [0] * 4}
    for name, ipu in blocks:
        half = name.rstrip("0123456789")
        if half in found and half != name:
            found[half][ipu] += 1
    return found


DEMO = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper-finetune" / "demo"


@pytest.mark.skipif(
    not (DEMO / "model/whisper-base/model.safetensors").is_file() or not (DEMO / "speech/it/manifest.jsonl").is_file(),
    reason="no weights of whisper-base and no speech: `make demo` fetches them",
)
def test_whisper_base_learns_from_real_speech(tmp_path: Path) -> None:
    volume = IpuVolume(DEMO, tmp_path)
    config = volume.config(
        spec={
            "model": "pvc://speech/model/whisper-base",
            "dataset": {"source": "pvc://speech/speech/it", "maxTrainClips": 3, "maxEvalClips": 1},
        },
        steps=2,
        batchSize=3,
        learningRate="1e-5",
        warmupFraction="0.0",
        maxLabelTokens=32,
    )
    losses: List[str] = []
    ended = volume.attempt(
        config, lambda now: losses.append(now.report.progress.loss or "") if now.report.progress else None
    )
    assert ended.exit_code == 0, ended.result.message
    seen = [float(loss) for loss in dict.fromkeys(losses) if loss]
    assert len(seen) == 2
    # Real weights understand real speech: noise among 51,865 tokens has a loss of 10.9 and no word right.
    assert max(seen) < 8
    assert ended.result.baseline is not None
    assert float(ended.result.baseline.normalized_wer) < 100
    assert ended.result.ran_on is not None
    assert "emulated" in ended.result.ran_on.software
