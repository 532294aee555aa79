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


def is_pod_name(pod_name: str, workload_name: str) -> bool:
    """Return whether a kind that says how its pods are called would call one so, of a workload of that name."""
    return any(kind.pod_suffix and pod_name == f"{workload_name}{kind.pod_suffix}" for kind in KINDS.values())
