"""What a kind of workload is, and what decisions need to know of the one workload that makes a run's pods.

Whatever differs between the kinds stands in the one object that each of them has, in a module of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.partitions.pools import PoolPartition
from whisper_finetune_operator.workloads.pods import Pod

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True)
class WorkloadOrder:
    """What a workload is built from, of whichever kind it is."""

    #: Name, namespace and owner.
    metadata: KubernetesObject
    #: Of every object of the run.
    labels: dict[str, str]
    #: Of the run, for Kueue.
    queue_labels: dict[str, str]
    pod_template: KubernetesObject
    retries: int
    #: So many attempts of earlier workloads are taken from the retries.
    failed_before: int
    ipus: int | None
    #: Of a runtime with a pool.
    partition: PoolPartition | None


@dataclass(frozen=True)
class WorkloadKind:
    """One kind of workload: all that the operator asks about it."""

    #: As `kind` in a manifest, and as `workload` in the admin's file.
    name: str
    #: Group and version, such as `batch/v1`.
    api_version: str
    #: As in the API server's paths.
    plural: str
    #: Where the template of its pod stands in the object.
    pod_template_path: str
    build: Callable[[WorkloadOrder], KubernetesObject]
    #: From the raw object and the pods labelled with the run's UID, oldest first.
    read: Callable[[KubernetesObject, tuple[Pod, ...]], "Workload"]
    #: How long its next pod is waited for after so many ends of pods.
    back_off: Callable[[int], timedelta]
    #: Its controller counts the pods that ended and makes the next one. Else it makes one pod, and each further attempt
    #: is another workload, which is the operator's to make.
    is_retried_by_its_controller: bool
    #: It goes by its own ttlSecondsAfterFinished; else the operator deletes it in time.
    goes_by_its_own_ttl: bool
    is_queued_by_kueue: bool
    #: It may be made suspended, and started once its run surely has a partition of the operator's.
    takes_partitions: bool
    #: Its controller gives it IPUs: it is for no other accelerator.
    brings_ipus: bool
    #: Its pods have their host's network, whatever its runtime says.
    shares_host_network: bool
    #: What follows its own name in its pod's, where that is the same for each attempt; else its pods have other names.
    pod_suffix: str = ""
    #: Who makes its pods, where that is no part of every Kubernetes: a cluster may not know such a kind.
    controller: str | None = None

    @property
    def group(self) -> str:
        """The API group, such as `batch`."""
        return self.api_version.partition("/")[0]

    @property
    def version(self) -> str:
        """The version in its group, such as `v1`."""
        return self.api_version.partition("/")[2]


@dataclass(frozen=True)
class End:
    """How it ended: by its own condition, or Spent where its one pod has ended, which tells how."""

    type: Literal["Complete", "Failed", "Spent"]
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True)
class Workload:
    """The run's workload as it stands; what its kind does not have is empty."""

    kind: WorkloadKind
    name: str
    uid: str
    resource_version: str
    created: datetime
    #: UID of the controller that owns it; None where nobody does.
    owner_uid: str | None
    deleted: bool
    end: End | None
    #: What its controller says about it, for people.
    remark: str = ""
    #: Kueue, somebody's hand, or its partition's rule keeps it from having pods.
    suspended: bool = False
    #: Kueue's queue that it waits in, or was admitted by; None where it has none.
    queue: str | None = None
    #: Who runs it in place of this cluster's controller: Kueue names itself where another cluster does.
    managed_by: str | None = None
    #: Its controller has seen it, and it wants a pod since then, or since it was resumed.
    started_at: datetime | None = None
    #: It was started once, by whomever: Kueue takes the start time away when it suspends a Job.
    started_before: bool = False
    backoff_limit: int = 0
    failed_before: int = 0
    #: Name of the Lease of the partition that it is made for, and the partition's id.
    partition: str | None = None
    partition_id: str | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
