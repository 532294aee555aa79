"""Pulling progress: only a valid answer of the run's own trainer counts, and no pod delays another."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from object_store.server_process import free_port
from run_objects import DONE, NAME, NAMESPACE, UID, at, ended, not_yet_over, run_object, running
from test_object_cache import pod_version, version
from whisper_finetune_api.contract import CONTRACT
from whisper_finetune_api.run import CONFIG_ENV
from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator import progress_client
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.progress_client import ProgressClient, trainer_of
from whisper_finetune_operator.runs import child_name
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.workqueue import Workqueue

GOOD = {"uid": UID, "stage": "Training", "progress": {"step": 30, "totalSteps": 100, "percent": 30}}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def running_pod(port: int, *, address: str = "127.0.0.1", created: float = 20) -> dict[str, Any]:
    made = pod_version(running(created, created + 1), 11)
    made["status"]["podIP"] = address
    made["spec"]["containers"][0]["env"] = [{"name": CONFIG_ENV, "value": json.dumps({"progressPort": port})}]
    return made


@asynccontextmanager
async def trainer(answer: Answer, *, address: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serve /progress as a trainer's pod would, and yield the port."""
    application = web.Application()
    application.router.add_get("/progress", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, address, port).start()
    yield port
    await runner.cleanup()


class Asked:
    """What came of asking once."""

    def __init__(self, store: ObjectCache, metrics: Metrics, queue: Workqueue) -> None:
        run = store.run(UID)
        assert run is not None
        world = store.world(run, at(60))
        self.report, self.silence = world.report, world.silence
        self.woken = queue.depth()
        samples = [sample for family in metrics.progress_refused.collect() for sample in family.samples]
        self.refused = {
            sample.labels["cause"]: sample.value
            for sample in samples
            if sample.name.endswith("_total") and sample.value
        }


async def ask(*ports: int, timeout_seconds: float = 5.0) -> Asked:
    store, metrics = ObjectCache(PartitionBook(lambda _: None)), Metrics()
    store.put_run(version(run_object(), 10))
    for number, port in enumerate(ports):
        store.put_pod(running_pod(port, created=20 + number))

    queue = idle_queue()
    client = ProgressClient(store, queue, metrics, every_seconds=1, timeout_seconds=timeout_seconds, parallel=4)
    await client.ask_all()
    return Asked(store, metrics, queue)


def idle_queue() -> Workqueue:
    """Return a queue where nobody works: what is added stays to be counted."""

    async def no_work(_: str) -> None:
        """Do nothing."""

    return Workqueue(no_work, lambda *_: None, workers=1)


def always(body: str | bytes, **options: Any) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        content = body.encode() if isinstance(body, str) else body
        return web.Response(body=content, **options)

    return answer


async def test_good_answer_reaches_the_store_and_wakes_the_run() -> None:
    async with trainer(always(json.dumps(GOOD))) as port:
        asked = await ask(port)
    assert asked.report is not None
    assert asked.report.progress is not None
    assert asked.report.progress.percent == 30
    assert asked.woken == 1
    assert asked.refused == {}
    assert asked.silence is None


REFUSED = {
    "another run's": (json.dumps({**GOOD, "uid": "another"}), {}, "foreign"),
    "nobody's": (json.dumps({"stage": "Training"}), {}, "foreign"),
    "no JSON": ("<html>", {}, "malformed"),
    "a list": ("[]", {}, "malformed"),
    "a number in place of a UID": (json.dumps({**GOOD, "uid": 7}), {}, "malformed"),
    "a later contract": (json.dumps({**GOOD, "contract": CONTRACT + 1}), {}, "malformed"),
    "an infinite step": (f'{{{{"uid": "{UID}", "progress": {{{{"step": Infinity}}}}}}}}', {}, "malformed"),
    "text that is no UTF-8": (b'{"uid": "\xff"}', {}, "malformed"),
    "far too much": (json.dumps(GOOD) + " " * (progress_client.BODY_MAX_BYTES + 16 * 1024), {}, "oversized"),
    "nothing": ("", {}, "malformed"),
    "an error": (json.dumps(GOOD), {"status": 500}, "status"),
    "a redirect": ("", {"status": 302, "headers": {"Location": "/progress"}}, "status"),
}


@pytest.mark.parametrize(("body", "options", "cause"), REFUSED.values(), ids=REFUSED)
async def test_answer_is_dropped_and_counted(body: str | bytes, options: dict[str, Any], cause: str) -> None:
    async with trainer(always(body, **options)) as port:
        asked = await ask(port)
    assert asked.report is None
    assert asked.silence is not None
    assert asked.refused == {cause: 1.0}


LEFT_OUT: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"command": "rm"}, "command: not known to this version"),
    "an unknown stage": ({"stage": "Dreaming"}, "stage: Input should be"),
    "a WER that is no number": ({"baseline": {"wer": "NaN", "normalizedWer": "1.00"}}, "baseline.wer: String should"),
    "a negative WER": ({"baseline": {"wer": "-1.00", "normalizedWer": "1.00"}}, "baseline.wer: String should match"),
    "a path outside of the run's folder": (
        {"checkpoints": [{"step": 1, "path": "../other/checkpoint-1"}]},
        "checkpoints.0.path: String should match",
    ),
    "a name that steers a terminal": ({"\x1b[2J\u202e": 1}, " [2J : not known to this version"),
}


@pytest.mark.parametrize(("more", "says"), LEFT_OUT.values(), ids=LEFT_OUT)
async def test_what_is_not_understood_is_left_out_and_said_once(
    more: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with trainer(always(json.dumps({**GOOD, **more}))) as port:
        asked = await ask(port)
    assert asked.report is not None
    assert asked.report.progress is not None
    assert asked.report.progress.percent == 30
    # A stage that is not known is not the first one.
    assert asked.report.stage == (None if "stage" in more else "Training")
    assert (asked.report.baseline, asked.report.checkpoints) == (None, ())
    assert asked.refused == {}
    (line,) = [message for message in caplog.messages if "left out" in message]
    assert says in line


async def test_nobody_listens() -> None:
    asked = await ask(free_port())
    assert asked.refused == {"unreachable": 1.0}
    assert asked.silence is not None
    assert "Connect call failed" in asked.silence.problem
    assert asked.woken == 1


@asynccontextmanager
async def endless(part: bytes) -> AsyncIterator[int]:
    """Answer with the same bytes for as long as somebody reads; yield the port."""

    async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(part * 100)
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(send, "127.0.0.1", 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        yield port


@pytest.mark.parametrize(
    "part",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"],
    ids=["100", "103"],
)
async def test_answers_before_the_answer_are_read_to_a_bound(part: bytes) -> None:
    async with endless(part) as port:
        asked = await ask(port)
    assert asked.refused == {"oversized": 1.0}


async def test_headers_without_end_are_read_to_a_bound() -> None:
    async with endless(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000) as port:
        asked = await ask(port)
    assert asked.refused == {"malformed": 1.0}


async def test_answer_after_an_interim_one_is_taken() -> None:
    body = json.dumps(GOOD).encode()
    said = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        asked = await ask(server.sockets[0].getsockname()[1])
    assert asked.report is not None


async def test_silent_pods_of_one_namespace_hold_up_none_of_another() -> None:
    """160 that never answer, longer than the test would wait for one: the good one is heard all the same."""

    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    store = ObjectCache(PartitionBook(lambda _: None))
    store.put_run(version(run_object(), 10))
    async with trainer(never) as silent, trainer(always(json.dumps(GOOD))) as port:
        for number in range(160):
            crowd = version(run_object(), 10, uid=f"silent-{number}", namespace="crowd")
            store.put_run(crowd)
            store.put_pod(pod_of(crowd, silent))
        store.put_pod(running_pod(port))
        client = ProgressClient(store, idle_queue(), Metrics(), every_seconds=0.001, timeout_seconds=3600, parallel=16)
        asking = asyncio.create_task(client.run())
        run = store.run(UID)
        assert run is not None
        async with asyncio.timeout(60):
            while store.world(run, at(60)).report is None:  # noqa: ASYNC110 (it happens in the code under test)
                await asyncio.sleep(0.001)
        assert len(list(store.attempts())) == 161
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


def pod_of(run: dict[str, Any], port: int) -> dict[str, Any]:
    """Return a running pod of the run."""
    made, metadata = running_pod(port), run["metadata"]
    made["metadata"] |= {"uid": f"pod-of-{metadata['uid']}", "namespace": metadata["namespace"]}
    made["metadata"]["labels"] = {UID_LABEL: metadata["uid"]}
    made["metadata"]["ownerReferences"][0]["name"] = child_name(metadata["name"], metadata["uid"])
    return made


async def test_trainer_that_stays_silent_is_complained_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress_client, "WARNED_AFTER_SECONDS", 0.0)
    store = ObjectCache(PartitionBook(lambda _: None))
    store.put_run(version(run_object(), 10))
    store.put_pod(running_pod(free_port()))
    client = ProgressClient(store, idle_queue(), Metrics(), every_seconds=0.001, timeout_seconds=5, parallel=4)
    for _ in range(4):
        await client.ask_all()
    complaints = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(complaints) == 1
    assert "NetworkPolicy" in complaints[0]


def test_trainer_of_a_running_pod() -> None:
    found = trainer_of(UID, running_pod(8081))
    assert found is not None
    assert (found.host, found.port, found.namespace) == ("127.0.0.1", 8081, NAMESPACE)
    assert found.pod_name.startswith(NAME)


async def test_trainer_with_an_ipv6_address_is_asked() -> None:
    async with trainer(always(json.dumps(GOOD)), address="::1") as port:
        store = ObjectCache(PartitionBook(lambda _: None))
        store.put_run(version(run_object(), 10))
        store.put_pod(running_pod(port, address="::1"))
        await ProgressClient(store, idle_queue(), Metrics(), every_seconds=1, timeout_seconds=5, parallel=4).ask_all()
    run = store.run(UID)
    assert run is not None
    assert store.world(run, at(60)).report is not None


@pytest.mark.parametrize(
    "configuration",
    [None, "", "{", "[]", "{}", '{"progressPort": 0}', '{"progressPort": "no"}', '{"progressPort": 70000}'],
)
def test_pod_that_only_wears_the_label_is_not_asked(configuration: str | None) -> None:
    made = running_pod(8080)
    made["spec"]["containers"][0]["env"] = [{"name": CONFIG_ENV, "value": configuration}] if configuration else []
    assert trainer_of(UID, made) is None


def test_pod_that_does_not_run_is_not_asked() -> None:
    made = running_pod(8080)
    made["status"]["phase"] = "Pending"
    assert trainer_of(UID, made) is None


def test_pod_whose_trainer_has_ended_is_not_asked_though_others_run_on() -> None:
    made = running_pod(8080)
    over = not_yet_over(ended(20, 21, 99, 0, DONE), beside="istio-proxy")
    made["status"] = {**over["status"], "podIP": made["status"]["podIP"]}
    assert made["status"]["phase"] == "Running"
    assert trainer_of(UID, made) is None


async def test_no_proxy_of_the_environment_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with trainer(always(json.dumps(GOOD))) as port:
        asked = await ask(port)
    assert asked.report is not None
