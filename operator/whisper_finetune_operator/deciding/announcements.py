"""Which change of a run's status is worth a Kubernetes Event."""

from dataclasses import dataclass
from typing import Literal

from whisper_finetune_api.causes import BY_REASON
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator import phases

#: What Events of a plain change of state say where the condition's message says nothing.
_UNREMARKABLE = "the run is {}"


@dataclass(frozen=True)
class Announcement:
    """An Event about the run."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


def announce_change(before: WhisperFineTuneStatus, after: WhisperFineTuneStatus) -> Announcement | None:
    """Return the Event of a change of state or reason; None for anything else, such as progress."""
    reason, message = _reason_and_message(after)
    if after.state is None or (before.state, _reason_and_message(before)[0]) == (after.state, reason):
        return None
    troubled = after.state == "Failed" or reason in BY_REASON or reason == phases.RETRYING
    return Announcement("Warning" if troubled else "Normal", reason, message or _UNREMARKABLE.format(after.state))


def _reason_and_message(status: WhisperFineTuneStatus) -> tuple[str, str]:
    summary = next((condition for condition in status.conditions if condition.type == "Succeeded"), None)
    return (summary.reason, summary.message) if summary else ("", "")
