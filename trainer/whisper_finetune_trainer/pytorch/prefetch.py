"""Prepare what comes next while the accelerator is busy with what is now, or a store with what is asked of it."""

from collections import deque
from concurrent.futures import Future
from itertools import islice
from typing import Callable, Deque, Iterable, Iterator, TypeVar

from whisper_finetune_trainer.data.files import reader_threads

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def prepared(
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared],
    threads: int,
    ahead: int,
    check_stop: Callable[[], None],
) -> Iterator[Prepared]:
    """Yield `prepare(item)` in order, up to `ahead` of them made beforehand by threads; 0 threads: made when asked.

    While a thread is waited for, `check_stop` raises where that is to end.
    """
    if threads == 0:
        yield from map(prepare, items)
        return
    source = iter(items)
    with reader_threads.pool(threads) as pool:
        waiting: Deque[Future[Prepared]] = deque(pool.submit(prepare, item) for item in islice(source, ahead))
        try:
            while waiting:
                result = reader_threads.result(waiting.popleft(), check_stop)
                waiting.extend(pool.submit(prepare, item) for item in islice(source, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
