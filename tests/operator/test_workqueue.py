"""The workqueue: one pass per key at a time, in order, none lost, failures tried again."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from simulated_time import in_simulated_time
from whisper_finetune_operator import back_off
from whisper_finetune_operator.watching import workqueue
from whisper_finetune_operator.watching.workqueue import Workqueue

Failures = list[tuple[str, str, float]]


@asynccontextmanager
async def running(work: workqueue.Work, workers: int = 4) -> AsyncIterator[tuple[Workqueue, Failures]]:
    failures: Failures = []
    queue = Workqueue(work, lambda key, problem, again: failures.append((key, str(problem), again)), workers=workers)
    task = asyncio.create_task(queue.run())
    yield queue, failures
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (what is waited for happens in the code under test)
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(back_off, "FIRST_SECONDS", 0.001)


async def test_key_that_waits_is_worked_on_once() -> None:
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)

    async with running(work) as (queue, _):
        for key in "aabba":
            queue.add(key)
        assert queue.depth() == 2
        await until(lambda: len(seen) == 2 and queue.depth() == 0)
    assert seen == ["a", "b"]


async def test_keys_that_go_first_leave_the_others_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "FIRST_IN_A_ROW", 3)
    seen: list[str] = []

    async def work(key: str) -> None:
        await asyncio.sleep(0)
        seen.append(key)
        # New ones come as fast as they are worked on, for ever.
        if key.startswith("new"):
            queue.add_first(f"new {len(seen)}")

    async with running(work, workers=1) as (queue, _):
        for key in ("old 1", "old 2", "new a", "new b"):
            (queue.add_first if key.startswith("new") else queue.add)(key)
        await until(lambda: "old 2" in seen)
    taken = [key.split()[0] for key in seen]
    assert taken[:8] == ["new", "new", "new", "old", "new", "new", "new", "old"]
    assert [key for key in seen[:8] if key.startswith("old")] == ["old 1", "old 2"]


async def test_thousands_of_keys_with_nothing_to_do_let_everything_else_go_on() -> None:
    worked = 0

    async def work(_: str) -> None:
        nonlocal worked
        worked += 1

    async with running(work, workers=4) as (queue, _):
        for number in range(1000):
            queue.add(str(number))
        most = 0
        while queue.depth():
            before = worked
            await asyncio.sleep(0)
            most = max(most, worked - before)
    assert worked == 1000
    assert most <= 4


async def test_key_that_waits_is_moved_to_the_front_and_not_back() -> None:
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)

    async with running(work, workers=1) as (queue, _):
        for key in "abc":
            queue.add(key)
        queue.add_first("c")
        queue.add("c")
        queue.add_first("c")
        assert queue.depth() == 3
        await until(lambda: len(seen) == 3)
        await asyncio.sleep(0)
    assert seen == ["c", "a", "b"]


async def test_key_added_while_it_is_worked_on_is_worked_on_once_more_afterwards() -> None:
    gate = asyncio.Event()
    at_work: list[str] = []
    finished: list[str] = []

    async def work(key: str) -> None:
        at_work.append(key)
        await gate.wait()
        finished.append(key)

    async with running(work) as (queue, _):
        queue.add("a")
        await until(lambda: at_work == ["a"])
        queue.add("a")
        queue.add("a")
        queue.add("b")
        await until(lambda: at_work == ["a", "b"])
        gate.set()
        await until(lambda: len(finished) == 3)
        await asyncio.sleep(0)
    assert at_work == ["a", "b", "a"]


async def test_no_change_is_lost_and_no_key_has_two_workers_under_load() -> None:
    """Each change of a key must be followed by a look that began after it."""
    order = random.Random(7)  # noqa: S311 (it guards nothing)
    newest = dict.fromkeys(map(str, range(40)), 0)
    looked_at = dict(newest)
    at_work: set[str] = set()

    async def work(key: str) -> None:
        assert key not in at_work
        at_work.add(key)
        seen = newest[key]
        for _ in range(order.randrange(4)):
            await asyncio.sleep(0)
        at_work.remove(key)
        if order.random() < 0.2:
            raise ValueError("as now and then")
        looked_at[key] = seen

    async with running(work) as (queue, failures):
        for _ in range(5000):
            key = order.choice(list(newest))
            newest[key] += 1
            order.choice([queue.add, queue.add_first])(key)
            if order.random() < 0.3:
                await asyncio.sleep(0)
        await until(lambda: looked_at == newest)
    assert {problem for _, problem, _ in failures} == {"as now and then"}


async def test_failure_is_reported_and_tried_again_and_disturbs_no_other_key() -> None:
    tries: dict[str, int] = {"bad": 0, "good": 0}

    async def work(key: str) -> None:
        tries[key] += 1
        if key == "bad" and tries[key] <= 3:
            raise ValueError(f"try {tries[key]}")

    async with running(work, workers=1) as (queue, failures):
        queue.add("bad")
        queue.add("good")
        await until(lambda: tries == {"bad": 4, "good": 1})
        queue.add("bad")
        await until(lambda: tries["bad"] == 5)
    assert [problem for _, problem, _ in failures] == ["try 1", "try 2", "try 3"]


async def test_success_forgets_the_failures_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(back_off, "wait_after_failures", lambda failures, _: counted.append(failures) or 0.0)
    outcomes = iter([False, False, True, False, True])
    done = asyncio.Event()

    async def work(_: str) -> float | None:
        if not next(outcomes):
            raise ValueError
        if len(counted) == 3:
            done.set()
            return None
        return 0.0

    async with running(work) as (queue, _), asyncio.timeout(20):
        queue.add("a")
        await done.wait()
    assert counted == [1, 2, 1]


async def test_work_asks_to_look_again() -> None:
    looks: list[str] = []

    async def work(key: str) -> float | None:
        looks.append(key)
        return 0.001 if len(looks) < 4 else None

    async with running(work) as (queue, _):
        queue.add("a")
        await until(lambda: len(looks) == 4)
        assert queue.oldest_seconds() == 0.0


async def test_earliest_of_several_delays_counts_and_a_look_makes_them_needless() -> None:
    looks: list[str] = []

    async def work(key: str) -> None:
        looks.append(key)

    async with running(work) as (queue, _):
        queue.add_after("early", 3600)
        queue.add_after("early", 0.001)
        queue.add_after("early", 3600)
        await until(lambda: looks == ["early"])
        queue.add_after("now", 0.01)
        queue.add("now")
        await until(lambda: looks == ["early", "now"])
        queue.add_after("last", 0.02)
        await until(lambda: looks[-1] == "last")
    assert looks == ["early", "now", "last"]


async def test_oldest_key_tells_how_long_the_queue_is_stuck() -> None:
    gate = asyncio.Event()

    async def work(_: str) -> None:
        await gate.wait()

    async with running(work, workers=1) as (queue, _):
        assert queue.oldest_seconds() == 0.0
        queue.add("held")
        queue.add("waits")
        await until(lambda: queue.oldest_seconds() > 0.01)
        gate.set()
        await until(lambda: queue.oldest_seconds() == 0.0)


def test_long_queue_of_slow_looks_is_at_work_and_not_stalled() -> None:
    """10,000 runs at 0.6 s a look and 20 workers: the oldest waits for five minutes, and all the time looks end."""

    async def main() -> tuple[float, float]:
        async def work(_: str) -> None:
            await asyncio.sleep(0.6)

        oldest, stalled = 0.0, 0.0
        async with running(work, workers=20) as (queue, _):
            for number in range(10_000):
                queue.add(str(number))
            while queue.depth():
                await asyncio.sleep(0.1)
                oldest, stalled = max(oldest, queue.oldest_seconds()), max(stalled, queue.stalled_seconds())
        return oldest, stalled

    oldest, stalled = in_simulated_time(main())
    assert oldest > 299
    assert stalled < 1


def test_queue_where_no_look_ends_is_stalled() -> None:
    async def main() -> list[float]:
        gate = asyncio.Event()

        async def work(_: str) -> None:
            await gate.wait()

        async with running(work, workers=1) as (queue, _):
            queue.add("held")
            queue.add("waits")
            await asyncio.sleep(400)
            seen = [queue.stalled_seconds()]
            gate.set()
            await asyncio.sleep(1)
            return [*seen, queue.stalled_seconds()]

    assert in_simulated_time(main()) == [400, 0]


@pytest.mark.parametrize(
    ("failures", "fraction", "expected"),
    [(1, 0.0, 0.25), (1, 1.0, 0.5), (2, 1.0, 1.0), (5, 1.0, 8.0), (8, 1.0, 60.0), (5000, 0.0, 30.0)],
)
def test_retry_seconds(monkeypatch: pytest.MonkeyPatch, failures: int, fraction: float, expected: float) -> None:
    monkeypatch.undo()
    assert back_off.wait_after_failures(failures, fraction) == expected
