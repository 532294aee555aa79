"""Start a run, return while it trains, and find out afterwards whether it went on or began anew."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client

from e2e import run_folders
from e2e.runs import Run, Runs, state_of, succeeded, uid_of
from e2e.trainers_at_work import TrainersAtWork, is_at_work
from e2e.waiting import wait_until

#: So many steps that there is time to look, act and look again.
LONG = {"training.steps": 600}
SECONDS_TO_TRAIN = 240
RESUMED = re.compile(r"resumed from resume/checkpoint-(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """The namespace, the volume and the witness of the tests that disturb a run."""

    runs: Runs
    volume: Path
    trainers: TrainersAtWork

    def start(self, name: str, changes: Mapping[str, Any] | None = None) -> Run:
        """Make a long run and return it in mid-training: it has written a checkpoint to resume from."""
        run = self.runs.create(name, {**LONG, **(changes or {})})
        self.wait_for_checkpoint(run)
        return run

    def wait_for_checkpoint(self, run: Run, after_step: int = 0) -> int:
        """Wait until a whole checkpoint beyond that step is there, and return its step."""
        name, folder = run["metadata"]["name"], self.folder(run)

        def newer(_: Run) -> bool:
            return any(step > after_step for step in run_folders.resume_steps(folder))

        self.runs.wait(name, f"a checkpoint after step {after_step}", newer, SECONDS_TO_TRAIN)
        return run_folders.resume_steps(folder)[-1]

    def folder(self, run: Run) -> Path:
        return run_folders.folder_of(self.volume, run)

    def pod_at_work(self, run: Run) -> client.V1Pod:
        """The one pod of the run whose container runs."""
        (pod,) = [pod for pod in self.runs.pods(uid_of(run)) if is_at_work(pod)]
        return pod

    def wait_for_another_pod(self, run: Run, than: client.V1Pod) -> client.V1Pod:
        """Wait until another pod of the run is at work."""
        name, uid = run["metadata"]["name"], uid_of(run)

        def look() -> client.V1Pod | None:
            others = (pod for pod in self.runs.pods(uid) if pod.metadata.uid != than.metadata.uid)
            return next((pod for pod in others if is_at_work(pod)), None)

        return wait_until(look, SECONDS_TO_TRAIN, f"{name}: another pod", lambda: self.runs.explain(name))

    def assert_went_on(self, run: Run, pods: int) -> Run:
        """Wait for Succeeded; the newest pod resumed, one model was made, and no two trainers worked at once."""
        name, uid = run["metadata"]["name"], uid_of(run)
        ended = self.runs.wait_for_state(name, "Succeeded", SECONDS_TO_TRAIN)
        assert len(self.trainers.pods[uid]) == pods
        assert ended["status"]["attempts"]["started"] == pods
        self.trainers.assert_never_two(uid)
        assert self.resumed_step(ended) > 0
        model = run_folders.whole_model(self.folder(run), uid)
        assert model["step"] == ended["status"]["model"]["step"] == run["spec"]["training"]["steps"]
        return ended

    def resumed_step(self, run: Run) -> int:
        """The step that the newest pod says it resumed from; 0 where it began anew."""
        log = self.runs.log(run["status"]["podName"])
        found = RESUMED.search(log)
        return int(found[1]) if found else 0


def is_waiting(run: Run) -> bool:
    return state_of(run) == "Pending" and succeeded(run).get("status") == "Unknown"
