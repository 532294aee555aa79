"""Where a run stands, in one state, one reason and one message."""

from dataclasses import dataclass
from typing import Final, Literal

from whisper_finetune_api import reading
from whisper_finetune_api.causes import Reason
from whisper_finetune_api.v1alpha1 import Condition
from whisper_finetune_api.v1alpha1.status import State

_MESSAGE_MAX_LENGTH = 1024
#: The trainer's container runs.
RUNNING_STATES = ("Running", "Preparing", "Evaluating", "Training")
FINAL_STATES = ("Succeeded", "Failed")

#: Reasons besides those of causes.py and the names of the states, which stand for nothing special.
RETRYING: Final = "Retrying"
ENDING: Final = "Ending"
SUSPENDING: Final = "Suspending"
#: What a phase may give as its reason.
PhaseReason = State | Reason | Literal["Retrying", "Ending", "Suspending"]


@dataclass(frozen=True)
class Phase:
    """What the conditions are made from."""

    state: State
    reason: PhaseReason
    message: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the run never runs again."""
        return self.state in FINAL_STATES


NOT_STARTED = Phase("Pending", "Pending", "the trainer's pod has not started yet")


def failed(reason: Reason, message: str) -> Phase:
    """Return the phase of a final cause."""
    return Phase("Failed", reason, message)


def waits(reason: PhaseReason, message: str) -> Phase:
    """Return the phase of a cause that can be mended from outside."""
    return Phase("Pending", reason, message)


def condition_of(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def condition_message(message: str) -> str:
    """Return a message as a condition or an Event takes it: one line, nothing unprintable, at most 1,024 characters."""
    line = " ".join(reading.printable_text(message).split())
    return line if len(line) <= _MESSAGE_MAX_LENGTH else f"{line[: _MESSAGE_MAX_LENGTH - 1]}…"
