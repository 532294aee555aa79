"""What to do about a run that is not over."""

from dataclasses import dataclass, replace

from whisper_finetune_api.v1alpha1 import PartitionBackOff
from whisper_finetune_operator.deciding.actions import Action
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.planning.plan import TrainingPlan

#: How often a cause is looked at that no watch tells of: events of a Job, an object of somebody else's.
UNWATCHED_RECHECK_SECONDS = 30.0


@dataclass(frozen=True)
class Course:
    """The phase to show, the actions, and when to look again."""

    phase: Phase
    actions: tuple[Action, ...] = ()
    recheck_seconds: float | None = None
    #: Of a run that has no workload.
    plan: TrainingPlan | None = None
    #: Of a run that gave its partition back without having used it.
    back_off: PartitionBackOff | None = None

    def rechecked(self, seconds: float | None) -> "Course":
        """Return the course, looked at again after so many seconds at the latest."""
        if seconds is None or (self.recheck_seconds is not None and self.recheck_seconds <= seconds):
            return self
        return replace(self, recheck_seconds=seconds)
