"""Tell trackers of a run while it goes on.

Each tracker has a bounded queue and a thread of its own, so that no tracker can fail a run or slow it down.
"""

import contextlib
import functools
import importlib
import logging
import queue
import threading
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from whisper_finetune_api.run import TrainingResult
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.messages.redaction import without_secrets
from whisper_finetune_trainer.progress.progress import Reporter, Snapshot
from whisper_finetune_trainer.tracking import tracked_values
from whisper_finetune_trainer.tracking.tracked_values import Point, Tracker

#: At most so many measures wait for a tracker. Further ones are dropped.
_WAITING = 2_000
#: How long an attempt waits for its trackers at its end. One that is not done may be about to be killed.
_DONE_SECONDS, _OTHER_SECONDS = 30.0, 3.0
_PROJECT = "whisper-fine-tune"
logger = logging.getLogger(__name__)


class Tracking:
    """One tracker and its thread."""

    def __init__(self, name: str, tracker: Tracker, parameters: Mapping[str, str], hide: Callable[[str], str]) -> None:
        """`hide` takes secrets out of the tracker's errors before they are logged."""
        self._name, self._tracker, self._parameters, self._hide = name, tracker, parameters, hide
        self._waiting: queue.Queue[Optional[Point]] = queue.Queue(_WAITING)
        #: The newest step of each measure. A point that is not newer was sent before.
        self._newest_step: Dict[str, int] = {}
        self._tags: Dict[str, str] = {}
        self._is_done = False
        self._has_warned = False
        self._thread = threading.Thread(target=self._work, name=f"tracking-{name}", daemon=True)
        self._thread.start()

    def __call__(self, snapshot: Snapshot) -> None:
        """Queue the measures that are new in a snapshot."""
        self.add(tracked_values.points(snapshot))

    def add(self, points: Sequence[Point]) -> None:
        """Queue the measures that are new, without waiting. They are sent at most once."""
        for point in points:
            if point.step > self._newest_step.get(point.name, -1):
                self._newest_step[point.name] = point.step
                with contextlib.suppress(queue.Full):
                    self._waiting.put_nowait(point)

    def conclude(self, result: TrainingResult, address: str) -> None:
        """Queue the figures of the result, and tags with its message and the addresses of model and report."""
        model, report = result.model, result.report
        self.add(tracked_values.figures(model.step if model else 0, result.result))
        self._tags = {"message": result.message}
        if model is not None:
            self._tags["model"] = f"{address}/{model.path}"
        if report is not None:
            self._tags["report"] = f"{address}/{report}"
        self._is_done = True

    def close(self) -> None:
        """Wait a little until everything is sent."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(_DONE_SECONDS if self._is_done else _OTHER_SECONDS)

    def _work(self) -> None:
        has_begun = False
        is_last = False
        while not is_last:
            points = self._all_waiting()
            is_last = points[-1] is None
            has_begun = has_begun or self._try(lambda: self._tracker.begin(self._parameters))
            if has_begun:
                sent = [point for point in points if point is not None]
                self._try(functools.partial(self._tracker.log, sent))
        if has_begun:
            self._try(lambda: self._tracker.end(self._tags, is_done=self._is_done))

    def _all_waiting(self) -> List[Optional[Point]]:
        found = [self._waiting.get()]
        while found[-1] is not None and not self._waiting.empty():
            found.append(self._waiting.get())
        return found

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:  # noqa: BLE001 -- whatever a tracker's library raises, the run goes on
            if not self._has_warned:
                self._has_warned = True
                text = self._hide(f"{type(error).__name__}: {error}")
                logger.warning("%s cannot be told of this run: %s. The run goes on without it", self._name, text[:500])
            return False
        return True


@contextlib.contextmanager
def of_run(
    spec: WhisperFineTuneSpec,
    name: str,
    uid: str,
    scratch_folder: str,
    reporter: Reporter,
    environment: Mapping[str, str],
) -> Iterator[Sequence[Tracking]]:
    """Tell trackers of the run for as long as the context lasts: those whose address or key is in the environment."""
    parameters = tracked_values.parameters(spec, uid)
    opened = [
        Tracking(library, tracker, parameters, lambda text: without_secrets(text, environment))
        for library, tracker in _trackers(name, uid, scratch_folder, environment)
    ]
    for tracking in opened:
        reporter.listen(tracking)
    try:
        yield opened
    finally:
        for tracking in opened:
            tracking.close()


def _trackers(
    name: str, uid: str, scratch_folder: str, environment: Mapping[str, str]
) -> Iterator[Tuple[str, Tracker]]:
    """Yield the name of each library that has a tracker for the run, and the tracker."""
    if environment.get("MLFLOW_TRACKING_URI") and _is_there("MLflow", "mlflow"):
        mlflow = importlib.import_module("whisper_finetune_trainer.tracking.mlflow_tracker")
        yield "MLflow", mlflow.MlflowTracker(uid, name, environment.get("MLFLOW_EXPERIMENT_NAME", _PROJECT))
    if environment.get("WANDB_API_KEY") and _is_there("Weights & Biases", "wandb"):
        wandb = importlib.import_module("whisper_finetune_trainer.tracking.wandb_tracker")
        project = environment.get("WANDB_PROJECT", _PROJECT)
        yield "Weights & Biases", wandb.WandbTracker(uid, name, project, scratch_folder)


def _is_there(name: str, library: str) -> bool:
    try:
        importlib.import_module(library)
    except ImportError:
        logger.warning("%s is not told of this run: build an image with the extra `%s` (docs/report.md)", name, library)
        return False
    return True
