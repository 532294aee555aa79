"""What a decision is made from: one run and all that the cluster shows of it, as plain frozen objects."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from whisper_finetune_api.run import TrainerReport
from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.partitions.partition_queue import EMPTY_QUEUE, PartitionQueue
from whisper_finetune_operator.runs import Run


@dataclass(frozen=True)
class Refusal:
    """Why a Job or its pod could not be made.

    The message is the API server's own, or that of the Job's newest FailedCreate Event.
    """

    message: str
    seen_at: datetime
    #: When the same was refused first. None: it was now.
    since: datetime | None = None

    @property
    def refused_since(self) -> datetime:
        return self.since or self.seen_at

    def after(self, known: "Refusal | None") -> "Refusal":
        """Return this refusal in the words of the known one where both differ in numbers alone.

        A quota's message counts what is used at the moment. A change of that is no news, and no write.
        """
        if known is None or without_numbers(known.message) != without_numbers(self.message):
            return self
        return Refusal(known.message, self.seen_at, min(known.refused_since, self.refused_since))


def without_numbers(message: str) -> str:
    """Return the message without its numbers, which change from moment to moment."""
    return re.sub(r"\d+", "#", message)


@dataclass(frozen=True)
class Silence:
    """Since when a running trainer has not answered, and why not the last time."""

    since: datetime
    problem: str


@dataclass(frozen=True)
class QueueNotice:
    """Why a Job waits in its queue, in Kueue's own words."""

    #: Name of the Workload.
    workload: str
    queue: str
    message: str
    #: `Inadmissible`: its queue takes nothing. `Deactivated`: nobody admits it until somebody activates it again.
    kind: Literal["Waits", "Inadmissible", "Deactivated"] = "Waits"


@dataclass(frozen=True)
class World:
    """What the cluster shows of one run at one moment."""

    run: Run
    #: The workload under the child's name (Run.child_name): the run's own or, where there is none, anybody's.
    workload: KubernetesObject | None
    #: The run's attempts (children.is_attempt_of), oldest first. A pod that ended and is gone is shown once more as it
    #: was last seen, because its end may not have been counted yet.
    pods: tuple[KubernetesObject, ...]
    #: Newest valid answer of the CURRENT pod's /progress.
    report: TrainerReport | None
    #: Why the Job in sight has no pod, read when a decision asks for it (next_steps.ReadRefusal), or why there is no
    #: Job.
    refusal: Refusal | None
    now: datetime
    #: The Leases of the partitions that the run has. It is one at most, unless two leaders took one each.
    leases: tuple[KubernetesObject, ...] = ()
    #: All runs that wait for a partition, this one among them where it does.
    partition_queue: PartitionQueue = EMPTY_QUEUE
    #: Why the node of the CURRENT pod cannot begin it, read when a decision asks for it (next_steps.ReadObstacle).
    obstacle: Refusal | None = None
    #: When the report last changed. None: it has said the same since it was first heard.
    report_changed_at: datetime | None = None
    #: How long the CURRENT pod has not answered. None: it answered the last time, or was not asked yet.
    silence: Silence | None = None
    #: Why the Job in sight waits for Kueue, read when a decision asks for it (next_steps.ReadQueue).
    queue_notice: QueueNotice | None = None
