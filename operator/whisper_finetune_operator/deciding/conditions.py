"""The conditions of a run: one table of states, and times that change only with a condition's status."""

from datetime import datetime

from whisper_finetune_api import reading
from whisper_finetune_api.v1alpha1 import Condition
from whisper_finetune_api.v1alpha1.status import ConditionStatus, State
from whisper_finetune_operator import timestamps
from whisper_finetune_operator.phases import FINAL_STATES, RUNNING_STATES, Phase

_MESSAGE_MAX_LENGTH = 1024
#: (Succeeded, Reconciling, Stalled, Suspended); Running and Finished follow from the state.
_UNDER_WAY: tuple[ConditionStatus, ...] = ("Unknown", "True", "False", "False")
_TABLE: dict[State, tuple[ConditionStatus, ...]] = {
    "Pending": _UNDER_WAY,
    "Queued": _UNDER_WAY,
    "Preparing": _UNDER_WAY,
    "Evaluating": _UNDER_WAY,
    "Running": _UNDER_WAY,
    "Training": _UNDER_WAY,
    "Unknown": _UNDER_WAY,
    "Suspended": ("Unknown", "False", "False", "True"),
    "Succeeded": ("True", "False", "False", "False"),
    "Failed": ("False", "False", "True", "False"),
}


def build_conditions(
    phase: Phase,
    previous: tuple[Condition, ...],
    *,
    generation: int,
    now: datetime,
    admitted: bool | None,
) -> tuple[Condition, ...]:
    """Return the conditions of a phase; `admitted` is None for a run that neither a queue nor a pool holds."""
    statuses: dict[str, ConditionStatus] = dict(
        zip(("Succeeded", "Reconciling", "Stalled", "Suspended"), _TABLE[phase.state], strict=True)
    )
    statuses["Running"] = (
        "Unknown" if phase.state == "Unknown" else "True" if phase.state in RUNNING_STATES else "False"
    )
    statuses["Finished"] = "True" if phase.state in FINAL_STATES else "False"
    if admitted is not None:
        statuses["Admitted"] = "True" if admitted else "False"
    times: dict[tuple[str, str], str] = {
        (condition.type, condition.status): condition.last_transition_time for condition in previous
    }
    return tuple(
        Condition.model_validate(
            {
                "type": kind,
                "status": status,
                **_words(kind, status, phase),
                "last_transition_time": times.get((kind, status), timestamps.render_time(now)),
                "observed_generation": generation,
            }
        )
        for kind, status in statuses.items()
    )


def condition_of(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def observe_conditions(previous: tuple[Condition, ...], generation: int) -> tuple[Condition, ...]:
    """Return the conditions of a finished run at a later generation of its spec."""
    return tuple(condition.model_copy(update={"observed_generation": generation}) for condition in previous)


def one_line(message: str) -> str:
    """Return a message as a condition or an Event takes it: one line, nothing unprintable, at most 1,024 characters."""
    line = " ".join(reading.printable_text(message).split())
    return line if len(line) <= _MESSAGE_MAX_LENGTH else f"{line[: _MESSAGE_MAX_LENGTH - 1]}…"


def _words(kind: str, status: ConditionStatus, phase: Phase) -> dict[str, str]:
    """Return reason and message: the phase's own where the condition tells it, else the state's bare name."""
    if kind == "Succeeded" or status in ("Unknown", "False" if kind == "Admitted" else "True"):
        return {"reason": phase.reason, "message": one_line(phase.message)}
    return {"reason": phase.state}
