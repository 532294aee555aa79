"""Which waiting runs are looked at when a partition is taken or given back: never all of them."""

from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.workqueue import KeyedQueue, Work

#: So many at the head of the line are told their new place soon; the others at the next comparison with the server.
TOLD_SOON = 10
TOLD_AFTER_SECONDS = 1.0


def wake(book: PartitionBook, queue: KeyedQueue) -> None:
    """Put those on the queue whose turn it is, and those next to them, if the line changed since the last call."""
    line = book.news()
    if line is None:
        return
    for uid in line.turns:
        queue.add(uid)
    for run in line.behind[:TOLD_SOON]:
        queue.add_after(run.uid, TOLD_AFTER_SECONDS)


async def after(work: Work, uid: str, book: PartitionBook, queue: KeyedQueue) -> float | None:
    """Do the work on a run and wake: what the operator itself wrote is no news to the watches."""
    try:
        return await work(uid)
    finally:
        wake(book, queue)
