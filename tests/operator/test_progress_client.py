"""Pulling progress: only a sound answer of the run's own trainer gets through, and no pod holds up another."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from operator_process import free_port
from run_objects import NAME, UID, at, run_object, running
from test_store import pod_version, version
from whisper_finetune_api.run import CONFIG_ENV
from whisper_finetune_operator import progress_client
from whisper_finetune_operator.metrics import Metrics
from whisper_finetune_operator.progress_client import ProgressClient, trainer_of
from whisper_finetune_operator.watching.keyed_queue import KeyedQueue
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.store import Store

GOOD = {"uid": UID, "stage": "Training", "progress": {"step": 30, "totalSteps": 100, "percent": 30}}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def running_pod(port: int, *, address: str = "127.0.0.1", created: float = 20) -> dict[str, Any]:
    made = pod_version(running(created, created + 1), 11)
    made["status"]["podIP"] = address
    made["spec"]["containers"][0]["env"] = [{"name": CONFIG_ENV, "value": json.dumps({"progressPort": port})}]
    return made


@asynccontextmanager
async def trainer(answer: Answer) -> AsyncIterator[int]:
    """Serve /progress as a trainer's pod would, and yield the port."""
    application = web.Application()
    application.router.add_get("/progress", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


class Asked:
    """What came of asking once."""

    def __init__(self, store: Store, metrics: Metrics, queue: KeyedQueue) -> None:
        run = store.run(UID)
        assert run is not None
        self.report = store.world(run, at(60)).report
        self.woken = queue.depth()
        samples = [sample for family in metrics.progress_refused.collect() for sample in family.samples]
        self.refused = {
            sample.labels["cause"]: sample.value
            for sample in samples
            if sample.name.endswith("_total") and sample.value
        }


async def ask(*ports: int, timeout_seconds: float = 5.0) -> Asked:
    store, metrics = Store(PartitionBook(lambda _: None)), Metrics()
    store.put_run(version(run_object(), 10))
    for number, port in enumerate(ports):
        store.put_pod(running_pod(port, created=20 + number))

    async def no_work(_: str) -> None:
        """Nobody works: what is added stays to be counted."""

    queue = KeyedQueue(no_work, lambda *_: None, workers=1)
    client = ProgressClient(store, queue, metrics, every_seconds=1, timeout_seconds=timeout_seconds, parallel=4)
    async with client.session() as session:
        await client.ask_all(session)
    return Asked(store, metrics, queue)


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


REFUSED = {
    "another run's": (json.dumps({**GOOD, "uid": "another"}), {}, "foreign"),
    "nobody's": (json.dumps({"stage": "Training"}), {}, "foreign"),
    "no JSON": ("<html>", {}, "malformed"),
    "a list": ("[]", {}, "malformed"),
    "an unknown field": (json.dumps({**GOOD, "command": "rm"}), {}, "malformed"),
    "a WER that is no number": (
        json.dumps({**GOOD, "baseline": {"wer": "NaN", "normalizedWer": "1.00"}}),
        {},
        "malformed",
    ),
    "a negative WER": (json.dumps({**GOOD, "baseline": {"wer": "-1.00", "normalizedWer": "1.00"}}), {}, "malformed"),
    "an infinite step": (f'{{{{"uid": "{UID}", "progress": {{{{"step": Infinity}}}}}}}}', {}, "malformed"),
    "a path outside of the run's folder": (
        json.dumps({**GOOD, "checkpoints": [{"step": 1, "path": "../other/checkpoint-1"}]}),
        {},
        "malformed",
    ),
    "text that is no UTF-8": (b'{"uid": "\xff"}', {}, "malformed"),
    "far too much": (json.dumps(GOOD) + " " * progress_client.ANSWER_MAX_BYTES, {}, "malformed"),
    "nothing": ("", {}, "malformed"),
    "an error": (json.dumps(GOOD), {"status": 500}, "status"),
    "a redirect": ("", {"status": 302, "headers": {"Location": "/progress"}}, "status"),
}


@pytest.mark.parametrize(("body", "options", "cause"), REFUSED.values(), ids=REFUSED)
async def test_answer_is_dropped_and_counted(body: str | bytes, options: dict[str, Any], cause: str) -> None:
    async with trainer(always(body, **options)) as port:
        asked = await ask(port)
    assert asked.report is None
    assert asked.woken == 0
    assert asked.refused == {cause: 1.0}


async def test_nobody_listens() -> None:
    asked = await ask(free_port())
    assert asked.refused == {"unreachable": 1.0}


async def test_silent_pods_hold_up_no_other() -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    async with trainer(never) as silent, trainer(always(json.dumps(GOOD))) as port:
        asked = await ask(*[silent] * 6, port, timeout_seconds=0.3)
    assert asked.refused == {"unreachable": 6.0}
    assert asked.report is not None


def test_trainer_of_a_running_pod() -> None:
    found = trainer_of(UID, running_pod(8081))
    assert found is not None
    assert found.url == "http://127.0.0.1:8081/progress"
    assert found.pod_name.startswith(NAME)


def test_trainer_of_a_pod_with_an_ipv6_address() -> None:
    found = trainer_of(UID, running_pod(8080, address="fd00::7"))
    assert found is not None
    assert found.url == "http://[fd00::7]:8080/progress"


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


async def test_session_follows_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with trainer(always(json.dumps(GOOD))) as port:
        asked = await ask(port)
    assert asked.report is not None
