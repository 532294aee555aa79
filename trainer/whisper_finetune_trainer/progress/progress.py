"""What is known of the attempt so far: one frozen snapshot, replaced as the work goes on, read by other threads."""

import collections
import dataclasses
import datetime as dt
import math
import threading
from typing import Any, Callable, Deque, Dict, List, Optional

from whisper_finetune_api.run import Stage, TrainerReport
from whisper_finetune_api.v1alpha1.status import Progress, WordErrorRate

#: Speed is that of the newest steps: the first ones also fill the encoder's cache.
_SPEED_STEPS = 50
#: As many digits as the API's pattern takes; a loss beyond this says nothing more.
_LARGEST_LOSS = 1e8


@dataclasses.dataclass(frozen=True)
class Measured:
    """The error rates of the model of one step. Step 0 is the baseline."""

    step: int
    figures: WordErrorRate


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The report, and what only logs and metrics show."""

    report: TrainerReport = dataclasses.field(default_factory=TrainerReport)
    learning_rate: Optional[float] = None
    seconds_per_step: Optional[float] = None
    #: Optimizer steps of this attempt, in seconds.
    training_seconds: float = 0.0
    evaluated_clips: int = 0
    clips_to_evaluate: int = 0
    #: The newest evaluation that this attempt has made.
    measured: Optional[Measured] = None


Listener = Callable[[Snapshot], None]


class Reporter:
    """Thread-safe: training and uploads write, one at a time, and anybody reads.

    A writer tells the listeners before another one may write, so they hear of all changes in order.
    """

    def __init__(self) -> None:
        # Reentrant: a listener may read and write too.
        self._writing = threading.RLock()
        self._snapshot = Snapshot()
        self._listeners: List[Listener] = []
        self._step_seconds: Deque[float] = collections.deque(maxlen=_SPEED_STEPS)

    def listen(self, listener: Listener) -> None:
        """Have `listener` called after every change."""
        self._listeners.append(listener)

    def snapshot(self) -> Snapshot:
        """Return what is known now. A snapshot is replaced as a whole, so nobody is waited for."""
        return self._snapshot

    def report(self) -> TrainerReport:
        """Return what the operator is told."""
        return self.snapshot().report

    def tell(self, **fields: Any) -> None:
        """Replace fields of the report (data, metric, ran_on, baseline, checkpoints ...)."""
        self._change(lambda known: {"report": _with(known.report, **fields)})

    def enter(self, stage: Stage, clips_to_evaluate: int = 0) -> None:
        """Say what is being done from now on."""
        self._change(lambda known: _evaluating(known.report, stage, 0, clips_to_evaluate))

    def clips_done(self, clips: int) -> None:
        """Say how many clips of the current evaluation are done."""
        self._change(lambda known: _evaluating(known.report, known.report.stage, clips, known.clips_to_evaluate))

    def evaluated(self, step: int, figures: WordErrorRate) -> None:
        """Say what an evaluation came to."""
        self._change(lambda _: {"measured": Measured(step, figures)})

    def resume_at(self, step: int, total_steps: int) -> None:
        """Say from which step this attempt goes on."""
        percent = 100 * step // total_steps
        self.tell(progress=Progress(step=step, total_steps=total_steps, percent=percent, update_time=utc_now()))

    def step_done(self, step: int, total_steps: int, loss: float, learning_rate: float, seconds: float) -> None:
        """Say that an optimizer step took `seconds`."""
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
        """Say that training is over, also where patience ended it before its last step."""
        known = self.report().progress
        loss = known.loss if known else None
        self.tell(progress=Progress(step=step, total_steps=total_steps, percent=100, loss=loss, update_time=utc_now()))

    def _change(self, changes: Callable[[Snapshot], Dict[str, Any]]) -> None:
        """Replace what `changes` makes of the newest snapshot: read and written under one lock, so nothing is lost."""
        with self._writing:
            self._snapshot = dataclasses.replace(self._snapshot, **changes(self._snapshot))
            for listener in self._listeners:
                listener(self._snapshot)


def _evaluating(report: TrainerReport, stage: Optional[Stage], clips: int, clips_to_evaluate: int) -> Dict[str, Any]:
    """Return what changes in a snapshot with an evaluation's clips, of 0 where none is under way."""
    counts = {"evaluated_clips": clips, "clips_to_evaluate": clips_to_evaluate}
    progress = report.progress
    if progress is not None:
        progress = progress.model_copy(update=counts if clips_to_evaluate else dict.fromkeys(counts))
    return {**counts, "report": _with(report, stage=stage, progress=progress)}


def _with(report: TrainerReport, **fields: Any) -> TrainerReport:
    known = {name: getattr(report, name) for name in TrainerReport.model_fields}
    # Built anew, not copied: a copy would not be validated, and the operator refuses what is malformed.
    return TrainerReport(**{**known, **fields})


def loss_text(loss: float) -> str:
    """Return a finite loss as the API takes it."""
    return f"{min(max(loss, 0.0), _LARGEST_LOSS):.4f}"


def utc_now() -> str:
    """Return the time as the API writes it."""
    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
