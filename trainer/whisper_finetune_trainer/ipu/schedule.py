"""The plan of a run whose model has been read: its schedule and, on IPUs, the layout."""

from dataclasses import dataclass
from typing import Optional

from whisper_finetune_api.planning import ipu_planning, run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlan, IpuPlanError
from whisper_finetune_api.planning.model_dimensions import Dimensions
from whisper_finetune_api.run import Accelerator, Schedule, TrainerConfig
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model.backend import BackendSettings


@dataclass(frozen=True)
class TrainingPlan:
    """The schedule that a trainer runs, and the layout on IPUs. `ipu` is None on other accelerators."""

    schedule: Schedule
    ipu: Optional[IpuPlan]


def plan_training(
    spec: WhisperFineTuneSpec, accelerator: Accelerator, ipus: Optional[int], dimensions: Dimensions
) -> TrainingPlan:
    """Return the plan for the model's own dimensions. ConfigInvalid says what does not fit, and what would.

    The operator that made the configuration knew only the models of its table, and may be of another version. So the
    plan is made anew. `ipus` is the size of the partition, or None where it is not known.
    """
    layout = _lay_out(spec, ipus, dimensions) if accelerator == "ipu" else None
    return TrainingPlan(run_plan.make_schedule(spec.training, accelerator, layout), layout)


def _lay_out(spec: WhisperFineTuneSpec, ipus: Optional[int], dimensions: Dimensions) -> IpuPlan:
    try:
        size = ipus or spec.ipus or ipu_planning.smallest_partition(dimensions, spec.ipu_config)
        return ipu_planning.make_ipu_plan(spec.model, dimensions, size, spec.training, spec.ipu_config)
    except IpuPlanError as error:
        raise TrainerError("ConfigInvalid", str(error)) from None


def backend_settings(config: TrainerConfig, plan: TrainingPlan, encoder_outputs_bytes: int) -> BackendSettings:
    """Return the settings of a run that a backend reads."""
    return BackendSettings(
        accelerator=config.accelerator,
        training=config.spec.training,
        schedule=plan.schedule,
        ipu_plan=plan.ipu,
        scratch_folder=config.scratch_folder,
        encoder_outputs_bytes=encoder_outputs_bytes,
        ipu_wait_seconds=config.ipu_wait_seconds,
    )


def clips_per_step(plan: IpuPlan) -> int:
    """Return how many clips one optimizer step takes on all replicas together."""
    return plan.replication_factor * plan.gradient_accumulation_steps * plan.micro_batch_size


def refuse_too_few(clips: int, plan: IpuPlan) -> None:
    """Raise DatasetInvalid where the train clips of an epoch do not fill one step. PopTorch would drop them all."""
    needed = clips_per_step(plan)
    if clips < needed:
        raise TrainerError(
            "DatasetInvalid",
            f"{clips} clips are left to train on, and one step on {plan.ipus} IPUs takes {needed}: "
            f"{plan.replication_factor} replicas x {plan.gradient_accumulation_steps} accumulated x micro-batches of "
            f"{plan.micro_batch_size}; give more clips, fewer ipus, or a smaller training.batchSize",
        )
