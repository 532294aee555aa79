"""Liveness fails where a restart would help, readiness while something is waited for. No client can block others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from object_store.server_process import free_port
from operator_process import Proxy, Start, until
from simulated_time import in_simulated_time
from whisper_finetune_operator.observability import health
from whisper_finetune_operator.observability.health import Check, HealthServer, WatchAges
from whisper_finetune_operator.observability.metrics import Metrics


@asynccontextmanager
async def served(
    live: list[Check] | None = None, ready: list[Check] | None = None, metrics: Metrics | None = None
) -> AsyncIterator[int]:
    """Serve and yield the port."""
    port = free_port()
    server = HealthServer(live or [], ready or [], metrics or Metrics())
    await server.listen(port)
    try:
        yield port
    finally:
        await server.close()


async def ask(port: int, path: str = "/healthz", address: str = "127.0.0.1") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_nothing_is_wrong() -> None:
    async with served([lambda: None], [lambda: None]) as port:
        assert await ask(port) == (200, "ok")
        assert await ask(port, "/readyz") == (200, "ok")


async def test_everything_that_is_wrong_is_said_and_what_is_waited_for_is_no_reason_to_end() -> None:
    waits: list[Check] = [lambda: "no watch", lambda: None, lambda: "no server"]
    async with served([lambda: "no queue"], waits) as port:
        assert await ask(port) == (503, "no queue")
        assert await ask(port, "/readyz") == (503, "no watch\nno server")


async def test_ipv6_is_answered_too() -> None:
    async with served() as port:
        assert await ask(port, address="[::1]") == (200, "ok")


async def test_figures() -> None:
    async with served() as port:
        code, text = await ask(port, "/metrics")
    assert code == 200
    assert "wft_leader 0.0" in text
    assert "process_resident_memory_bytes" in text


class CountedMetrics(Metrics):
    """Counts how often the figures are computed."""

    computed = 0

    def text(self) -> bytes:
        self.computed += 1
        return super().text()


async def test_figures_are_computed_once_for_many_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FIGURES_SHARE_OF_TIME", 1e-9)
    metrics = CountedMetrics()
    async with served(metrics=metrics) as port:
        answers = await asyncio.gather(*[ask(port, "/metrics") for _ in range(50)])
    assert len(set(answers)) == 1
    assert metrics.computed == 1


async def test_connections_that_are_held_open_keep_nobody_out() -> None:
    async with served() as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(health.CONNECTIONS_MAX + 10)]
        assert await ask(port) == (200, "ok")
        # The oldest ones were closed for it.
        assert await held[0][0].read() == b""
        for _, writer in held:
            writer.close()


def test_dead_watch_is_a_reason_to_end_only_while_the_server_answers() -> None:
    async def main() -> list[bool]:
        ages = WatchAges(stale_seconds=150)
        await asyncio.sleep(1000)
        ages.expect(["jobs"])
        await asyncio.sleep(200)
        assert ages.check() == "no sign of life from the watch of jobs for 200 s"
        answers = ((None, 1200.0), (1100.0, 1200.0), (1000.0, 1100.0), (1000.0, 1190.0))
        return [ages.check_of_life(since, at) is not None for since, at in answers]

    assert in_simulated_time(main()) == [False, False, False, True]


def test_watch_without_a_sign_of_life_is_named() -> None:
    async def main() -> None:
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

    in_simulated_time(main())


@pytest.mark.apiserver
@pytest.mark.usefixtures("install_crd")
def test_silent_server_is_noticed_by_the_watches_and_forgotten_when_it_speaks(proxy: Proxy, start: Start) -> None:
    environment = {"OPERATOR_WATCH_SECONDS": "2", "OPERATOR_WATCH_STALE_SECONDS": "6"}
    replica = start("--no-leader-election", kubeconfig=proxy.kubeconfig, environment=environment)
    until(lambda: ("list", "pods") in replica.requests(), what="the start")
    until(lambda: replica.figures().get("wft_watch_silence_seconds", 0) > 1.5, what="a quiet time of most of a watch")
    assert replica.health("/readyz") == (200, "ok")
    proxy.freeze()
    code, text = until(lambda: replica.health("/readyz") if replica.health("/readyz")[0] != 200 else None, what="503")
    assert code == 503
    assert "no sign of life from the watch of" in text
    assert replica.health() == (200, "ok")
    proxy.thaw()
    until(lambda: replica.health("/readyz") == (200, "ok"), what="200 again")
