"""Two installations over the same runs in random histories: each run has one of them, and one pod at a time.

The operator's own reconciling acts on a model of the API server, whose requests arrive when the history says so.
"""

import random
from collections import Counter

import pytest

from api_server_model import Server, is_at_work, let_back_off_end, seeds
from replica_model import KINDS, NAMESPACE, OFFERED, WITHOUT_POOL, Replica
from run_objects import time
from specs import MINIMAL
from whisper_finetune_operator.acting.installations import Installation
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, run_uid_of
from whisper_finetune_operator.runs import Run

RUNS = 4
#: The requests by which an installation begins a run or goes on with it.
HELD = (("create", "jobs"), ("create", "leases"), ("apply", "whisperfinetunes"))
CHAOS_STEPS, CALM_STEPS = 60, 400
HISTORIES = 60
OWN = (Installation("a", "wft"), Installation("b", "wft"))


class History:
    """One random history. Each installation has one leader, and knows the runtime with a pool or without one."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 (no secret)
        self.server = Server(self.chance)
        self.offered = [self.chance.choice([WITHOUT_POOL, OFFERED]) for _ in OWN]
        self.leaders = [self.new_leader(index) for index in range(len(OWN))]
        self.sleepers: list[Replica] = []
        for number in range(RUNS):
            spec = {**MINIMAL, "model": "openai/whisper-small", "runtime": "pod16", "ipus": 4, "retries": 20}
            metadata = {"name": f"run-{number}", "namespace": NAMESPACE, "creationTimestamp": time(number)}
            run = {"metadata": metadata, "spec": spec, "status": {"observedGeneration": -1}}
            self.server.put("whisperfinetunes", run)

    def new_leader(self, index: int) -> Replica:
        leader = Replica(self.server, self.offered[index], installation=OWN[index])
        leader.see()
        return leader

    def disturb(self) -> None:
        roll, index = self.chance.random(), self.chance.randrange(len(OWN))
        if roll < 0.08 and not self.sleepers:
            jobs = self.server.of("jobs")
            for job in self.chance.sample(jobs, min(1, len(jobs))):
                self.delete_by_hand(job)
        elif roll < 0.10:
            self.leaders[index].leads = False
            self.leaders[index] = self.new_leader(index)
        elif roll < 0.30:
            self.leaders[index].door.hold(*self.chance.choice(HELD))

    def delete_by_hand(self, job: KubernetesObject) -> None:
        """Delete a Job in the foreground or, as kubectl does, at once: then its pod ends after it.

        Nothing keeps a creation that was sent before from arriving after that. So nobody's request is held up then.
        """
        metadata = job["metadata"]
        metadata["deletionTimestamp"] = time(1)
        self.server.changed(job)
        if self.chance.random() < 0.5:
            for pod in self.server.of("pods"):
                if pod["metadata"]["ownerReferences"][0]["uid"] == metadata["uid"]:
                    pod["metadata"].setdefault("deletionTimestamp", time(1))
                    self.server.changed(pod)
            del self.server.objects["jobs", metadata["namespace"], metadata["name"]]

    async def step(self, *, chaos: bool) -> None:
        if chaos:
            self.disturb()
        for run in self.server.of("whisperfinetunes"):
            let_back_off_end(self.server, run)
        self.server.control()
        for index in self.chance.sample(range(len(OWN)), len(OWN)):
            await self.pass_of(index, chaos=chaos)
        if self.sleepers and (not chaos or self.chance.random() < 0.2):
            await self.sleepers.pop(self.chance.randrange(len(self.sleepers))).wake()
            self.check()

    async def pass_of(self, index: int, *, chaos: bool) -> None:
        """Let a leader look at some of the runs, after it has seen a part of what is there."""
        leader = self.leaders[index]
        leader.see(what=tuple(kind for kind in KINDS if not chaos or self.chance.random() < 0.6))
        uids = [run.uid for run in leader.store.runs()]
        for uid in self.chance.sample(uids, self.chance.randrange(1, 3) if chaos and len(uids) > 2 else len(uids)):
            await leader.look(uid)
            self.check()
            if leader.frozen:
                self.sleepers.append(leader)
                self.leaders[index] = self.new_leader(index)
                return

    def check(self) -> None:
        at_work = [pod for pod in self.server.of("pods") if is_at_work(pod)]
        assert set(Counter(map(run_uid_of, at_work)).values()) <= {1}, "two pods of one run"

    def is_over(self) -> bool:
        runs = self.server.of("whisperfinetunes")
        return all(run["status"].get("state") == "Succeeded" for run in runs) and not self.sleepers


@pytest.mark.parametrize("seed", seeds(HISTORIES, quick=10))
async def test_each_run_has_one_installation_and_one_pod_at_a_time(seed: int) -> None:
    history = History(seed)
    for _ in range(CHAOS_STEPS):
        await history.step(chaos=True)
    for leader in history.leaders:
        leader.door.hold()
    for _ in range(CALM_STEPS):
        await history.step(chaos=False)
        if history.is_over():
            break
    runs = history.server.of("whisperfinetunes")
    assert history.is_over(), {run["metadata"]["name"]: run["status"].get("conditions") for run in runs}
    assert all(len(Run.from_object(run).status_managers) == 1 for run in runs)
