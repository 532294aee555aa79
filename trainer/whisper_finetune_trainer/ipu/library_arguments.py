"""The settings of optimum-graphcore: its IPUConfig and its IPUSeq2SeqTrainingArguments, as plain values. Pure."""

from typing import Any, Dict, Optional

from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlan
from whisper_finetune_api.run import Schedule
from whisper_finetune_api.v1alpha1 import Training

#: At most. A machine with few CPUs or little shared memory has fewer.
LOADER_WORKERS = run_plan.LOADER_PROCESSES
_LOGGING_STEPS = 25


def ipu_config(plan: IpuPlan, executable_cache: Optional[str]) -> Dict[str, Any]:
    """Return the values for IPUConfig.from_dict. `executable_cache` is its folder, or None without a cache."""
    return {**plan.ipu_config(), "executable_cache_dir": executable_cache or "disabled"}


def training_arguments(
    training: Training, schedule: Schedule, output_dir: str, loader_workers: int, *, compile_only: bool = False
) -> Dict[str, Any]:
    """Return the arguments for IPUSeq2SeqTrainingArguments.

    The library does not save and evaluate by itself. Its best model would be the last one, and its checkpoints are
    pickled.
    """
    return {
        "output_dir": output_dir,
        "do_train": True,
        "do_eval": True,
        "predict_with_generate": True,
        "per_device_train_batch_size": schedule.micro_batch_size,
        "per_device_eval_batch_size": 1,
        "learning_rate": schedule.learning_rate,
        "warmup_steps": schedule.warmup_steps,
        "max_steps": schedule.steps,
        "evaluation_strategy": "no",
        "save_strategy": "no",
        "logging_steps": _LOGGING_STEPS,
        # A loss of NaN must be seen. The filter would show another number.
        "logging_nan_inf_filter": False,
        "dataloader_num_workers": loader_workers,
        # Training drops an incomplete last batch all the same. Evaluation must not.
        "dataloader_drop_last": False,
        # The clip sampler begins at the resumed step. The library would read and skip the clips before it.
        "ignore_data_skip": True,
        "seed": training.seed,
        "fp32": training.precision == "Float",
        "report_to": "none",
        "disable_tqdm": True,
        "compile_only": compile_only,
    }
