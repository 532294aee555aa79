"""What to do about a run that is not over."""

import zlib
from dataclasses import dataclass, replace
from datetime import timedelta

from whisper_finetune_api.v1alpha1 import PartitionBackOff
from whisper_finetune_operator.deciding.actions import Action
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.planning.plan import TrainingPlan

#: How often a cause is looked at that no watch tells of, such as an object of somebody else's.
UNWATCHED_REQUEUE_SECONDS = 30.0
#: What is refused is asked for again after a third of the time that it has been refused, within these.
FIRST_RETRY_SECONDS = 30.0
LAST_RETRY_SECONDS = 600.0


def retry_seconds(refused: timedelta, run_uid: str, *, last_seconds: float = LAST_RETRY_SECONDS) -> float:
    """Return when to try again what has been refused for so long; runs that were refused together are spread."""
    wait = min(max(FIRST_RETRY_SECONDS, refused.total_seconds() / 3), last_seconds)
    return wait * (1 - zlib.crc32(run_uid.encode()) / 2**32 / 4)


@dataclass(frozen=True)
class NextStep:
    """The phase to show, the actions, and when to look again."""

    phase: Phase
    actions: tuple[Action, ...] = ()
    requeue_seconds: float | None = None
    #: Of a run that has no workload.
    plan: TrainingPlan | None = None
    #: Of a run that gave its partition back without having used it.
    back_off: PartitionBackOff | None = None

    def requeued_within(self, seconds: float | None) -> "NextStep":
        """Return the course, looked at again after so many seconds at the latest."""
        if seconds is None or (self.requeue_seconds is not None and self.requeue_seconds <= seconds):
            return self
        return replace(self, requeue_seconds=seconds)
