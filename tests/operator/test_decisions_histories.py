"""Decisions in random histories: kills, lost nodes, deleted Jobs, suspensions, crashes, watches that lag."""

import random

import pytest

from api_server_model import seeds
from job_controller_model import Cluster
from whisper_finetune_operator.workloads import pods

_CHAOS_STEPS, _CALM_STEPS, _STEPS_AFTER_THE_END = 60, 400, 20
HISTORIES = 100


def _disturb(cluster: Cluster, chance: random.Random) -> None:
    roll = chance.random()
    if roll < 0.03:
        cluster.job = None
    elif roll < 0.06:
        cluster.spec = {**cluster.spec, "suspend": not cluster.spec.get("suspend", False)}
        cluster.generation += 1
    elif roll < 0.08:
        cluster.spec = {**cluster.spec, "retries": chance.randrange(6)}
        cluster.generation += 1
    elif roll < 0.10:
        cluster.spec = {**cluster.spec, "activeDeadlineSeconds": chance.randrange(30, 400)}
        cluster.generation += 1
    elif roll < 0.14 and cluster.job:
        cluster.job["spec"]["suspend"] = not cluster.job["spec"].get("suspend", False)
    elif roll < 0.18:
        for pod in cluster.at_work():
            pod["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z"


def _step(cluster: Cluster, exit_codes: list[int], *, chaos: bool) -> None:
    cluster.seconds += cluster.chance.choice([1, 2, 5, 15])
    if chaos:
        _disturb(cluster, cluster.chance)
    cluster.control_job()
    cluster.collect_orphans()
    cluster.run_pods(exit_codes)
    cluster.tell_operator(all_of_it=not chaos)
    if not chaos or cluster.chance.random() < 0.7:
        cluster.reconcile(crash_after_status=chaos and cluster.chance.random() < 0.1)


@pytest.mark.parametrize("seed", seeds(HISTORIES, quick=20))
def test_one_at_work_at_a_time_and_an_end_that_stays(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (no secret)
    cluster = Cluster(chance)
    over, made_when_over, left = None, (0, 0), _STEPS_AFTER_THE_END
    for step in range(_CHAOS_STEPS + _CALM_STEPS):
        chaos = step < _CHAOS_STEPS
        if step == _CHAOS_STEPS:
            cluster.spec = {**cluster.spec, "suspend": False}
            if cluster.job:
                cluster.job["spec"]["suspend"] = False
        _step(cluster, [0, 0, 1, 137, 65, 75, 76] if chaos else [0, 1], chaos=chaos)
        state = (cluster.status or {}).get("state")
        assert len(cluster.at_work()) <= 1
        if over:
            assert state == over
            assert (cluster.jobs_made, cluster.pods_made) == made_when_over
            left -= 1
        elif state in ("Succeeded", "Failed"):
            over, made_when_over = state, (cluster.jobs_made, cluster.pods_made)
        if not left:
            break
    assert over, "a run must come to an end when it is left in peace"
    assert cluster.at_work() == []
    attempts = (cluster.status or {})["attempts"]
    assert attempts["failed"] <= sum(code not in (0, 75, 76, -1) for code in cluster.endings)
    assert attempts["outOfMemory"] <= cluster.endings.count(137)
    assert attempts["started"] <= len(cluster.endings)


@pytest.mark.slow
def test_every_end_that_is_seen_is_counted_once() -> None:
    for seed in range(20):
        cluster = Cluster(random.Random(seed), spec={"retries": 20})  # noqa: S311 (no secret)
        while (cluster.status or {}).get("state") not in ("Succeeded", "Failed"):
            _step(cluster, [1, 1, 1, 1, 75, 0], chaos=False)
        attempts = (cluster.status or {})["attempts"]
        assert attempts["failed"] == sum(code not in (0, 75, -1) for code in cluster.endings)
        assert attempts["started"] == len(cluster.endings)
        assert all(pods.read_pod(pod).over for pod in cluster.pods)
        for _ in range(_STEPS_AFTER_THE_END):
            # Somebody else's container may run on beside a trainer that has ended: it is ended after its patience.
            _step(cluster, [], chaos=False)
        assert all(pods.read_pod(pod).ended for pod in cluster.pods)
        assert (cluster.status or {})["attempts"] == attempts


def test_a_run_whose_trainer_is_too_old_goes_on_when_its_image_is_mended() -> None:
    for seed in range(5):
        cluster = Cluster(random.Random(seed), spec={"retries": 0})  # noqa: S311 (no secret)
        while cluster.jobs_made < 4:
            _step(cluster, [76], chaos=False)
            assert (cluster.status or {}).get("state") == "Pending" or cluster.at_work()
        # Ten minutes for each that refused; one that was drained costs less.
        assert 0 < cluster.seconds - 600 * cluster.endings.count(76) < 600
        assert (cluster.status or {})["attempts"]["failed"] == 0
        while (cluster.status or {}).get("state") not in ("Succeeded", "Failed"):
            _step(cluster, [1], chaos=False)
        assert (cluster.status or {})["attempts"]["failed"] == 1
