"""The table of the notebook's settings: the field of each in this project, and its default, from types and plan."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_api.v1alpha1 import Training, WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.dataset import Dataset
from whisper_finetune_operator.planning.pod_template import EXECUTABLE_CACHE_FOLDER
from whisper_finetune_trainer.ipu import executable_cache, library_arguments

LOCK = Path(__file__).parents[2] / "requirements" / "trainer-ipu.txt"
HEADER = ("cell", "notebook", "here", "default")
#: The notebook's own size: NUM_AVAILABLE_IPU, or 4.
IPUS = 4
SPEC = WhisperFineTuneSpec.model_validate(
    {
        "model": "openai/whisper-small",
        "language": "ca",
        "dataset": {"source": "openslr/openslr", "config": "SLR69"},
        "ipus": IPUS,
        "output": {"uri": "pvc://speech/runs"},
    }
)
#: Where the notebook has `/tmp/exe_cache/whisper`.
CACHE = f"{EXECUTABLE_CACHE_FOLDER}/{executable_cache.FOLDER}"
PLAN = run_plan.make_run_plan(SPEC, "ipu", ipus=IPUS)

Row = tuple[str, str, str, str]


def rows() -> Iterator[Row]:
    """Yield the settings in the notebook's order."""
    for part in (packages, environment, data, model_and_processor, features_and_metric, generation):
        yield from part()
    yield from ipu_config()
    yield from arguments()
    yield from order()


def locked(name: str) -> str:
    found = re.search(rf"(?m)^{name}==(\S+)", LOCK.read_text(encoding="utf-8"))
    return f"{name} {found[1]}" if found else f"without {name}"


def default(kind: Any, field: str) -> str:
    """Return the default of a field as YAML writes it."""
    return f"`{kind.model_fields[field].default}`"


def shown(value: object) -> str:
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def packages() -> Iterator[Row]:
    yield "install", "`optimum-graphcore==0.7.1`", "`requirements/trainer-ipu.txt`", locked("optimum-graphcore")
    yield "install", "`transformers` (by its pin)", "the same", locked("transformers")
    yield (
        "install",
        "`soundfile`, `librosa`",
        "`soundfile` decodes, `soxr` resamples",
        (f"{locked('soundfile')}, {locked('soxr')}"),
    )
    yield "install", "`evaluate`, `jiwer`", "`jiwer`, which `evaluate` calls", locked("jiwer")


def environment() -> Iterator[Row]:
    smallest = PLAN.ipu.ipus if PLAN.ipu else None
    yield (
        "env",
        "`n_ipu = NUM_AVAILABLE_IPU or 4`",
        "`ipus`; the operator sets `NUM_AVAILABLE_IPU`",
        (f"the smallest partition that will do: {smallest} for whisper-small"),
    )
    yield (
        "env",
        "`POPLAR_EXECUTABLE_CACHE_DIR`, `executable_cache_dir`",
        ("the runtime's `executableCache`; `POPTORCH_CACHE_DIR` is set too"),
        f"`{CACHE}`; without that volume: `disabled`",
    )


def data() -> Iterator[Row]:
    split = default(Dataset, "train_split")
    yield (
        "data",
        '`load_dataset("openslr", "SLR69", split="train")`',
        ("`dataset.source`, `.config`, `.trainSplit`"),
        f"required; {split}",
    )
    yield (
        "data",
        "`train_test_split(test_size=0.2, seed=0)`",
        "`dataset.evalFraction` without `evalSplit`, `.holdOut: Clips`",
        (f"{default(Dataset, 'eval_fraction')}, seed 0, drawn by our own rule: other clips than the notebook's"),
    )
    yield "data", "dropping the column `path`", "`dataset.audioColumn`, `.textColumn`", "found by name"
    yield "data", "`cast_column(..., Audio(sampling_rate=16000))`", "always", "16 kHz"


def model_and_processor() -> Iterator[Row]:
    yield "model", '`MODEL_NAME = "openai/whisper-small"`', "`model`", "required"
    yield "model", '`LANGUAGE = "spanish"` (the speech is Catalan)', "`language`", "required"
    yield "model", '`TASK = "transcribe"`', "`task`", default(WhisperFineTuneSpec, "task")
    yield "model", "`MAX_LENGTH = 224`", "`training.maxLabelTokens`", default(Training, "max_label_tokens")
    yield (
        "processor",
        "`WhisperProcessorTorch.from_pretrained(language=, task=)`",
        "`model`, `language`, `task`",
        ("the library's `WhisperFeatureExtractorTorch`"),
    )
    yield "processor", "`tokenizer.pad_token = tokenizer.eos_token`", "always", "labels are filled up with -100"
    yield (
        "processor",
        "`tokenizer.max_length = 224`",
        "`training.maxLabelTokens`",
        default(Training, "max_label_tokens"),
    )
    yield (
        "processor",
        "`tokenizer.set_prefix_tokens(language=, task=)`",
        "`language`, `task`",
        ("the same prefix; none of both for English-only models"),
    )


def features_and_metric() -> Iterator[Row]:
    yield "features", "`input_features.astype(np.float16)`", "`training.precision`", "`Half` on IPUs: float16"
    yield (
        "features",
        "`labels = tokenizer(text).input_ids`",
        "always",
        ("the start token is kept, see [below](#the-doubled-start-token)"),
    )
    yield (
        "collator",
        '`tokenizer.pad(padding="longest", pad_to_multiple_of=224)`',
        "`training.maxLabelTokens`",
        (f"{default(Training, 'max_label_tokens')}: every batch has one shape"),
    )
    yield (
        "collator",
        "a label of more than 224 tokens is padded to 448, a shape that was not compiled",
        "`training.maxLabelTokens`",
        "such clips are left out of training and counted (`droppedClips`)",
    )
    yield "collator", "padding to -100", "always", "-100"
    yield (
        "metric",
        '`evaluate.load("wer")`, x 100',
        "`status.result.wer`",
        "percent, two decimals; loops count as not heard",
    )
    yield (
        "metric",
        "`normalized_wer` by `tokenizer._normalize`",
        "`status.result.normalizedWer`",
        ("English's normalizer for English only, else one that keeps every script's marks; `status.metric` names it"),
    )


def generation() -> Iterator[Row]:
    yield (
        "generation",
        "`max_length = 224` on `config` and `generation_config`",
        "`training.maxLabelTokens`",
        f"{default(Training, 'max_label_tokens')}, published too",
    )
    yield (
        "generation",
        "`forced_decoder_ids = get_decoder_prompt_ids(...)` on both",
        "`language`, `task`",
        ("the prefix, on both"),
    )
    yield "generation", "`suppress_tokens = []` on both", "always", "`[]`, on both, published too"


#: Names of IPUConfig to where a user reaches them.
FIELDS = {
    "gradient_accumulation_steps": "`ipuConfig.gradientAccumulationSteps`; absent: `training.batchSize`",
    "replication_factor": "`ipus` / IPUs of one replica",
    "inference_replication_factor": "always: replicas and the encoder's output buffer exclude each other",
    "executable_cache_dir": "the runtime's `executableCache`",
    "on_device_generation_steps": "`ipuConfig.onDeviceGenerationSteps`",
    "use_cache": "always",
    "use_encoder_output_buffer": "always",
}


def ipu_config() -> Iterator[Row]:
    values = library_arguments.ipu_config(require_plan(), CACHE)
    flat = {**values, **values["inference_parallelize_kwargs"]}
    del flat["inference_parallelize_kwargs"]
    for name, value in flat.items():
        inside = " in `inference_parallelize_kwargs`" if name in values["inference_parallelize_kwargs"] else ""
        yield "IPUConfig", f"`{name}`{inside}", FIELDS.get(name, f"`ipuConfig.{camel(name)}`"), shown(value)


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def require_plan() -> Any:
    if PLAN.ipu is None:
        raise ValueError("whisper-small has a plan for IPUs")
    return PLAN.ipu


def arguments() -> Iterator[Row]:
    given = trainer_arguments()
    yield "arguments", "`learning_rate = 1e-5 * R`", "`training.learningRate` x replicas", shown(given["learning_rate"])
    yield (
        "arguments",
        "`total_steps = 1000 // R`, `max_steps`",
        "`training.steps` / replicas",
        shown(given["max_steps"]),
    )
    yield "arguments", "`warmup_steps = total_steps // 4`", "`training.warmupFraction`", shown(given["warmup_steps"])
    yield (
        "arguments",
        '`evaluation_strategy="steps"`, `eval_steps=total_steps`',
        "`training.evalEverySteps`",
        ("at the end; our loop calls it, so the library is told `no`"),
    )
    yield (
        "arguments",
        '`save_strategy="steps"`, `save_steps=total_steps`',
        ("`training.saveEverySteps`, `.resumeEverySeconds`"),
        "at the end, and to resume; never pickled, so the library is told `no`",
    )
    yield "arguments", "`logging_steps=25`", "always", shown(given["logging_steps"])
    yield (
        "arguments",
        "`dataloader_num_workers=16`",
        "always, but fewer where CPUs or /dev/shm are",
        shown(given["dataloader_num_workers"]),
    )
    yield (
        "arguments",
        "`dataloader_drop_last=True`",
        "always",
        (f"{shown(given['dataloader_drop_last'])}: training still drops an incomplete last batch, evaluation never"),
    )
    yield "arguments", "`predict_with_generate=True`", "always", shown(given["predict_with_generate"])
    yield (
        "arguments",
        "batch size 1 (its default)",
        "`training.batchSize` / accumulation",
        shown(given["per_device_train_batch_size"]),
    )
    yield (
        "arguments",
        "`seed` (the library's default, 42)",
        "`training.seed`",
        f"{shown(given['seed'])}, and the order of the clips is our own: other batches than the notebook's",
    )


def trainer_arguments() -> dict[str, Any]:
    config = TrainerConfig(
        name="notebook",
        namespace="default",
        uid="0",
        spec=SPEC,
        accelerator="ipu",
        ipus=IPUS,
        schedule=PLAN.schedule,
        progress_port=0,
        scratch_limit_bytes=0,
    )
    return library_arguments.training_arguments(
        config.spec.training, config.schedule, config.scratch_folder, library_arguments.LOADER_WORKERS
    )


def order() -> Iterator[Row]:
    yield "run", "`trainer.evaluate()` before `trainer.train()`", "always", "`status.baseline`, then `status.result`"
    yield (
        "run",
        "`tokenizer=processor.feature_extractor`",
        "always",
        ("tokenizer, processor and generation settings are saved beside the weights"),
    )
