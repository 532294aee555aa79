"""One replica acts at a time: the Lease, and what happens when its holder dies, sleeps or loses the API server."""

import asyncio
import signal
from datetime import UTC, datetime
from typing import Any

import pytest

from namespace_view import Namespace
from operator_process import Proxy, Start, until
from simulated_time import in_simulated_time
from whisper_finetune_operator.api import leader_election
from whisper_finetune_operator.api.leader_election import Leadership

NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
TERMS = leader_election.LeaseTerms("operators", "whisper", "replica-b", 15.0)
#: Long enough for a busy machine, short enough to wait for.
SHORT = {"OPERATOR_LEASE_SECONDS": "9"}


def held_by(holder: str) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4, "acquireTime": "then"}
    return {"metadata": {"name": "whisper", "namespace": "operators", "resourceVersion": "9"}, "spec": spec}


@pytest.mark.parametrize(
    ("found", "unchanged_seconds", "free"),
    [
        (None, 0, True),
        (held_by(""), 0, True),
        (held_by("replica-b"), 0, True),
        (held_by("replica-a"), 0, False),
        (held_by("replica-a"), 15, False),
        (held_by("replica-a"), 15.1, True),
    ],
)
def test_when_a_lease_is_free(found: dict[str, Any] | None, unchanged_seconds: float, *, free: bool) -> None:
    assert leader_election.is_lease_free(found, "replica-b", unchanged_seconds) is free


def test_first_lease() -> None:
    assert leader_election.taken_lease(TERMS, None, NOW) == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "whisper", "namespace": "operators"},
        "spec": {
            "holderIdentity": "replica-b",
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-11-22T10:00:00.123456Z",
            "renewTime": "2026-11-22T10:00:00.123456Z",
            "leaseTransitions": 0,
        },
    }


def test_taken_lease_names_its_version_and_counts_the_transition() -> None:
    taken = leader_election.taken_lease(TERMS, held_by("replica-a"), NOW)
    assert taken["metadata"]["resourceVersion"] == "9"
    assert taken["spec"]["leaseTransitions"] == 5
    assert taken["spec"]["acquireTime"] == "2026-11-22T10:00:00.123456Z"


def test_renewed_lease_keeps_since_when_it_is_held() -> None:
    renewed = leader_election.taken_lease(TERMS, held_by("replica-b"), NOW)
    assert renewed["spec"]["leaseTransitions"] == 4
    assert renewed["spec"]["acquireTime"] == "then"
    assert renewed["spec"]["renewTime"] == "2026-11-22T10:00:00.123456Z"


def test_holder_stops_acting_before_another_can_start() -> None:
    assert TERMS.renew_seconds < TERMS.safe_seconds < TERMS.seconds


class HangingApi:
    """An API server that answers only some requests; the others hang."""

    def __init__(self, answered: list[bool]) -> None:
        self._answered = answered
        self.asked = 0

    async def replace(self, _: object, body: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.asked > 1 and not self._answered[self.asked - 2]:
            await asyncio.sleep(3600)
        return {**body, "metadata": {**body["metadata"], "resourceVersion": "10"}}

    async def find(self, *_: object) -> dict[str, Any]:
        return held_by("replica-b")


@pytest.mark.parametrize(
    ("answered", "kept"), [([False, True, True], True), ([False, False, False, False, False], False)]
)
def test_renewal_that_hangs_leaves_time_for_the_next(answered: list[bool], *, kept: bool) -> None:
    """With a Lease of 15 s one may act for 10: each request takes half of what is left at most."""

    async def main() -> bool:
        api: Any = HangingApi(answered)
        leadership = Leadership(api, TERMS)
        await leadership.acquire()
        keeping = asyncio.create_task(leadership.keep())
        await asyncio.wait([keeping], timeout=12)
        ended = keeping.done()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert api.asked > 2
        return ended

    assert in_simulated_time(main()) is not kept


@pytest.mark.apiserver
@pytest.mark.usefixtures("install_crd")
def test_second_replica_acts_when_the_first_is_killed(place: Namespace, start: Start) -> None:
    first = start(name="first", environment=SHORT)
    until(first.acts, what="the first replica has its turn")
    second = start(name="second", environment=SHORT)
    until(lambda: second.health()[0] == 200, what="the second replica is healthy")
    place.create_run("one")
    until(lambda: len(place.jobs()) == 1, what="the first Job")
    assert not second.acts()
    assert second.writes() == {}
    first.kill()
    place.create_run("two")
    until(lambda: len(place.jobs()) == 2, what="the second Job")
    assert second.acts()
    # It counts a request when it has the answer, which may be after the Job is there.
    until(lambda: second.writes().get(("create", "jobs")), what="that it has counted the Job")
    assert second.writes()["create", "jobs"] == 1


@pytest.mark.apiserver
@pytest.mark.usefixtures("install_crd")
def test_stopped_replica_gives_its_turn_back_at_once(place: Namespace, start: Start) -> None:
    environment = {"OPERATOR_LEASE_SECONDS": "600"}
    first = start(name="first", environment=environment)
    until(first.acts, what="the first replica has its turn")
    assert first.stop() == 0
    assert place.lease_holder() == ""
    second = start(name="second", environment=environment)
    until(second.acts, what="the second replica has its turn")


@pytest.mark.apiserver
@pytest.mark.usefixtures("install_crd")
def test_replica_that_slept_over_its_lease_ends_and_does_nothing(place: Namespace, start: Start) -> None:
    sleeper = start(name="sleeper", environment=SHORT)
    until(sleeper.acts, what="the first replica has its turn")
    sleeper.signal(signal.SIGSTOP)
    waker = start(name="waker", environment=SHORT)
    until(waker.acts, what="the second replica has its turn")
    place.create_run("only-once")
    until(place.jobs, what="the Job")
    sleeper.signal(signal.SIGCONT)
    assert sleeper.process.wait(60) == 1
    [error] = sleeper.errors()
    assert error.startswith("error: Lease whisper-finetune-operator")
    assert not any("created" in message for message in sleeper.messages())
    assert len(place.jobs()) == 1


@pytest.mark.apiserver
@pytest.mark.usefixtures("install_crd")
def test_holder_that_cannot_renew_ends(proxy: Proxy, start: Start) -> None:
    replica = start(kubeconfig=proxy.kubeconfig, environment=SHORT)
    until(replica.acts, what="the replica has its turn")
    proxy.freeze()
    assert replica.process.wait(60) == 1
    assert replica.errors() == ["error: Lease whisper-finetune-operator was not renewed for 6 s"]
