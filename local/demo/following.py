"""Follow a run to its end, and show how far it is."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Never

from tqdm import tqdm

from demo.faults import DemoError, NoAnswerError
from demo.stopwatch import Stopwatch
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus

TRAINING = "training"
SECONDS_BETWEEN_READS = 1.0
#: Nobody mends anything during the demo. So a run that waits this long will not start.
SECONDS_TO_WAIT = 180
SECONDS_WITHOUT_ANSWER = 60


@dataclass(frozen=True)
class Amount:
    """How much of a stage is done."""

    unit: str
    done: int
    total: int


@dataclass(frozen=True)
class RunProgress:
    """What a run shows at one moment."""

    state: str
    reason: str
    message: str
    status: WhisperFineTuneStatus

    @property
    def is_finished(self) -> bool:
        return self.state in {"Succeeded", "Failed"}

    @property
    def is_under_way(self) -> bool:
        return self.state in {"Running", "Preparing", "Evaluating", "Training"}

    @property
    def is_training(self) -> bool:
        return self.state == "Training"

    @property
    def stage(self) -> str:
        """Return what is being done, in the demo's words."""
        if self.state == "Evaluating":
            progress = self.status.progress
            return f"evaluating {'after' if progress and progress.step else 'before'} training"
        return {"Preparing": "reading model and clips", "Training": TRAINING}.get(self.state, "starting the pod")

    @property
    def amount(self) -> Amount | None:
        """Return how much of the stage is done, or None where nobody can say."""
        progress = self.status.progress
        if progress and progress.clips_to_evaluate and self.state == "Evaluating":
            return Amount("clip", progress.evaluated_clips or 0, progress.clips_to_evaluate)
        return Amount("step", progress.step, progress.total_steps) if progress and self.is_training else None

    @property
    def waits_for(self) -> str:
        """Return reason and message of what keeps the run from starting. The text is empty where nothing does."""
        # If nothing keeps a run from starting, its reason is its state.
        is_kept = not self.is_under_way and self.reason not in {"", self.state}
        return f"waiting: {self.reason}: {self.message}" if is_kept else ""


def read_progress(run: dict[str, Any]) -> RunProgress:
    """Return what the run's object shows. The status is empty until the operator has seen the object."""
    status = WhisperFineTuneStatus.model_validate(run.get("status", {}))
    succeeded = next((condition for condition in status.conditions if condition.type == "Succeeded"), None)
    return RunProgress(
        state=status.state or "Pending",
        reason=succeeded.reason if succeeded else "",
        message=succeeded.message if succeeded else "",
        status=status,
    )


class StageBar:
    """A progress bar of the run's stage, by its status: of optimizer steps or of clips."""

    def __init__(self) -> None:
        self._bar: tqdm[Never] | None = None
        self._stage = ""

    def show(self, progress: RunProgress) -> None:
        """Show how much is done. Close the bar where another stage has begun."""
        if progress.stage != self._stage or not progress.is_under_way:
            self.close()
        self._stage = progress.stage
        amount, steps = progress.amount, progress.status.progress
        if amount and not self._bar:
            self._bar = tqdm(total=amount.total, desc=progress.stage, unit=amount.unit, file=sys.stderr)
        if amount and self._bar and amount.done > self._bar.n:
            loss = steps.loss if steps and progress.is_training else None
            self._bar.set_postfix_str(f"loss {loss}" if loss else "", refresh=False)
            self._bar.update(amount.done - self._bar.n)
        if self._bar and sys.stderr.isatty():
            self._bar.refresh()  # its clock goes on between two steps

    def close(self) -> None:
        if self._bar:
            self._bar.close()
            self._bar = None


def follow(get_run: Callable[[], dict[str, Any] | None], watch: Stopwatch) -> RunProgress:
    """Follow a run and return what it shows at its end. Raises DemoError where it is deleted or does not start."""
    began_to_wait = time.monotonic()
    with closing(StageBar()) as bar:
        for progress in progress_of(get_run):
            bar.show(progress)
            if progress.is_finished:
                break
            watch.stage(progress.stage)
            watch.say_once(progress.waits_for)
            if progress.is_under_way:
                began_to_wait = time.monotonic()
            elif time.monotonic() - began_to_wait > SECONDS_TO_WAIT:
                raise DemoError(f"no start within {SECONDS_TO_WAIT} s, {progress.waits_for or 'without a reason'}")
    watch.stage("")
    return progress


def progress_of(get_run: Callable[[], dict[str, Any] | None]) -> Iterator[RunProgress]:
    """Yield what the run shows, once a second. Wait for an API server that does not answer for a while."""
    answered = time.monotonic()
    while True:
        try:
            run = get_run()
        except NoAnswerError:
            if time.monotonic() - answered > SECONDS_WITHOUT_ANSWER:
                raise
        else:
            if run is None:
                raise DemoError("the run is gone: somebody deleted it")
            answered = time.monotonic()
            yield read_progress(run)
        time.sleep(SECONDS_BETWEEN_READS)
