"""The operator's process goes on, and keeps its Lease, when the API server is slow, overloaded or broken."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from operator_process import OperatorProcess, until
from slow_api_server import SlowApiServer, Trouble, error_event, no_trouble

pytestmark = pytest.mark.slow

Begin = Callable[..., tuple[SlowApiServer, OperatorProcess]]
LEASE = "whisper-finetune-operator"


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Return what starts a server and a replica that talks to it."""
    ends: list[Callable[[], None]] = []

    def begin_both(
        trouble: Trouble = no_trouble, *, runs: int = 0, **environment: str
    ) -> tuple[SlowApiServer, OperatorProcess]:
        server = SlowApiServer(tmp_path, trouble, runs)
        replica = OperatorProcess(
            server.kubeconfig, tmp_path, environment={"OPERATOR_LEASE_SECONDS": "9", **environment}
        )
        ends.extend((replica.kill, server.close))
        return server, replica

    yield begin_both
    for end in ends:
        end()


def renewals(server: SlowApiServer) -> int:
    return server.requests["PUT", "leases"]


def test_leader_stays_while_all_that_it_creates_hangs(begin: Begin) -> None:
    """As a webhook of Jobs does that does not answer: more of them than there are workers."""

    async def hang(request: web.Request) -> None:
        if request.method == "POST" and request.path.endswith("/jobs"):
            await asyncio.sleep(3600)

    server, replica = begin(hang, runs=60, OPERATOR_REQUEST_TIMEOUT_SECONDS="3600")
    until(lambda: server.requests["POST", "jobs"] >= 20, what="that all workers hang")
    seen = renewals(server)
    until(lambda: renewals(server) >= seen + 6 or replica.process.poll() is not None, what="renewals of the Lease")
    assert replica.process.poll() is None, replica.lines()[-1]
    assert replica.health() == (200, "ok")


@pytest.mark.parametrize("trouble", [429, 403], ids=str)
def test_start_waits_until_the_server_can_answer(begin: Begin, trouble: int) -> None:
    refused: list[str] = []

    async def refuse_three_times(request: web.Request) -> web.Response | None:
        if request.method == "GET" and request.path.endswith("/jobs") and len(refused) < 3:
            refused.append(request.path)
            return web.json_response({"message": "not now"}, status=trouble, headers={"Retry-After": "0"})
        return None

    server, replica = begin(refuse_three_times, runs=1)
    until(lambda: server.of("jobs"), what="the Job")
    assert len(refused) == 3
    assert replica.process.poll() is None
    assert any("not now" in message for message in replica.messages())


def test_server_that_is_away_at_the_start_is_waited_for(begin: Begin) -> None:
    answers = [False]

    async def fail(_: web.Request) -> web.Response | None:
        return None if answers[0] else web.json_response({"message": "etcdserver: no leader"}, status=500)

    server, replica = begin(fail, runs=1)
    until(lambda: replica.health("/readyz")[0] == 503, what="that it is not ready")
    assert replica.health() == (200, "ok")
    answers[0] = True
    until(lambda: server.of("jobs"), what="the Job")
    until(lambda: replica.health("/readyz") == (200, "ok"), what="that it is ready")


@pytest.mark.parametrize("code", [500], ids=str)
@pytest.mark.parametrize(
    ("plural", "message"),
    [("jobs", "listing jobs anew"), ("whisperfinetunes", "the watch of runs broke")],
    ids=["own", "kopf"],
)
def test_error_in_a_watch_is_mended_by_listing_anew(begin: Begin, code: int, plural: str, message: str) -> None:
    broken: list[str] = []

    async def break_once(request: web.Request) -> web.StreamResponse | None:
        if "watch" not in request.query or not request.path.endswith(f"/{plural}") or broken:
            return None
        broken.append(request.path)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(error_event(code, "etcdserver: no leader"))
        return response

    server, replica = begin(break_once)
    until(lambda: server.requests["WATCH", plural] >= 2 or replica.process.poll() is not None, what="another watch")
    assert replica.process.poll() is None
    assert [told for told in replica.messages() if message in told and "etcdserver: no leader" in told]
    assert replica.stop() == 0
    assert server.objects["leases", LEASE]["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize("code", [403, 410], ids=str)
def test_refused_watch_does_not_end_the_operator(begin: Begin, code: int) -> None:
    refused: list[str] = []

    async def refuse(request: web.Request) -> web.Response | None:
        if "watch" in request.query and request.path.endswith("/pods") and len(refused) < 2:
            refused.append(request.path)
            return web.json_response({"kind": "Status", "code": code, "message": "not now"}, status=code)
        return None

    server, replica = begin(refuse)
    until(lambda: server.requests["WATCH", "pods"] > 2 or replica.process.poll() is not None, what="another watch")
    assert replica.process.poll() is None


def test_replica_that_waits_for_its_turn_ends_when_it_is_told(begin: Begin) -> None:
    server, first = begin()
    until(first.acts, what="the first replica has its turn")
    second = OperatorProcess(server.kubeconfig, first.log.parent, name="second")
    until(lambda: second.health("/readyz") == (200, "ok"), what="that the second one waits")
    second.signal(signal.SIGTERM)
    assert second.process.wait(60) == 0
    assert second.messages()[-1] == "told to stop"


def test_lease_is_given_back_by_a_replica_that_breaks(begin: Begin) -> None:
    """Another one need not wait for the Lease's end, whatever it was that ended this one."""

    async def malformed(request: web.Request) -> web.Response | None:
        if "watch" not in request.query and request.path.endswith("/jobs") and request.method == "GET":
            return web.json_response({"metadata": {}, "items": [{"no": "Job"}]})
        return None

    server, replica = begin(malformed)
    assert replica.process.wait(60) == 1
    assert holder(server) == ""


def holder(server: SlowApiServer) -> Any:
    return server.objects["leases", LEASE]["spec"]["holderIdentity"]
