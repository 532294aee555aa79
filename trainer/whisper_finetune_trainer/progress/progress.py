"""What is known of the attempt so far: a frozen snapshot, which is replaced as the work goes on."""

import collections
import dataclasses
import datetime as dt
import math
import threading
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional

from whisper_finetune_api.run import Stage, TrainerReport
from whisper_finetune_api.v1alpha1.scores import Part, WordErrorRate
from whisper_finetune_api.v1alpha1.status import Progress

#: The speed is the mean of so many newest steps. The first steps are slower, because they fill the encoder's cache.
_SPEED_STEPS = 50
#: The API's pattern takes no more digits.
_LARGEST_LOSS = 1e8


@dataclasses.dataclass(frozen=True)
class Measured:
    """The error rates of the model of one step, on the part that they name. Step 0 is the baseline."""

    step: int
    figures: WordErrorRate
    #: Of the further data set, where they are not of the run's own clips.
    name: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The report for the operator, and what only logs and metrics show."""

    report: TrainerReport = dataclasses.field(default_factory=TrainerReport)
    learning_rate: Optional[float] = None
    seconds_per_step: Optional[float] = None
    #: The time of this attempt's optimizer steps.
    training_seconds: float = 0.0
    evaluated_clips: int = 0
    clips_to_evaluate: int = 0
    #: The newest evaluation that this attempt has made.
    measured: Optional[Measured] = None


Listener = Callable[[Snapshot], None]


class Reporter:
    """Keeps the newest snapshot, and tells listeners of every change.

    It is thread-safe. Training and uploads write, one at a time, and any thread reads. A writer tells the listeners
    before another one may write. So they hear of all changes in order.
    """

    def __init__(self) -> None:
        # Reentrant, because a listener may write too.
        self._writing = threading.RLock()
        self._snapshot = Snapshot()
        self._listeners: List[Listener] = []
        self._step_seconds: Deque[float] = collections.deque(maxlen=_SPEED_STEPS)

    def listen(self, listener: Listener) -> None:
        """Have `listener` called after every change."""
        self._listeners.append(listener)

    def snapshot(self) -> Snapshot:
        """Return what is known now, without waiting for writers."""
        return self._snapshot

    def report(self) -> TrainerReport:
        """Return what the operator is told now."""
        return self.snapshot().report

    def tell(self, **fields: Any) -> None:
        """Replace fields of the report (data, metric, ran_on, baseline, checkpoints ...)."""
        self._change(lambda known: {"report": _with(known.report, **fields)})

    def enter(
        self, stage: Stage, clips_to_evaluate: int = 0, part: Part = "HeldOut", name: Optional[str] = None
    ) -> None:
        """Note the stage that begins now. The other arguments are for an evaluation, `name` for one of further data."""
        self._change(lambda known: _evaluating(known.report, stage, 0, clips_to_evaluate, _Heard(part, name)))

    def clips_done(self, clips: int) -> None:
        """Note how many clips of the current evaluation are done."""
        self._change(lambda known: _evaluating(known.report, known.report.stage, clips, known.clips_to_evaluate))

    def evaluated(self, step: int, figures: WordErrorRate, name: Optional[str] = None) -> None:
        """Note the figures of an evaluation, which is no longer under way. `name` is that of further data."""
        measured = Measured(step, figures, name)
        self._change(lambda known: {**_evaluating(known.report, known.report.stage, 0, 0), "measured": measured})

    def resume_at(self, step: int, total_steps: int) -> None:
        """Note the step that this attempt goes on from."""
        percent = 100 * step // total_steps
        self.tell(progress=Progress(step=step, total_steps=total_steps, percent=percent, update_time=utc_now()))

    def step_done(self, step: int, total_steps: int, loss: float, learning_rate: float, seconds: float) -> None:
        """Note an optimizer step, which took `seconds`."""
        self._step_seconds.append(seconds)
        mean = sum(self._step_seconds) / len(self._step_seconds)
        progress = Progress(
            step=step,
            total_steps=total_steps,
            percent=100 * step // total_steps,
            loss=loss_text(loss),
            eta_seconds=math.ceil(mean * (total_steps - step)),
            update_time=utc_now(),
        )
        self._change(
            lambda known: {
                "report": _with(known.report, progress=progress),
                "learning_rate": learning_rate,
                "seconds_per_step": mean,
                "training_seconds": known.training_seconds + seconds,
            }
        )

    def finish(self, step: int, total_steps: int) -> None:
        """Note that training is over. `step` may be before the schedule's last one, where patience ended it."""
        known = self.report().progress
        loss = known.loss if known else None
        self.tell(progress=Progress(step=step, total_steps=total_steps, percent=100, loss=loss, update_time=utc_now()))

    def _change(self, changes: Callable[[Snapshot], Dict[str, Any]]) -> None:
        """Replace the fields that `changes` returns for the newest snapshot. A lock is held, so no change is lost."""
        with self._writing:
            self._snapshot = dataclasses.replace(self._snapshot, **changes(self._snapshot))
            for listener in self._listeners:
                listener(self._snapshot)


class _Heard(NamedTuple):
    """Which clips an evaluation hears."""

    part: Part
    name: Optional[str]


def _evaluating(
    report: TrainerReport,
    stage: Optional[Stage],
    clips: int,
    clips_to_evaluate: int,
    heard: Optional[_Heard] = None,
) -> Dict[str, Any]:
    """Return the fields of a snapshot that change with an evaluation's clips. Both are 0 outside of an evaluation.

    Without `heard`, that stays as it is while the evaluation goes on.
    """
    counts = {"evaluated_clips": clips, "clips_to_evaluate": clips_to_evaluate}
    progress = report.progress
    if progress is not None:
        shown = heard or _Heard(progress.evaluated_part or "HeldOut", progress.evaluated_name)
        part = shown.part if shown.part == "Validation" else None
        named = {**counts, "evaluated_part": part, "evaluated_name": shown.name}
        progress = progress.model_copy(update=named if clips_to_evaluate else dict.fromkeys(named))
    return {**counts, "report": _with(report, stage=stage, progress=progress)}


def _with(report: TrainerReport, **fields: Any) -> TrainerReport:
    known = {name: getattr(report, name) for name in TrainerReport.model_fields}
    # Built anew, because a copy is not validated. The operator refuses a malformed report.
    return TrainerReport(**{**known, **fields})


def loss_text(loss: float) -> str:
    """Return a finite loss in the API's format."""
    return f"{min(max(loss, 0.0), _LARGEST_LOSS):.4f}"


def utc_now() -> str:
    """Return the time in the API's format."""
    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
