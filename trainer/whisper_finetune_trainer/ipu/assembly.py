"""Put optimum-graphcore's trainer together for one run."""

import copy
import shutil
from pathlib import Path
from typing import Any

from optimum.graphcore import IPUConfig, IPUSeq2SeqTrainingArguments

from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlan
from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.ipu import library_arguments, train_data
from whisper_finetune_trainer.ipu.examples import Collator
from whisper_finetune_trainer.ipu.executable_cache import ExecutableCache
from whisper_finetune_trainer.ipu.train_data import TrainData
from whisper_finetune_trainer.ipu.trainer import IpuTrainer
from whisper_finetune_trainer.model.backend import BackendSettings
from whisper_finetune_trainer.model.model import LoadedModel

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- through it the processes of a loader hand over their batches
_BYTES_OF_TYPE = {"float16": 2, "float32": 4}


def make_trainer(
    settings: BackendSettings,
    loaded: LoadedModel,
    cache: ExecutableCache,
    data: TrainData,
    *,
    compile_only: bool = False,
) -> IpuTrainer:
    """Return the trainer for the run's examples. With `compile_only` the library raises SystemExit once it compiled."""
    plan = settings.layout()
    max_length = label_tokens(loaded)
    workers = 0 if compile_only else loader_workers(plan, loaded, feature_type(settings.training), settings.cpus)
    arguments = library_arguments.training_arguments(
        settings.training, settings.schedule, settings.scratch_folder, workers, compile_only=compile_only
    )
    return IpuTrainer(
        data.order,
        is_encoder_frozen=settings.training.trainable == "Decoder",
        model=with_generation_settings(loaded),
        ipu_config=IPUConfig.from_dict(library_arguments.ipu_config(plan, cache.folder)),
        args=IPUSeq2SeqTrainingArguments(**arguments),
        train_dataset=data.examples,
        eval_dataset=data.examples,
        data_collator=Collator(max_length, loaded.network.config.pad_token_id),
    )


def feature_type(training: Training) -> str:
    """Return the type of features and weights: float32 where `training.precision` is Float, else float16."""
    return "float32" if training.precision == "Float" else "float16"


def loader_workers(plan: IpuPlan, loaded: LoadedModel, type_name: str, cpus: int) -> int:
    """Return how many processes make features: as many as in the notebook, if CPUs and shared memory allow it.

    `type_name` is float16 or float32, and `cpus` are those of this process.
    """
    settings = loaded.feature_settings
    values = settings.mel_bins * settings.window_seconds * decoding.FRAMES_PER_SECOND
    step_bytes = train_data.clips_per_step(plan) * values * _BYTES_OF_TYPE[type_name]
    shared_bytes = shutil.disk_usage(_SHARED_MEMORY).free // 2 if _SHARED_MEMORY.is_dir() else 0
    fitting: Any = shared_bytes // (run_plan.BATCHES_OF_PROCESS * step_bytes)
    return int(min(library_arguments.LOADER_WORKERS, cpus - 1, fitting))


#: The notebook sets these on both configurations, `config` and `generation_config`.
_ON_BOTH = ("max_length", "forced_decoder_ids", "suppress_tokens")


def label_tokens(loaded: LoadedModel) -> int:
    """Return how many tokens every label has. A generated text has at most as many."""
    return int(loaded.network.generation_config.max_length)


def with_generation_settings(loaded: LoadedModel) -> Any:
    """Return a copy of the loaded network that has the generation settings on both its configurations.

    transformers 4.29 reads some of them from `config` and some from `generation_config`. Newer versions refuse to save
    a model that has them on `config`. So the loaded network itself is not changed. The copy shares its weights.
    """
    network = copy.copy(loaded.network)
    network.config = copy.deepcopy(network.config)
    network.generation_config = copy.deepcopy(network.generation_config)
    for name in _ON_BOTH:
        setattr(network.config, name, getattr(network.generation_config, name))
    return network
