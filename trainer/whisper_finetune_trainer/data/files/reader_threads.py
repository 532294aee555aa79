"""Threads that read clips. Whoever is to end waits for none of them: a store may not answer for minutes."""

from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Callable, Iterator, TypeVar

#: How often it is asked whether to end.
_STOP_SECONDS = 0.5
Result = TypeVar("Result")


@contextmanager
def reader_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads. What they are at when the context ends, for whatever reason, is not waited for."""
    executor = ThreadPoolExecutor(threads)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False)


def wait_for_result(future: "Future[Result]", check_stop: Callable[[], None]) -> Result:
    """Return a future's result. While it is waited for, `check_stop` raises where that is to end."""
    while not futures.wait([future], timeout=_STOP_SECONDS).done:
        check_stop()
    return future.result()
