"""Two hundred runs on a simulated node, while the operator is killed three times. Each gets one Job and ends."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kubernetes import client

from e2e import simulation
from e2e.following import following
from e2e.operator_pod import REPLICAS, OperatorPod
from e2e.runs import Runs, owner_of, state_of, uid_of
from e2e.waiting import wait_until
from whisper_finetune_api import v1alpha1

pytestmark = pytest.mark.cluster
RUNS = 200
#: The operator is killed when so many Jobs have been seen.
KILLED_AT = (20, 80, 140)
SECONDS_FOR_ALL = 300


@dataclass
class JobsSeen:
    """Every Job that ever was, by its UID, with its owner's UID."""

    owners: dict[str, str | None] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, kind: str, job: client.V1Job) -> None:
        del kind
        with self.changed:
            self.owners[job.metadata.uid] = owner_of(job)
            self.changed.notify_all()

    def wait_for(self, jobs: int) -> int:
        """Wait until so many have been seen, and return how many there are."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.owners) >= jobs, SECONDS_FOR_ALL), (
                f"{len(self.owners)} Jobs in {SECONDS_FOR_ALL} s"
            )
            return len(self.owners)


@pytest.fixture
def simulated_node(operator: OperatorPod, cluster_name: str, tmp_path: Path) -> None:
    # New pods: those that tests before have ended wait longer and longer for their next start.
    operator.kill()
    operator.wait_for(REPLICAS)
    simulation.start(cluster_name, tmp_path)


def test_each_of_200_runs_gets_one_job_and_succeeds(
    make_runs: Callable[..., Runs], operator: OperatorPod, simulated_node: None
) -> None:
    runs, seen = make_runs("scale"), JobsSeen()
    with following(runs.batch.list_namespaced_job, runs.namespace, v1alpha1.UID_LABEL, seen.note):
        with ThreadPoolExecutor(max_workers=8) as creating:
            made = creating.map(lambda number: runs.create(f"run-{number}", {"runtime": "simulated"}), range(RUNS))
            killed_at = [crash_at(operator, seen, jobs) for jobs in KILLED_AT]
            uids = {uid_of(run) for run in made}
        wait_until(lambda: all_succeeded(runs), SECONDS_FOR_ALL, "all Succeeded", lambda: report(runs))
    assert max(killed_at) < RUNS, f"the operator was killed too late: {killed_at}"
    assert len(seen.owners) == RUNS
    assert set(seen.owners.values()) == uids
    for run in runs.all():
        assert run["status"]["result"]["wer"] == "10.31"
        assert run["status"]["attempts"]["started"] == 1


def crash_at(operator: OperatorPod, seen: JobsSeen, jobs: int) -> int:
    """Kill the operator as soon as so many Jobs are there, and return how many there were."""
    there = seen.wait_for(jobs)
    operator.crash()
    return there


def all_succeeded(runs: Runs) -> bool:
    return count_states(runs) == {"Succeeded": RUNS}


def count_states(runs: Runs) -> Counter[str | None]:
    return Counter(state_of(run) for run in runs.all())


def report(runs: Runs) -> str:
    unfinished = [run["metadata"]["name"] for run in runs.all() if state_of(run) != "Succeeded"]
    return f"{count_states(runs)}\n{runs.explain(unfinished[0]) if unfinished else ''}"
