"""Why a run ends or waits: one table for the trainer's exit codes, the operator's conditions and the docs."""

from dataclasses import dataclass
from typing import Dict, Literal, Optional

Kind = Literal["final", "waits", "retried"]
#: Every reason of the table below. A misspelled one does not pass mypy.
Reason = Literal[
    "InvalidSpec",
    "RuntimeNotFound",
    "QueueNotSupported",
    "WaitingForPartition",
    "WaitingForQuota",
    "PodRefused",
    "VolumeNotFound",
    "VolumeNotMounted",
    "SecretNotFound",
    "ImagePullFailed",
    "Unschedulable",
    "NodeUnreachable",
    "NoProgress",
    "Interrupted",
    "NameConflict",
    "VersionMismatch",
    "ConfigInvalid",
    "DatasetInvalid",
    "TrainingDiverged",
    "ModelNotFound",
    "DatasetNotFound",
    "AccessDenied",
    "OutputNotWritable",
    "AcceleratorUnavailable",
    "OutOfMemory",
    "RetriesExhausted",
    "DeadlineExceeded",
    "ResultUnreadable",
]

#: Exit codes of the trainer (sysexits.h).
EXIT_DONE = 0
EXIT_CONFIG = 64
EXIT_DATA = 65
EXIT_NOT_FOUND = 66
EXIT_UNAVAILABLE = 69
EXIT_CANNOT_WRITE = 73
EXIT_STOPPED = 75
EXIT_VERSIONS = 76
EXIT_ACCESS = 77
#: A pod that ends with one of these is never started again.
FINAL_EXIT_CODES = (EXIT_CONFIG, EXIT_DATA, EXIT_NOT_FOUND, EXIT_CANNOT_WRITE, EXIT_ACCESS)


@dataclass(frozen=True)
class Cause:
    """A reason of the conditions, what it means for the run, and the trainer's exit code where it has one."""

    reason: Reason
    kind: Kind
    meaning: str
    exit_code: Optional[int] = None


CAUSES = (
    Cause("InvalidSpec", "final", "the spec asks for what is impossible: the message has the numbers"),
    Cause("RuntimeNotFound", "waits", "this namespace may use no runtime of that name or size"),
    Cause(
        "QueueNotSupported",
        "waits",
        "a Kueue queue on a runtime that has its own queue for partitions, or a queue of another cluster",
    ),
    Cause("WaitingForPartition", "waits", "every partition that fits is taken"),
    Cause("WaitingForQuota", "waits", "Kueue has not admitted the Job"),
    Cause("PodRefused", "waits", "Pod Security, a quota or a webhook refuses the pod"),
    Cause("VolumeNotFound", "waits", "a PersistentVolumeClaim is missing"),
    Cause("VolumeNotMounted", "waits", "a volume cannot be attached to the pod's node, or mounted"),
    Cause("SecretNotFound", "waits", "a Secret or one of its keys is missing"),
    Cause("ImagePullFailed", "waits", "the trainer's image cannot be pulled"),
    Cause("Unschedulable", "waits", "no node can take the pod"),
    Cause("NodeUnreachable", "waits", "the node does not answer, and the pod may still run there"),
    Cause(
        "NoProgress",
        "waits",
        "the training has stood still for the runtime's stallSeconds. Nothing is ended because of that",
    ),
    Cause("Interrupted", "waits", "stopped from outside again and again without progress"),
    Cause("NameConflict", "waits", "somebody else's object has the name of the run's Job"),
    Cause("VersionMismatch", "waits", "operator, CRD and trainer image do not understand each other", EXIT_VERSIONS),
    Cause("ConfigInvalid", "final", "the trainer cannot run this configuration", EXIT_CONFIG),
    Cause("DatasetInvalid", "final", "the data set is empty, broken or too small", EXIT_DATA),
    Cause("TrainingDiverged", "final", "the loss is no longer a finite number", EXIT_DATA),
    Cause("ModelNotFound", "final", "there is no Whisper model at that address", EXIT_NOT_FOUND),
    Cause("DatasetNotFound", "final", "there is no data set at that address", EXIT_NOT_FOUND),
    Cause("AccessDenied", "final", "the credentials are refused", EXIT_ACCESS),
    Cause("OutputNotWritable", "final", "the output cannot be written, or the disk is full", EXIT_CANNOT_WRITE),
    Cause("AcceleratorUnavailable", "retried", "the accelerator is missing or not ready", EXIT_UNAVAILABLE),
    # An operator that does not know this cause yet says ConfigInvalid, with the same message.
    Cause("OutOfMemory", "final", "too little memory on the accelerator, or killed for memory twice", EXIT_CONFIG),
    Cause("RetriesExhausted", "final", "more attempts failed than spec.retries allows"),
    Cause("DeadlineExceeded", "final", "running longer than spec.activeDeadlineSeconds over all attempts"),
    Cause("ResultUnreadable", "final", "the trainer's result was malformed twice"),
)

BY_REASON: Dict[str, Cause] = {cause.reason: cause for cause in CAUSES}
