"""Liveness: it must fail when a watch is dead or the queue is stuck, and only then."""

import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from operator_process import Proxy, Start, free_port, until
from whisper_finetune_operator import health
from whisper_finetune_operator.health import WatchAges
from whisper_finetune_operator.metrics import Metrics


async def ask(checks: list[Callable[[], str | None]], path: str = "/healthz") -> tuple[int, str]:
    port = free_port()
    server = await health.serve(port, checks, Metrics())
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, await answer.text()
    finally:
        await server.cleanup()


async def test_nothing_is_wrong() -> None:
    assert await ask([lambda: None]) == (200, "ok")


async def test_everything_that_is_wrong_is_said() -> None:
    assert await ask([lambda: "no watch", lambda: None, lambda: "no queue"]) == (503, "no watch\nno queue")


async def test_figures() -> None:
    code, text = await ask([], "/metrics")
    assert code == 200
    assert "wft_leader 0.0" in text
    assert "process_resident_memory_bytes" in text


async def test_watch_without_a_sign_of_life_is_named() -> None:
    ages = WatchAges(stale_seconds=0.05)
    assert ages.check() is None
    ages.expect(["jobs", "pods"])
    assert ages.check() is None
    async with asyncio.timeout(20):
        while ages.check() is None:
            ages.seen("jobs")
            await asyncio.sleep(0.01)
    assert ages.check() == "no sign of life from the watch of pods for 0 s"
    ages.seen("pods")
    assert ages.check() is None


@pytest.mark.apiserver
@pytest.mark.usefixtures("install_crd")
def test_silent_server_is_noticed_by_the_watches_and_forgotten_when_it_speaks(proxy: Proxy, start: Start) -> None:
    environment = {"OPERATOR_WATCH_SECONDS": "2", "OPERATOR_WATCH_STALE_SECONDS": "6"}
    replica = start("--no-leader-election", kubeconfig=proxy.kubeconfig, environment=environment)
    until(lambda: ("list", "pods") in replica.requests(), what="the start")
    until(lambda: replica.figures()["wft_watch_silence_seconds"] > 2, what="a quiet time longer than a watch")
    assert replica.health() == (200, "ok")
    proxy.freeze()
    code, text = until(lambda: replica.health() if replica.health()[0] != 200 else None, what="503")
    assert code == 503
    assert "no sign of life from the watch of" in text
    proxy.thaw()
    until(lambda: replica.health() == (200, "ok"), what="200 again")
