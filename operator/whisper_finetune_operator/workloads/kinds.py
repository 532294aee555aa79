"""Read the workload of a run, of whichever kind it is."""

from whisper_finetune_operator.workloads import ipu_job_kind, job_kind
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload
from whisper_finetune_operator.world import KubernetesObject


def read(workload: KubernetesObject, pods: tuple[Pod, ...]) -> Workload:
    """Return the facts of a raw Job or IPUJob; `pods` are those labelled with the run's UID."""
    return ipu_job_kind.read(workload, pods) if workload["kind"] == "IPUJob" else job_kind.read(workload)
