"""The kinds of workload that a run may become. Another one is a module like `job_kind`, and its line here."""

from whisper_finetune_operator.workloads.ipu_job_kind import IPU_JOB
from whisper_finetune_operator.workloads.job_kind import JOB
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind

#: By name, as an object's `kind` has it. Where several have an object under one name, the first one counts.
KINDS: dict[str, WorkloadKind] = {kind.name: kind for kind in (JOB, IPU_JOB)}
#: Of a runtime that names none, and of a pod that has lost its owner.
DEFAULT = JOB


def built_in() -> tuple[WorkloadKind, ...]:
    """Return those that every Kubernetes knows."""
    return tuple(kind for kind in KINDS.values() if kind.controller is None)


def added() -> tuple[WorkloadKind, ...]:
    """Return those that a cluster knows only where their controller is installed."""
    return tuple(kind for kind in KINDS.values() if kind.controller)


def on_partitions() -> tuple[WorkloadKind, ...]:
    """Return those that may use the operator's own partitions."""
    return tuple(kind for kind in KINDS.values() if kind.takes_partitions)


def fixed_pod_names(workload_name: str) -> tuple[str, ...]:
    """Return what a pod of a workload of that name is called, of the kinds that say."""
    return tuple(f"{workload_name}{kind.pod_suffix}" for kind in KINDS.values() if kind.pod_suffix)
