"""Deleting runs leaves nothing behind, with the operator up or down, and they block the deletion of no namespace."""

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e import trainers_at_work
from e2e.mid_training import Stage
from e2e.operator_pod import REPLICAS, OperatorPod
from e2e.runs import Runs
from e2e.waiting import wait_until

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("operator_is_up", [True, False], ids=["operator-up", "operator-down"])
def test_deleting_all_leaves_nothing(
    make_runs: Callable[..., Runs], operator: OperatorPod, volume: Path, *, operator_is_up: bool
) -> None:
    runs = make_runs("deleted")
    stage = Stage(runs, volume, trainers_at_work.TrainersAtWork())
    runs.create("finished")
    runs.create("unschedulable", {"runtime": "nowhere"})
    runs.create("held", {"suspend": True})
    runs.wait_for_state("finished", "Succeeded")
    runs.wait_for_reason("unschedulable", "Unschedulable")
    runs.wait_for_state("held", "Suspended")
    stage.start("training")
    if not operator_is_up:
        operator.scale(0)
        operator.wait_for(ready=0)
    runs.delete_all()
    wait_until(lambda: not remains(runs), 180, "nothing is left", lambda: str(remains(runs)))
    runs.core.delete_namespace(runs.namespace)
    wait_until(lambda: is_gone(runs), 180, "the namespace is gone", lambda: str(remains(runs)))
    operator.scale(REPLICAS)
    operator.wait_for(ready=REPLICAS)


def remains(runs: Runs) -> list[str]:
    """The names of what runs leave in a namespace: themselves, Jobs and pods."""
    jobs = runs.batch.list_namespaced_job(runs.namespace).items
    pods = runs.core.list_namespaced_pod(runs.namespace).items
    return [run["metadata"]["name"] for run in runs.all()] + [item.metadata.name for item in [*jobs, *pods]]


def is_gone(runs: Runs) -> bool:
    return all(item.metadata.name != runs.namespace for item in runs.core.list_namespace().items)
