"""Progress for people: a line in the log every few seconds, or a bar on a terminal."""

import logging
import time
from typing import NoReturn, Optional

from tqdm import tqdm

from whisper_finetune_api.run import Stage
from whisper_finetune_trainer.progress.progress import Snapshot

_LOG_EVERY_SECONDS = 5.0
_SECONDS_TELL_MORE = 120
logger = logging.getLogger(__name__)


class ProgressLog:
    """A listener that logs how far the attempt is, at most every few seconds."""

    def __init__(self) -> None:
        self._next = 0.0
        self._last_line = ""

    def __call__(self, snapshot: Snapshot) -> None:
        """Log the snapshot, if enough time has passed and it says something new."""
        now = time.monotonic()
        line = describe_progress(snapshot)
        if not line or line == self._last_line or now < self._next:
            return
        self._next, self._last_line = now + _LOG_EVERY_SECONDS, line
        logger.info(line)


class ProgressBar:
    """A listener that draws a bar of the current stage: optimizer steps, or clips of an evaluation."""

    def __init__(self, total_steps: int) -> None:
        self._total_steps = total_steps
        self._stage: Optional[Stage] = None
        self._bar: tqdm[NoReturn] = tqdm(total=total_steps, unit="step", dynamic_ncols=True)

    def __call__(self, snapshot: Snapshot) -> None:
        """Draw the snapshot."""
        progress = snapshot.report.progress
        evaluates = snapshot.report.stage == "Evaluating" and snapshot.clips_to_evaluate > 0
        done = snapshot.evaluated_clips if evaluates else progress.step if progress else 0
        if snapshot.report.stage != self._stage or done < self._bar.n:
            # Draw the last state of the stage that is over, before the bar begins for the next one.
            self._bar.refresh()
            self._bar.unit = "clip" if evaluates else "step"
            self._bar.initial = done
            self._bar.set_description(snapshot.report.stage, refresh=False)
            self._bar.reset(snapshot.clips_to_evaluate if evaluates else self._total_steps)
            self._stage = snapshot.report.stage
        self._bar.n = done
        self._bar.set_postfix_str("" if evaluates else _note(snapshot), refresh=False)
        self._bar.update(0)

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        self._bar.close()


def describe_progress(snapshot: Snapshot) -> str:
    """Return one line on how far the attempt is. It is empty where there is nothing to say yet."""
    progress = snapshot.report.progress
    if snapshot.report.stage == "Evaluating" and snapshot.clips_to_evaluate:
        progress = snapshot.report.progress
        part = "validation " if progress and progress.evaluated_part == "Validation" else ""
        name = f" of {progress.evaluated_name}" if progress and progress.evaluated_name else ""
        return f"evaluated {snapshot.evaluated_clips} of {snapshot.clips_to_evaluate} {part}clips{name}"
    if snapshot.report.stage != "Training" or not progress or progress.loss is None:
        return ""
    return (
        f"step {progress.step} of {progress.total_steps}, loss {progress.loss}, "
        f"{snapshot.seconds_per_step or 0:.2f} s per step, {rough_duration(progress.eta_seconds or 0)} left"
    )


def rough_duration(seconds: int) -> str:
    """Return a duration as people write it: 45 s, 12 min, 3 h 20 min."""
    if seconds < _SECONDS_TELL_MORE:
        return f"{seconds} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _note(snapshot: Snapshot) -> str:
    progress = snapshot.report.progress
    return f"loss {progress.loss}" if progress and progress.loss else ""
