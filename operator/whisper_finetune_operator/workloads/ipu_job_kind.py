"""An IPUJob of Graphcore's IPU operator, built and read: one worker on a partition that Graphcore's operator makes.

Its status has no fixed words, and the source of its controller is closed. So only the end of its one pod counts.
"""

from datetime import timedelta

from whisper_finetune_operator.back_off import doubled_wait
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, controller_of, parse_time
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import End, Workload, WorkloadKind, WorkloadOrder

#: Its pod has this behind the IPUJob's name, and so one name for all attempts.
_WORKER = "-worker-0"
#: The waits between the pods of a run, as a Job's controller has them.
_FIRST_BACK_OFF, _LAST_BACK_OFF = timedelta(seconds=10), timedelta(minutes=6)


def build_ipu_job(order: WorkloadOrder) -> KubernetesObject:
    """Return the IPUJob of an order: one attempt, whose pod stays to be read."""
    return {
        "apiVersion": IPU_JOB.api_version,
        "kind": IPU_JOB.name,
        "metadata": {**order.metadata, "labels": order.labels},
        "spec": {
            "jobInstances": 1,
            "ipusPerJobInstance": str(order.ipus),
            "cleanPodPolicy": "None",
            "restartPolicy": {"type": "Never"},
            "workers": {"replicas": 1, "template": order.pod_template},
        },
    }


def read_ipu_job(ipu_job: KubernetesObject, pods: tuple[Pod, ...]) -> Workload:
    """Return the facts of a raw IPUJob. `pods` are those labelled with the run's UID, oldest first."""
    metadata, status = ipu_job["metadata"], ipu_job.get("status") or {}
    created = parse_time(metadata["creationTimestamp"])
    own = [pod for pod in pods if pod.name == f"{metadata['name']}{_WORKER}" and pod.created >= created]
    return Workload(
        kind=IPU_JOB,
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata.get("resourceVersion", ""),
        created=created,
        owner_uid=controller_of(ipu_job).get("uid"),
        deleted="deletionTimestamp" in metadata,
        end=_end(own[-1]) if own and own[-1].ended else None,
        remark=str(status.get("lastMessage", "")),
    )


def _end(pod: Pod) -> End:
    return End("Spent", "PodEnded", f"pod {pod.name} has ended", pod.finished_at or pod.created)


def _back_off(attempts: int) -> timedelta:
    return doubled_wait(_FIRST_BACK_OFF, attempts, _LAST_BACK_OFF)


IPU_JOB = WorkloadKind(
    name="IPUJob",
    api_version="graphcore.ai/v1alpha1",
    plural="ipujobs",
    pod_template_path="spec.workers.template",
    build=build_ipu_job,
    read=read_ipu_job,
    back_off=_back_off,
    is_retried_by_its_controller=False,
    goes_by_its_own_ttl=False,
    is_queued_by_kueue=False,
    takes_partitions=False,
    claims_its_run=False,
    brings_ipus=True,
    # Graphcore's IPU operator sets it.
    shares_host_network=True,
    pod_suffix=_WORKER,
    controller="Graphcore's IPU operator",
)
