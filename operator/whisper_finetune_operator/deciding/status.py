"""Derive the status of a run from what it was, where the run stands now, and what its trainer reports. Pure.

The conditions are one table of states. Their times change only with a condition's status.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

from whisper_finetune_api.causes import BY_REASON
from whisper_finetune_api.run import ReportedCheckpoint, TrainerReport, TrainingResult
from whisper_finetune_api.v1alpha1 import (
    Checkpoint,
    Condition,
    Model,
    PartitionBackOff,
    Progress,
    WhisperFineTuneStatus,
)
from whisper_finetune_api.v1alpha1.scores import Part
from whisper_finetune_api.v1alpha1.status import ConditionStatus, State
from whisper_finetune_operator.deciding import outcomes
from whisper_finetune_operator.deciding.situation import NO_ATTEMPTS, Situation
from whisper_finetune_operator.kubernetes_objects import parse_time, render_time
from whisper_finetune_operator.next_steps import (
    FINAL_STATES,
    NOT_ACCEPTED,
    RETRYING,
    RUNNING_STATES,
    Phase,
    Pinned,
    condition_message,
    condition_of,
)

_DONE_PERCENT = 100
#: A step that changes nothing else is written this often at most. Its time tells people how old the progress is.
_REFRESH = timedelta(minutes=5)
#: Training steps are not all of the work. Only with a result it is 100 %.
_LARGEST_PERCENT_UNDER_WAY = 99
#: Fields of a report that the status has as they are.
_REPORTED = ("metric", "data", "ran_on", "validation", "mixing", "baseline", "evaluations", "progress")
_OF_EVALUATION = ("evaluated_clips", "clips_to_evaluate", "evaluated_part", "evaluated_name")


def derive_status(
    situation: Situation,
    phase: Phase,
    *,
    pinned: Pinned | None = None,
    admitted: bool | None = None,
    back_off: PartitionBackOff | None = None,
) -> WhisperFineTuneStatus:
    """Return the status. To derive it again from itself and the same world changes nothing."""
    counts, previous, run = situation.counts, situation.previous, situation.run
    status = previous.model_copy(
        update={
            "observed_generation": run.generation,
            "state": phase.state,
            "reason": phase.shown_reason,
            "runtime": pinned.runtime if pinned else previous.runtime,
            "ipus": pinned.ipus if pinned else previous.ipus,
            "partition": _partition(situation, phase),
            "partition_back_off": back_off,
            "job_name": run.child_name if pinned or situation.workload else previous.job_name,
            "pod_name": counts.pod_name,
            "attempts": previous.attempts if counts.attempts == NO_ATTEMPTS else counts.attempts,
            "next_attempt_time": None if phase.is_final else _next_attempt_time(situation),
            "start_time": previous.start_time or _first_start(situation),
            "running_seconds": counts.running_seconds or previous.running_seconds,
            "conditions": build_conditions(
                phase, previous.conditions, generation=run.generation, now=situation.now, admitted=admitted
            ),
        }
    )
    for report in _reports(situation):
        status = _merge(status, report, run.written_folder(report.folder))
    status = status.model_copy(update={"progress": _progress(status, situation)})
    return _finish(status, situation) if phase.is_final else status


def observe_status(previous: WhisperFineTuneStatus, generation: int) -> WhisperFineTuneStatus:
    """Return the status of a finished run at a later generation. Nothing else of it changes."""
    if previous.observed_generation == generation or condition_of(previous.conditions, "Succeeded") is None:
        # Written without a condition that this version does not understand, the run would begin again.
        return previous
    seen = observe_conditions(previous.conditions, generation)
    return previous.model_copy(update={"observed_generation": generation, "conditions": seen})


def _next_attempt_time(situation: Situation) -> str | None:
    until = outcomes.next_attempt_time(situation)
    return render_time(until) if until else None


def _partition(situation: Situation, phase: Phase) -> str | None:
    """Return the partition that the run has. A run that is over keeps telling which one it had."""
    if situation.lease:
        return situation.lease.partition_id
    return situation.previous.partition if phase.is_final else None


def _first_start(situation: Situation) -> str | None:
    started = (pod.started_at for pod in situation.pods if pod.started_at)
    first = next(started, None)
    return render_time(first) if first else None


def _reports(situation: Situation) -> list[TrainerReport]:
    """Return the new reports: of endings that were just counted, oldest first, and then of the trainer at work."""
    last_words = (pod.last_words.ending for pod in situation.counts.added)
    pod = situation.at_work
    # A trainer's answer is older than its last words, and its pod may outlast it.
    reports: list[TrainerReport | None] = [*last_words, situation.report if pod and not pod.over else None]
    return [report for report in reports if report]


def _merge(status: WhisperFineTuneStatus, report: TrainerReport, folder: str) -> WhisperFineTuneStatus:
    """Return the status with all that a report says. What it does not say stays."""
    checkpoints = tuple(written_checkpoint(checkpoint, folder) for checkpoint in report.checkpoints)
    known = {**{field: getattr(report, field) for field in _REPORTED}, "checkpoints": checkpoints}
    return status.model_copy(update={field: value for field, value in known.items() if value})


def written_checkpoint(reported: ReportedCheckpoint, run_folder: str) -> Checkpoint:
    """Return a reported checkpoint with its whole address."""
    uri = f"{run_folder}/{reported.path}"
    return Checkpoint(
        step=reported.step,
        uri=uri,
        score=reported.score,
        wer=reported.wer,
        part=reported.part,
        sha256=reported.sha256,
    )


def written_model(ending: TrainingResult, run_folder: str) -> Model | None:
    """Return the reported final model with its whole address."""
    if ending.model is None:
        return None
    # In a repository of the Hub the model lies at the root.
    uri = run_folder if run_folder.startswith("hf://") else f"{run_folder}/{ending.model.path}"
    return Model(uri=uri, sha256=ending.model.sha256, step=ending.model.step)


def _progress(status: WhisperFineTuneStatus, situation: Situation) -> Progress | None:
    """Return how far the run is. No evaluation is under way where no trainer runs."""
    written, pod = _progress_to_write(status, situation), situation.at_work
    return written if written is None or (pod and pod.running) else _without_evaluation(written)


def _without_evaluation(progress: Progress) -> Progress:
    if progress.clips_to_evaluate is None:
        return progress
    over = progress.model_copy(update=dict.fromkeys(_OF_EVALUATION))
    return over.model_copy(update={"summary": _summary(over)})


def _progress_to_write(status: WhisperFineTuneStatus, situation: Situation) -> Progress | None:
    """Return the new progress where it is worth a write, else the old.

    It is where a percent or something beside it changed, and now and then where anything did.
    """
    new, old = status.progress, situation.previous.progress
    if new is None or new is old:
        return old
    # Within one pod no step is taken back. Such a report is older than what the status says, whoever brought it.
    if old and new.step < old.step and _is_of_the_same_pod(old, situation):
        return old
    shown = new.model_copy(update={"percent": min(new.percent, _LARGEST_PERCENT_UNDER_WAY), "summary": _summary(new)})
    beside = _beside_progress(status) == _beside_progress(situation.previous)
    changed_at = render_time(situation.report_changed_at or situation.now)
    same = old is not None and _percents(old) == _percents(shown) and beside
    if old and same and not (_is_due(old, situation.now) and _moved(old, new, situation)):
        return old
    return shown.model_copy(update={"update_time": changed_at})


def _is_of_the_same_pod(old: Progress, situation: Situation) -> bool:
    """Return whether the progress is the newest pod's. An IPUJob's pods all have one name."""
    pod = situation.pods[-1] if situation.pods else None
    is_earlier = pod is not None and old.update_time is not None and parse_time(old.update_time) < pod.created
    return situation.counts.pod_name == situation.previous.pod_name and not is_earlier


def _percents(progress: Progress) -> tuple[int, int | None, Part | None, str | None]:
    """Return how much is done of the training and of the evaluation that is under way, and whose clips it takes."""
    clips = progress.clips_to_evaluate
    of_clips = 100 * (progress.evaluated_clips or 0) // clips if clips else None
    return progress.percent, of_clips, progress.evaluated_part, progress.evaluated_name


def _summary(progress: Progress) -> str:
    if progress.clips_to_evaluate:
        own = "validation clips" if progress.evaluated_part == "Validation" else "clips"
        clips = f"clips of {progress.evaluated_name}" if progress.evaluated_name else own
        return f"{progress.evaluated_clips or 0}/{progress.clips_to_evaluate} {clips}"
    return f"{progress.step}/{progress.total_steps} steps"


def _is_due(old: Progress, now: datetime) -> bool:
    return old.update_time is None or now - parse_time(old.update_time) >= _REFRESH


def _moved(old: Progress, new: Progress, situation: Situation) -> bool:
    changed_at = situation.report_changed_at
    said_otherwise = changed_at is not None and render_time(changed_at) != old.update_time
    return said_otherwise or _position(old) != _position(new)


def _position(progress: Progress) -> tuple[object, ...]:
    return progress.step, progress.loss, progress.evaluated_clips


def _beside_progress(status: WhisperFineTuneStatus) -> tuple[object, ...]:
    return status.state, status.baseline, status.evaluations, status.validation, status.mixing, status.checkpoints


def _finish(status: WhisperFineTuneStatus, situation: Situation) -> WhisperFineTuneStatus:
    ended = next((pod for pod in reversed(situation.pods) if pod.finished_at), None)
    completion = ended.finished_at if ended and ended.finished_at else situation.now
    changes: dict[str, object] = {"completion_time": render_time(completion)}
    pod = outcomes.result_pod(situation)
    ending = pod.last_words.result if pod else None
    if ending:
        changes |= _result(ending, status.progress, situation.run.written_folder(ending.folder))
    return status.model_copy(update=changes)


def _result(ending: TrainingResult, progress: Progress | None, folder: str) -> dict[str, object]:
    model = written_model(ending, folder)
    step = model.step if model else 0
    progress = progress or Progress(step=step, total_steps=max(1, step), percent=_DONE_PERCENT)
    return {
        "result": ending.result,
        # An older trainer gives none: it may have chosen its model by the very clips of its result.
        "verdict": ending.verdict,
        "model": model,
        # The checkpoints that remain. States to resume from are deleted at the end, and the last report may name one.
        "checkpoints": tuple(written_checkpoint(checkpoint, folder) for checkpoint in ending.checkpoints),
        "report": f"{folder}/{ending.report}" if ending.report else None,
        "exports": tuple(export.written_below(folder) for export in ending.exports or ()) or None,
        "progress": _whole(progress),
    }


def _whole(progress: Progress) -> Progress:
    """Return the progress of a run with a result, of which nothing is under way."""
    over = _without_evaluation(progress)
    return over.model_copy(update={"eta_seconds": None, "percent": _DONE_PERCENT, "summary": _summary(over)})


#: Succeeded, Reconciling, Stalled and Suspended. Running and Finished follow from the state.
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


#: Runs that come together say the same at the same time, and a condition never changes.
_make_condition = lru_cache(maxsize=256)(lambda **said: Condition.model_validate(said))


def build_conditions(
    phase: Phase,
    previous: tuple[Condition, ...],
    *,
    generation: int,
    now: datetime,
    admitted: bool | None,
) -> tuple[Condition, ...]:
    """Return the conditions of a phase. `admitted` is None for a run that is in no queue and in no pool."""
    statuses: dict[str, ConditionStatus] = dict(
        zip(("Succeeded", "Reconciling", "Stalled", "Suspended"), _TABLE[phase.state], strict=True)
    )
    statuses["Running"] = (
        "Unknown" if phase.state == "Unknown" else "True" if phase.state in RUNNING_STATES else "False"
    )
    statuses["Finished"] = "True" if phase.state in FINAL_STATES else "False"
    if admitted is not None:
        statuses["Admitted"] = "True" if admitted else "False"
    if phase.judgement is not None:
        statuses["Accepted"] = "True" if phase.judgement.accepted else "False"
    now_text = render_time(now)
    said = ({"type": kind, "status": status, **_words(kind, status, phase)} for kind, status in statuses.items())
    return tuple(_condition(condition_of(previous, each["type"]), each, generation, now_text) for each in said)


def _condition(known: Condition | None, said: dict[str, str], generation: int, now: str) -> Condition:
    """Return the condition that says this: the known one where it does, because most passes change none."""
    since = known.last_transition_time if known and known.status == said["status"] else now
    wanted = {"message": "", **said, "last_transition_time": since, "observed_generation": generation}
    same = known is not None and all(getattr(known, field) == value for field, value in wanted.items())
    return known if known and same else _make_condition(**wanted)


def observe_conditions(previous: tuple[Condition, ...], generation: int) -> tuple[Condition, ...]:
    """Return the conditions of a finished run at a later generation of its spec."""
    return tuple(condition.model_copy(update={"observed_generation": generation}) for condition in previous)


def _words(kind: str, status: ConditionStatus, phase: Phase) -> dict[str, str]:
    """Return a condition's reason and message: the phase's own where it tells the phase, else the state's name."""
    if kind == "Accepted" and phase.judgement:
        return {"reason": phase.judgement.known_reason, "message": condition_message(phase.judgement.message)}
    if kind == "Succeeded" or status in ("Unknown", "False" if kind == "Admitted" else "True"):
        return {"reason": phase.reason, "message": condition_message(phase.message)}
    return {"reason": phase.state}


#: The text of an Event about a change of state where the condition has no message.
_UNREMARKABLE = "the run is {}"


@dataclass(frozen=True)
class Announcement:
    """An Event about the run."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


def announce_change(before: WhisperFineTuneStatus, after: WhisperFineTuneStatus) -> Announcement | None:
    """Return the Event of a change of state or reason, or None for anything else, such as progress."""
    reason, message = _reason_and_message(after)
    if after.state is None or (before.state, _reason_and_message(before)[0]) == (after.state, reason):
        return None
    refused = condition_of(after.conditions, "Accepted")
    if refused and refused.status == "False":
        note = condition_message(f"the run succeeded, and its model is not accepted: {refused.message}")
        return Announcement("Warning", NOT_ACCEPTED, note)
    troubled = after.state == "Failed" or reason in BY_REASON or reason == RETRYING
    return Announcement("Warning" if troubled else "Normal", reason, message or _UNREMARKABLE.format(after.state))


def _reason_and_message(status: WhisperFineTuneStatus) -> tuple[str, str]:
    summary = next((condition for condition in status.conditions if condition.type == "Succeeded"), None)
    return (summary.reason, summary.message) if summary else ("", "")
