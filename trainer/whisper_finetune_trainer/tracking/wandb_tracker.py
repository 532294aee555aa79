"""A run of Weights & Biases, by its own client. Key, address and mode come from the client's own variables."""

from typing import Any, Mapping, Sequence

import wandb

from whisper_finetune_trainer.tracking.tracked_values import Point

_STEP = "training_step"


class WandbTracker:
    """Sends a run to Weights & Biases. Its id is the run's UID, so a later attempt continues it."""

    def __init__(self, uid: str, name: str, project: str, folder: str) -> None:
        """`folder` is for files that are not sent yet. Nothing is sent before `begin`."""
        self._uid, self._name, self._project, self._folder = uid, name, project, folder
        self._run: Any = None

    def begin(self, parameters: Mapping[str, str]) -> None:
        """Find the run or create it, and send the parameters."""
        # The log, the machine's figures and the code stay private.
        settings = wandb.Settings(console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True)
        self._run = wandb.init(
            id=self._uid,
            resume="allow",
            project=self._project,
            name=self._name,
            config=dict(parameters),
            dir=self._folder,
            settings=settings,
        )
        # The client's own count of steps must rise. Steps that a new attempt takes again would be dropped.
        self._run.define_metric(_STEP)
        self._run.define_metric("*", step_metric=_STEP)

    def log(self, points: Sequence[Point]) -> None:
        """Send measures."""
        for point in points:
            self._run.log({point.name: point.value, _STEP: point.step})

    def end(self, tags: Mapping[str, str], *, is_done: bool) -> None:
        """Write the tags into the summary, and finish the run with exit code 0, or 1 where it is not done."""
        self._run.summary.update(dict(tags))
        self._run.finish(exit_code=0 if is_done else 1)
