"""Ten runs on three partitions in random histories: leaders that are killed or frozen, suspensions, deletions.

The operator's own reconciling acts on a model of the API server, whose requests arrive when the history says so.
"""

import random
from collections import Counter
from typing import Any

import pytest

from api_server_model import Server, held_in_vain, is_at_work, let_back_off_end, partition_of, seeds
from replica_model import KINDS, NAMESPACE, OFFERED, Replica
from run_objects import time
from specs import MINIMAL
from whisper_finetune_operator.kubernetes_objects import run_uid_of, uid_of
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL

RUNS = 10
#: The requests that would do harm if they arrived late and nothing kept them from it.
FENCED = (("create", "leases"), ("replace", "leases"), ("delete", "leases"), ("create", "jobs"), ("patch", "jobs"))
CHAOS_STEPS, CALM_STEPS = 120, 600
HISTORIES = 60


class History:
    """One random history."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 (no secret)
        self.server = Server(self.chance)
        self.leader = Replica(self.server)
        self.sleepers: list[Replica] = []
        self.made = 0
        #: Runs in the order in which they got a partition for the first time.
        self.served: list[str] = []

    def create_run(self) -> None:
        ipus = self.chance.choice([4, 4, 8])
        spec = {**MINIMAL, "model": "openai/whisper-small", "runtime": "pod16", "ipus": ipus, "retries": 20}
        metadata = {"name": f"run-{self.made}", "namespace": NAMESPACE, "creationTimestamp": time(self.made)}
        self.made += 1
        self.server.put("whisperfinetunes", {"metadata": metadata, "spec": spec, "status": {"observedGeneration": -1}})

    def disturb(self) -> None:
        runs = self.server.of("whisperfinetunes")
        run = self.chance.choice(runs)
        roll = self.chance.random()
        if roll < 0.10:
            run["spec"] = {**run["spec"], "suspend": not run["spec"].get("suspend", False)}
            run["metadata"]["generation"] += 1
            self.server.changed(run)
        elif roll < 0.12 and len(runs) > 3:
            del self.server.objects["whisperfinetunes", NAMESPACE, run["metadata"]["name"]]
        elif roll < 0.14:
            for job in self.server.of("jobs")[:1]:
                job["metadata"]["deletionTimestamp"] = time(1)
                self.server.changed(job)
        elif roll < 0.20:
            self.replace_leader()
        elif roll < 0.30:
            self.leader.door.hold(*self.chance.choice(FENCED))
        elif roll < 0.36:
            for lease in self.server.of("leases")[:2]:
                held_in_vain(self.server, lease)
        elif roll < 0.50:
            let_back_off_end(self.server, run)

    def replace_leader(self) -> None:
        """Another replica leads from now on; it knows what a list says."""
        self.leader.leads = False
        self.leader = Replica(self.server)
        self.leader.see()

    async def step(self, *, chaos: bool) -> None:
        if chaos:
            self.disturb()
        else:
            for run in self.server.of("whisperfinetunes"):
                let_back_off_end(self.server, run)
        self.server.control()
        seen = KINDS if not chaos else tuple(kind for kind in KINDS if self.chance.random() < 0.7)
        self.leader.see(what=seen)
        uids = {run.uid for run in self.leader.store.runs()} | set(
            map(run_uid_of, self.leader.store.partitions.leases())
        )
        for uid in self.chance.sample(
            sorted(uids), len(uids) if not chaos else min(len(uids), self.chance.randrange(1, 4))
        ):
            await self.leader.look(uid)
            self.check()
            if self.leader.frozen:
                self.sleepers.append(self.leader)
                self.replace_leader()
                break
        if self.sleepers and (not chaos or self.chance.random() < 0.1):
            await self.sleepers.pop(self.chance.randrange(len(self.sleepers))).wake()
            self.check()

    def check(self) -> None:
        at_work = [pod for pod in self.server.of("pods") if is_at_work(pod)]
        assert set(Counter(map(partition_of, at_work)).values()) <= {1}, "two pods on one partition"
        assert set(Counter(map(run_uid_of, at_work)).values()) <= {1}, "two pods of one run"

    def is_over(self) -> bool:
        runs = self.server.of("whisperfinetunes")
        succeeded = all(run["status"].get("state") == "Succeeded" for run in runs)
        return succeeded and not self.server.of("leases") and not self.sleepers


@pytest.mark.parametrize("seed", seeds(HISTORIES, quick=10))
async def test_never_two_on_one_partition_and_all_come_to_their_end(seed: int) -> None:
    history = History(seed)
    for _ in range(RUNS):
        history.create_run()
    for _ in range(CHAOS_STEPS):
        await history.step(chaos=True)
    for run in history.server.of("whisperfinetunes"):
        run["spec"] = {**run["spec"], "suspend": False}
        run["metadata"]["generation"] += 1
        history.server.changed(run)
    history.leader.door.hold()
    for _ in range(CALM_STEPS):
        await history.step(chaos=False)
        if history.is_over():
            break
    left = {
        run["metadata"]["name"]: run["status"].get("conditions", [{}])[0]
        for run in history.server.of("whisperfinetunes")
    }
    assert history.is_over(), f"{left}, {len(history.server.of('leases'))} partitions are kept"


@pytest.mark.parametrize("seed", seeds(20, quick=5))
async def test_left_in_peace_the_oldest_that_fits_goes_first(seed: int) -> None:
    history = History(seed)
    for _ in range(CALM_STEPS):
        if history.made < RUNS and history.chance.random() < 0.3:
            history.create_run()
        before = {uid_of(lease) for lease in history.server.of("leases")}
        await history.step(chaos=False)
        for lease in history.server.of("leases"):
            if uid_of(lease) not in before:
                assert_nobody_was_passed(history, lease)
        if history.made == RUNS and history.is_over():
            return
    pytest.fail("a run starved")


def assert_nobody_was_passed(history: History, lease: dict[str, Any]) -> None:
    """Check that no older run without a partition could have used this one."""
    holders = {run_uid_of(each) for each in history.server.of("leases")}
    runs = {uid_of(run): run for run in history.server.of("whisperfinetunes")}
    taker = runs[run_uid_of(lease)]
    sizes = {each.lease_name: each.ipus for each in OFFERED.inventory.members}
    for uid, run in runs.items():
        is_older = run["metadata"]["creationTimestamp"] < taker["metadata"]["creationTimestamp"]
        waits = uid not in holders and not {"completionTime", "nextAttemptTime"} & run["status"].keys()
        fits = run["spec"]["ipus"] <= sizes[lease["metadata"]["labels"][PARTITION_LABEL]]
        assert not (is_older and waits and fits), f"{taker['metadata']['name']} passed {run['metadata']['name']}"
