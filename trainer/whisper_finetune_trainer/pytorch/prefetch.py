"""Prepare what comes next while the accelerator is busy with what is now."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Callable, Deque, Iterable, Iterator, TypeVar

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def prepared(
    items: Iterable[Item], prepare: Callable[[Item], Prepared], threads: int, ahead: int
) -> Iterator[Prepared]:
    """Yield `prepare(item)` in order, up to `ahead` of them made beforehand by threads; 0 threads: made when asked."""
    if threads == 0:
        yield from map(prepare, items)
        return
    source = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting: Deque[Future[Prepared]] = deque(pool.submit(prepare, item) for item in islice(source, ahead))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(prepare, item) for item in islice(source, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
