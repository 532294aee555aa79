"""The IPU plan of a run whose model has been read, and the schedule that follows from it."""

from whisper_finetune_api.planning import ipu_planning, run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlan, IpuPlanError
from whisper_finetune_api.planning.model_dimensions import Dimensions
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.messages.errors import TrainerError


def make_plan(config: TrainerConfig, dimensions: Dimensions) -> IpuPlan:
    """Return the layout on the run's partition; ConfigInvalid says what cannot be, and what would do."""
    spec = config.spec
    try:
        ipus = config.ipus or spec.ipus or ipu_planning.smallest_partition(dimensions, spec.ipu_config)
        return ipu_planning.make_ipu_plan(spec.model, dimensions, ipus, spec.training, spec.ipu_config)
    except IpuPlanError as error:
        raise TrainerError("ConfigInvalid", str(error)) from None


def of_model(config: TrainerConfig, dimensions: Dimensions) -> TrainerConfig:
    """Return the configuration with the schedule that this trainer runs, for its model's own dimensions.

    Whoever made the configuration knew only the models of the table, and may be of another version.
    """
    if config.accelerator != "ipu":
        schedule = run_plan.make_schedule(config.spec.training, config.accelerator)
        return config.model_copy(update={"schedule": schedule})
    plan = make_plan(config, dimensions)
    schedule = run_plan.make_schedule(config.spec.training, "ipu", plan)
    return config.model_copy(update={"schedule": schedule, "ipus": plan.ipus})


def clips_per_step(plan: IpuPlan) -> int:
    """Return the clips that one optimizer step takes, over all replicas."""
    return plan.replication_factor * plan.gradient_accumulation_steps * plan.micro_batch_size


def refuse_too_few(clips: int, plan: IpuPlan) -> None:
    """Raise DatasetInvalid where the train clips of an epoch do not fill one step: PopTorch would drop them all."""
    needed = clips_per_step(plan)
    if clips < needed:
        raise TrainerError(
            "DatasetInvalid",
            f"{clips} clips are left to train on, and one step on {plan.ipus} IPUs takes {needed}: "
            f"{plan.replication_factor} replicas x {plan.gradient_accumulation_steps} accumulated x micro-batches of "
            f"{plan.micro_batch_size}; give more clips, fewer ipus, or a smaller training.batchSize",
        )
