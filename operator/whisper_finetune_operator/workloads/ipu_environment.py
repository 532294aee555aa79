"""What the IPU software reads from a trainer's environment. Pure."""

from whisper_finetune_operator.planning.plan import TrainingPlan

#: The V-IPU partition that the trainer attaches to.
PARTITION_ID_VARIABLE = "IPUOF_VIPU_API_PARTITION_ID"
EXECUTABLE_CACHE_FOLDER = "/caches/executables"


def build(plan: TrainingPlan) -> dict[str, str]:
    """Return the variables by name; none without IPUs."""
    if plan.config.accelerator != "ipu":
        return {}
    cache = EXECUTABLE_CACHE_FOLDER if plan.runtime.executable_cache else None
    caches = {"POPLAR_EXECUTABLE_CACHE_DIR": cache, "POPTORCH_CACHE_DIR": cache} if cache else {}
    return {
        "NUM_AVAILABLE_IPU": str(plan.config.ipus),
        # libibverbs is not safe to fork without it, and data loaders fork.
        "RDMAV_FORK_SAFE": "1",
        **caches,
        **_partition(plan),
    }


def _partition(plan: TrainingPlan) -> dict[str, str]:
    """Return where the run's partition is; with Graphcore's IPU operator that is its to say."""
    if plan.partition is None:
        return {}
    return {
        "IPUOF_VIPU_API_HOST": plan.partition.api_host,
        "IPUOF_VIPU_API_PORT": str(plan.partition.api_port),
        PARTITION_ID_VARIABLE: plan.partition.id,
    }
