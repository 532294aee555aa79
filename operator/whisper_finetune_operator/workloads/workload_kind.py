"""What a kind of workload is, and what decisions need to know of the workload that makes a run's pods. Pure.

Whatever differs between the kinds is in the one object that each of them has, in a module of its own.
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
    """What a workload of any kind is built from."""

    #: Name, namespace and owner.
    metadata: KubernetesObject
    #: The name of the runtime that the run is planned on.
    runtime: str
    #: The labels of every object of the run.
    labels: dict[str, str]
    #: The labels of the run that Kueue reads.
    queue_labels: dict[str, str]
    pod_template: KubernetesObject
    retries: int
    #: How many attempts of earlier workloads are taken from the retries.
    failed_before: int
    ipus: int | None
    #: Set for a runtime with a pool.
    partition: PoolPartition | None


@dataclass(frozen=True)
class WorkloadKind:
    """One kind of workload: all that the operator asks about it."""

    #: As `kind` in a manifest, and as `workload` in the admin's file.
    name: str
    #: Group and version, such as `batch/v1`.
    api_version: str
    #: The plural name, as in the API server's paths.
    plural: str
    #: Where the template of its pod stands in the object.
    pod_template_path: str
    build: Callable[[WorkloadOrder], KubernetesObject]
    #: Takes the raw object and the pods labelled with the run's UID, oldest first.
    read: Callable[[KubernetesObject, tuple[Pod, ...]], "Workload"]
    #: How long to wait before the next pod after so many ends of pods.
    back_off: Callable[[int], timedelta]
    #: Whether its controller counts the pods that ended and makes the next one. Else it makes one pod, and the operator
    #: makes another workload for each further attempt.
    is_retried_by_its_controller: bool
    #: Whether it is deleted by its own ttlSecondsAfterFinished. Else the operator deletes it in time.
    goes_by_its_own_ttl: bool
    is_queued_by_kueue: bool
    #: Whether it may be made suspended, and started once its run surely has a partition of the operator's.
    takes_partitions: bool
    #: Whether the first one of a run may be made before the status says whose the run is. The API server lets one
    #: installation alone have its name, and the workload says which.
    claims_its_run: bool
    #: Whether its controller gives it IPUs. Then it is for no other accelerator.
    brings_ipus: bool
    #: Whether its pods have their host's network, whatever the runtime says.
    shares_host_network: bool
    #: What its pod has behind the workload's name, where all attempts have one name. Empty: its pods have other names.
    pod_suffix: str = ""
    #: Who makes its pods, where not every Kubernetes has that. A cluster may not know such a kind.
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
    """How a workload ended: by its own condition, or Spent where its one pod has ended, which tells how."""

    type: Literal["Complete", "Failed", "Spent"]
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True)
class Workload:
    """The run's workload as it is now. What its kind does not have is empty."""

    kind: WorkloadKind
    name: str
    uid: str
    resource_version: str
    created: datetime
    #: UID of the controller that owns it. None where nobody does.
    owner_uid: str | None
    deleted: bool
    end: End | None
    #: What its controller says about it, for people.
    remark: str = ""
    #: Whether Kueue, somebody's hand, or its partition's rule keeps it from having pods.
    suspended: bool = False
    #: Kueue's queue that it waits in, or that admitted it. None where it has none.
    queue: str | None = None
    #: Who runs it in place of this cluster's controller. Kueue names itself where another cluster runs it.
    managed_by: str | None = None
    #: Since when its controller wants a pod for it: since it was first seen, or since it was resumed.
    started_at: datetime | None = None
    #: Whether anybody has started it once. Kueue removes the start time when it suspends a Job.
    started_before: bool = False
    backoff_limit: int = 0
    failed_before: int = 0
    #: Name of the Lease of the partition that it is made for, and the partition's id.
    partition: str | None = None
    partition_id: str | None = None
    #: The runtime that it was planned on, and its IPUs. None where it does not say.
    runtime: str | None = None
    ipus: int | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
