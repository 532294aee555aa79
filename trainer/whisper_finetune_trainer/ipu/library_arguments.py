"""What optimum-graphcore is told: its IPUConfig and its IPUSeq2SeqTrainingArguments, as plain values. Pure."""

from typing import Any, Dict, Optional

from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlan
from whisper_finetune_api.run import Schedule
from whisper_finetune_api.v1alpha1 import Training

#: Fewer where the machine has fewer CPUs or little shared memory.
LOADER_WORKERS = run_plan.LOADER_PROCESSES
_LOGGING_STEPS = 25


def ipu_config(plan: IpuPlan, executable_cache: Optional[str]) -> Dict[str, Any]:
    """Return what IPUConfig.from_dict takes; None: no cache of executables."""
    return {**plan.ipu_config(), "executable_cache_dir": executable_cache or "disabled"}


def training_arguments(
    training: Training, schedule: Schedule, output_dir: str, loader_workers: int, *, compile_only: bool = False
) -> Dict[str, Any]:
    """Return what IPUSeq2SeqTrainingArguments takes.

    The library neither saves nor evaluates by itself: its best model would be the last one, and its checkpoints are
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
        # A loss that is no number must not be shown as one.
        "logging_nan_inf_filter": False,
        "dataloader_num_workers": loader_workers,
        # Training drops an incomplete last batch all the same; evaluation must not.
        "dataloader_drop_last": False,
        # The order of the clips begins at the step that is resumed at: nothing is read only to be skipped.
        "ignore_data_skip": True,
        "seed": training.seed,
        "fp32": training.precision == "Float",
        "report_to": "none",
        "disable_tqdm": True,
        "compile_only": compile_only,
    }
