"""One undisturbed run from beginning to end: its status, its files, its Job and pod, its Events and its columns."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from e2e import run_folders
from e2e.runs import Runs, owner_of, uid_of
from e2e.waiting import wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def runs(make_runs: Callable[..., Runs]) -> Runs:
    return make_runs("lifecycle")


@pytest.fixture(scope="module")
def good(runs: Runs) -> dict[str, Any]:
    """A run that nothing happened to."""
    chosen_by = {"dataset.validationSplit": "validation", "training.evalEverySteps": 10}
    runs.create("good", {**chosen_by, "training.saveEverySteps": 10})
    return runs.wait_for_state("good", "Succeeded")


def test_status_holds_the_rates_before_and_after(good: dict[str, Any]) -> None:
    status = good["status"]
    for measured in (status["baseline"], status["result"]):
        assert float(measured["wer"]) >= 0
        assert float(measured["normalizedWer"]) >= 0
    assert status["metric"]["name"] == "wer"
    counts = {"trainClips": 19, "evalClips": 4, "validationClips": 20, "droppedClips": 0}
    assert status["data"] == {**counts, "split": "Fraction"}
    assert status["verdict"] in ("Better", "NotShown", "Worse")
    assert status["validation"]["clips"] == 20
    assert status["progress"]["percent"] == 100
    assert status["attempts"]["started"] == 1
    assert status["observedGeneration"] == good["metadata"]["generation"]
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "Succeeded": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "Suspended": "False",
        "Running": "False",
        "Finished": "True",
    }


def test_model_and_checkpoints_are_whole_where_the_status_says(good: dict[str, Any], volume: Path) -> None:
    folder = run_folders.folder_of(volume, good)
    run_folders.whole_model(folder, uid_of(good))
    address = f"{good['spec']['output']['uri']}/{folder.name}"
    assert good["status"]["model"]["uri"] == f"{address}/model"
    manifest = (folder / "model" / "manifest.json").read_bytes()
    assert good["status"]["model"]["sha256"] == run_folders.sha256(manifest)
    for checkpoint in good["status"]["checkpoints"]:
        relative = checkpoint["uri"].removeprefix(f"{address}/")
        assert json.loads((folder / relative / "manifest.json").read_text())["step"] == checkpoint["step"]
    assert {checkpoint["step"] for checkpoint in good["status"]["checkpoints"]} == {10, 20}


def test_job_and_pod_belong_to_the_run(runs: Runs, good: dict[str, Any]) -> None:
    (job,) = runs.jobs(uid_of(good))
    (pod,) = runs.pods(uid_of(good))
    assert job.metadata.name == good["status"]["jobName"]
    assert owner_of(pod) == job.metadata.uid
    assert pod.metadata.name == good["status"]["podName"]


def test_each_change_of_state_is_one_event(runs: Runs, good: dict[str, Any]) -> None:
    def last_is_there() -> list[client.CoreV1Event] | None:
        events = sorted(runs.events(uid_of(good)), key=lambda event: event.event_time)
        return events if events and events[-1].reason == "Succeeded" else None

    events = wait_until(last_is_there, 90, "the Event of the end", lambda: runs.explain("good"))
    reasons = [event.reason for event in events]
    # The pods of other tests may fill the node for a moment, and a run that waits for room says so by a Warning.
    assert all(event.type == "Normal" for event in events if event.reason != "Unschedulable"), reasons
    assert reasons[0] == "Pending"
    assert len(set(reasons)) == len(reasons), reasons


def test_columns_show_the_run(runs: Runs, good: dict[str, Any]) -> None:
    as_table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    shown = runs.custom.list_namespaced_custom_object(*runs.place, _headers=as_table)
    names = [column["name"] for column in shown["columnDefinitions"]]
    row = dict(zip(names, next(row["cells"] for row in shown["rows"] if row["cells"][0] == "good"), strict=True))
    assert (row["Model"], row["Lang"], row["State"]) == ("pvc://speech/models/tiny", "it", "Succeeded")
    assert (row["Progress"], row["Baseline"], row["Result"]) == (
        "20/20 steps",
        good["status"]["baseline"]["score"],
        good["status"]["result"]["score"],
    )
