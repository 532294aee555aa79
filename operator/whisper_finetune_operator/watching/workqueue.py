"""A queue of keys to work on: each key once at a time, never forgotten, tried again after a failure."""

import asyncio
import itertools
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from whisper_finetune_operator import back_off

#: A workload and its pod change several times in a row. One pass, so much later, is for all changes.
SETTLE_SECONDS = 0.1
#: So many keys that go first are taken in a row where others wait. Then one of the others is.
FIRST_IN_A_ROW = 7

#: Works on a key, and returns after how many seconds to do it again, or None. What it raises is that key's failure.
Work = Callable[[str], Awaitable[float | None]]
#: Takes a failure: the key, the error, and the seconds until the next try.
OnFailure = Callable[[str, Exception, float], None]


class Workqueue:
    """Hands keys to workers. A key that is added while it is worked on is worked on once more afterwards.

    Some keys go first. The others keep a share of the turns, so neither can keep the other waiting for ever.
    """

    def __init__(self, work: Work, on_failure: OnFailure, *, workers: int) -> None:
        self._work = work
        self._on_failure = on_failure
        self._workers = workers
        #: Has one count for each key that waits.
        self._ready = asyncio.Semaphore(0)
        #: Since when each key waits, of those that go first and of the others, and since when it is worked on.
        self._first: OrderedDict[str, float] = OrderedDict()
        self._others: OrderedDict[str, float] = OrderedDict()
        self._busy: dict[str, float] = {}
        self._first_in_a_row = 0
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._last_end = float("-inf")

    def add(self, key: str) -> None:
        """Have the key worked on as soon as a worker is free. A key that waits already is not added twice."""
        if key not in self._first:
            self._add_to(self._others, key)

    def add_first(self, key: str) -> None:
        """Have the key worked on before all that were added in the usual way, but for their share of the turns."""
        if key in self._others:
            self._first[key] = self._others.pop(key)
        else:
            self._add_to(self._first, key)

    def add_after(self, key: str, seconds: float) -> None:
        """Have the key worked on after that time at the latest. If it is worked on earlier, this is dropped."""
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if known is None or known.when() > loop.time() + seconds:
            self._drop_timer(key)
            self._timers[key] = loop.call_later(seconds, self._ring, key)

    def add_soon(self, key: str) -> None:
        """Have the key worked on as soon as its objects have had the time to settle."""
        self.add_after(key, SETTLE_SECONDS)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._serve())

    def depth(self) -> int:
        """Return how many keys wait for a worker."""
        return len(self._first) + len(self._others)

    def oldest_seconds(self) -> float:
        """Return how long the oldest key has waited or has been worked on, whichever is longer."""
        since = self._oldest()
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    def stalled_seconds(self) -> float:
        """Return for how long keys have waited or been worked on without the work on any of them ending."""
        since = self._oldest()
        return 0.0 if since is None else asyncio.get_running_loop().time() - max(since, self._last_end)

    async def _serve(self) -> None:
        while True:
            await self._ready.acquire()
            key = self._take()
            self._busy[key] = asyncio.get_running_loop().time()
            self._drop_timer(key)
            try:
                await self._work_on(key)
            finally:
                del self._busy[key]
                self._last_end = asyncio.get_running_loop().time()
            if key in self._again:
                self._again.remove(key)
                self.add(key)
            # A pass that finds nothing to do waits for nothing. Thousands in a row would hold up watches and the Lease.
            await asyncio.sleep(0)

    def _add_to(self, waiting: OrderedDict[str, float], key: str) -> None:
        if key in self._busy:
            self._again.add(key)
        elif key not in waiting:
            waiting[key] = asyncio.get_running_loop().time()
            self._ready.release()

    def _take(self) -> str:
        """Return the key whose turn it is. One waits."""
        goes_first = bool(self._first) and not (self._others and self._first_in_a_row >= FIRST_IN_A_ROW)
        self._first_in_a_row = self._first_in_a_row + 1 if goes_first else 0
        key, _ = (self._first if goes_first else self._others).popitem(last=False)
        return key

    def _oldest(self) -> float | None:
        # The others stand in the order in which they came. Those that go first may have waited among them.
        longest_of_others = itertools.islice(self._others.values(), 1)
        return min((*self._first.values(), *longest_of_others, *self._busy.values()), default=None)

    async def _work_on(self, key: str) -> None:
        try:
            again_seconds = await self._work(key)
        except Exception as problem:  # noqa: BLE001 (one run's trouble must not stop the others: it is reported, and tried again)
            self._failures[key] = self._failures.get(key, 0) + 1
            again_seconds = back_off.wait_after_failures(self._failures[key], random.random())  # noqa: S311 (it guards nothing)
            self._on_failure(key, problem, again_seconds)
        else:
            self._failures.pop(key, None)
        if again_seconds is not None:
            self.add_after(key, again_seconds)

    def _ring(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    def _drop_timer(self, key: str) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
