"""A run on an MLflow server, by MLflow's own client. Address and credentials come from the client's own variables."""

import time
from typing import Any, List, Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from whisper_finetune_trainer.tracking.tracked_values import Point

_UID_TAG = "whisperfinetune.dev/uid"
#: The server's limits for one request.
_METRICS_AT_ONCE = 1000
_PARAMETERS_AT_ONCE = 100


class MlflowTracker:
    """Sends a run to MLflow. A tag with the run's UID finds it again."""

    def __init__(self, uid: str, name: str, experiment: str) -> None:
        """Nothing is sent yet."""
        self._uid, self._name, self._experiment = uid, name, experiment
        self._client = MlflowClient()
        self._run = ""

    def begin(self, parameters: Mapping[str, str]) -> None:
        """Find the run or create it, and send the parameters."""
        experiment = self._experiment_id()
        found = self._client.search_runs([experiment], f"tags.`{_UID_TAG}` = '{self._uid}'", max_results=1)
        run = (
            found[0] if found else self._client.create_run(experiment, tags={_UID_TAG: self._uid}, run_name=self._name)
        )
        self._run = run.info.run_id
        self._client.update_run(self._run, "RUNNING")
        pairs: List[Any] = [Param(name, value) for name, value in parameters.items() if name not in run.data.params]
        for first in range(0, len(pairs), _PARAMETERS_AT_ONCE):
            self._client.log_batch(self._run, params=pairs[first : first + _PARAMETERS_AT_ONCE])

    def log(self, points: Sequence[Point]) -> None:
        """Send measures."""
        now = int(time.time() * 1000)
        metrics: List[Any] = [Metric(point.name, point.value, now, point.step) for point in points]
        for first in range(0, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(self._run, metrics=metrics[first : first + _METRICS_AT_ONCE])

    def end(self, tags: Mapping[str, str], *, is_done: bool) -> None:
        """Set the tags, and end the run as FINISHED, or as KILLED where it is not done."""
        for name, value in tags.items():
            self._client.set_tag(self._run, name, value)
        self._client.set_terminated(self._run, "FINISHED" if is_done else "KILLED")

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        experiment: str = found.experiment_id if found else self._client.create_experiment(self._experiment)
        return experiment
