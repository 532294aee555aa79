"""Read an IPUJob of Graphcore's IPU operator: raw object in, the few facts that decisions need out.

Its status has no fixed words, and its controller is closed: how its one pod ended is all that counts.
"""

from whisper_finetune_operator import timestamps
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import End, Workload
from whisper_finetune_operator.world import KubernetesObject, controller_of

API_VERSION = "graphcore.ai/v1alpha1"


def worker_name(name: str) -> str:
    """Return the name of an IPUJob's pod, which is the same for each attempt."""
    return f"{name}-worker-0"


def read(ipu_job: KubernetesObject, pods: tuple[Pod, ...]) -> Workload:
    """Return the facts of a raw IPUJob; `pods` are those labelled with the run's UID."""
    metadata, status = ipu_job["metadata"], ipu_job.get("status") or {}
    created = timestamps.parse(metadata["creationTimestamp"])
    own = [pod for pod in pods if pod.name == worker_name(metadata["name"]) and pod.created >= created]
    return Workload(
        kind="IPUJob",
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
