"""A kind of workload that the operator does not have. Another kind costs a module like this one."""

from datetime import timedelta

from whisper_finetune_operator.kubernetes_objects import KubernetesObject, controller_of, parse_time
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import End, Workload, WorkloadKind, WorkloadOrder


def build_training(order: WorkloadOrder) -> KubernetesObject:
    return {
        "apiVersion": TRAINING.api_version,
        "kind": TRAINING.name,
        "metadata": {**order.metadata, "labels": order.labels},
        "spec": {"template": order.pod_template},
        "status": {},
    }


def read_training(training: KubernetesObject, pods: tuple[Pod, ...]) -> Workload:
    metadata = training["metadata"]
    own = [pod for pod in pods if pod.owner_uid == metadata["uid"]]
    return Workload(
        kind=TRAINING,
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        created=parse_time(metadata["creationTimestamp"]),
        owner_uid=controller_of(training).get("uid"),
        deleted="deletionTimestamp" in metadata,
        end=End("Spent", "PodEnded", "its pod has ended", own[-1].created) if own and own[-1].ended else None,
    )


def _back_off(_: int) -> timedelta:
    return timedelta()


TRAINING = WorkloadKind(
    name="Training",
    api_version="trainings.example.org/v1",
    plural="trainings",
    pod_template_path="spec.template",
    build=build_training,
    read=read_training,
    back_off=_back_off,
    is_retried_by_its_controller=False,
    goes_by_its_own_ttl=False,
    is_queued_by_kueue=False,
    takes_partitions=False,
    claims_its_run=False,
    brings_ipus=False,
    shares_host_network=False,
    controller="the operator of trainings",
)
