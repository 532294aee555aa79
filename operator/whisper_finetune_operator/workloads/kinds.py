"""The kinds of workload that a run may become. A further one is a module like `job_kind` and a line here. Pure."""

from whisper_finetune_operator.workloads.ipu_job_kind import IPU_JOB
from whisper_finetune_operator.workloads.job_kind import JOB
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind

#: By the `kind` of their objects. Where objects of several kinds have one name, the first kind counts.
KINDS: dict[str, WorkloadKind] = {kind.name: kind for kind in (JOB, IPU_JOB)}
#: The kind of a runtime that names none, and of a pod that has lost its owner.
DEFAULT = JOB


def built_in() -> tuple[WorkloadKind, ...]:
    """Return the kinds that every Kubernetes knows."""
    return tuple(kind for kind in KINDS.values() if kind.controller is None)


def added() -> tuple[WorkloadKind, ...]:
    """Return the kinds that a cluster knows only where their controller is installed."""
    return tuple(kind for kind in KINDS.values() if kind.controller)


def on_partitions() -> tuple[WorkloadKind, ...]:
    """Return the kinds that may use the operator's own partitions."""
    return tuple(kind for kind in KINDS.values() if kind.takes_partitions)


def claiming() -> tuple[WorkloadKind, ...]:
    """Return the kinds whose first one may be made before the run has a status."""
    return tuple(kind for kind in KINDS.values() if kind.claims_its_run)


def is_pod_name(pod_name: str, workload_name: str) -> bool:
    """Return whether a pod of that name may be the workload's, by the kinds that give their pods fixed names."""
    return any(kind.pod_suffix and pod_name == f"{workload_name}{kind.pod_suffix}" for kind in KINDS.values())
