"""A freed partition wakes the runs whose turn it is and the head of the queue, and not a thousand waiting runs."""

import dataclasses
import itertools
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest

from replica_model import OFFERED
from run_objects import ended, job, run_object, running, time
from whisper_finetune_operator.deciding import partition_steps
from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching import partition_book
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.workqueue import Workqueue

WAITING = 1000


def stored(number: int) -> Run:
    run = run_object({"model": "openai/whisper-small", "runtime": "pod16", "ipus": 4})
    metadata = {**run["metadata"], "name": f"run-{number}", "uid": f"uid-{number}", "creationTimestamp": time(number)}
    return Run.from_object({**run, "metadata": metadata})


def leases() -> list[KubernetesObject]:
    """Return the Leases of all partitions, held by runs that are at work."""
    made = []
    for place, partition in enumerate(OFFERED.inventory.members):
        lease = partition_leases.build_lease(
            stored(WAITING + place), partition.lease_name, partition.id, stored(0).created
        )
        made.append({**lease, "metadata": {**lease["metadata"], "uid": f"lease-{place}", "resourceVersion": "1"}})
    return made


class Looks:
    """Which runs were put on the queue at once, and which for soon."""

    def __init__(self) -> None:
        self.queue = Workqueue(self._work, lambda *_: None, workers=1)

    async def _work(self, _: str) -> None:
        """Do nothing."""

    def now(self) -> int:
        return self.queue.depth()

    def soon(self) -> int:
        return len(self.queue._timers)


async def test_a_partition_that_is_given_back_wakes_eleven_of_a_thousand() -> None:
    book, looks = PartitionBook(lambda run: partition_steps.queue_entry_of(run, OFFERED)), Looks()
    for lease in leases():
        book.put_lease(lease)
    for number in range(WAITING):
        book.note_run(stored(number))
    book.news()
    partition_book.enqueue_turns(book, looks.queue)
    assert (looks.now(), looks.soon()) == (0, 0)
    book.forget_lease(leases()[0])
    partition_book.enqueue_turns(book, looks.queue)
    assert (looks.now(), looks.soon()) == (1, partition_book.TOLD_SOON)
    assert list(book.queue().turns) == ["uid-0"]
    *_, last = book.queue().in_order()
    assert (last.uid, book.queue().position_of(last)) == (f"uid-{WAITING - 1}", (WAITING - 1, WAITING - 1))


def operations(work: Callable[[], object]) -> int:
    """Return how many instructions of Python it takes to do the work, without what is done in C."""
    counted = itertools.count()

    def count(frame: FrameType, event: str, _: object) -> object:
        frame.f_trace_opcodes = True
        if event == "opcode":
            next(counted)
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return next(counted)


@pytest.mark.parametrize("free", [0, 1])
def test_a_change_of_the_queue_costs_with_thousands_what_it_costs_with_a_hundred(free: int) -> None:
    costs = []
    for waiting in (100, 3_000):
        book = PartitionBook(lambda run: partition_steps.queue_entry_of(run, OFFERED), OFFERED.inventory)
        for lease in leases()[free:]:
            book.put_lease(lease)
        for number in range(waiting):
            book.note_run(stored(number))
        book.news()
        costs.append(operations(partial(work_of_an_arrival, book, stored(waiting))))
    assert costs[1] < 1.1 * costs[0]


def work_of_an_arrival(book: PartitionBook, run: Run) -> None:
    """Let one more run wait, and ask all that a pass asks of the queue."""
    book.note_run(run)
    queue = book.news()
    assert queue
    wanted = partition_steps.queue_entry_of(run, OFFERED)
    assert wanted
    assert queue.joined_by(wanted) is queue
    assert queue.position_of(wanted)[1] > 90
    assert len(list(itertools.islice(queue.behind(), partition_book.TOLD_SOON))) == partition_book.TOLD_SOON
    book.note_work(run.uid, is_at_work=True)
    book.queue()


async def test_a_run_that_leaves_the_line_lets_the_next_one_have_its_turn() -> None:
    book, looks = PartitionBook(lambda run: partition_steps.queue_entry_of(run, OFFERED)), Looks()
    for lease in leases()[1:]:
        book.put_lease(lease)
    book.note_run(stored(1))
    book.note_run(stored(2))
    partition_book.enqueue_turns(book, looks.queue)
    assert list(book.queue().turns) == ["uid-1"]
    book.forget_run("uid-1")
    partition_book.enqueue_turns(book, looks.queue)
    assert list(book.queue().turns) == ["uid-2"]
    assert looks.now() == 2


async def test_a_run_that_takes_a_partition_wakes_those_behind_it() -> None:
    book, looks = PartitionBook(lambda run: partition_steps.queue_entry_of(run, OFFERED)), Looks()
    for lease in leases()[1:]:
        book.put_lease(lease)
    book.note_run(stored(1))
    book.note_run(stored(2))
    book.news()

    async def take(_: str) -> float:
        lease = leases()[0]
        mine = partition_leases.build_lease(stored(1), lease["metadata"]["name"], "p4a", stored(1).created)
        book.put_lease({**mine, "metadata": {**mine["metadata"], "uid": "lease-0", "resourceVersion": "1"}})
        return 7.0

    assert await partition_book.work_and_enqueue(take, "uid-1", book, looks.queue) == 7.0
    assert (looks.now(), looks.soon()) == (0, 1)
    assert [run.uid for run in book.queue().behind()] == ["uid-2"]


def test_a_change_of_a_run_that_does_not_matter_to_the_line_costs_nothing() -> None:
    planned: list[str] = []
    book = PartitionBook(lambda run: planned.append(run.name))
    book.note_run(stored(1))
    before = book.queue()
    book.note_run(stored(1))
    assert planned == ["run-1"]
    assert book.queue() is before


def test_the_first_look_at_a_run_that_waits_leaves_the_line_as_it_is() -> None:
    """Or a thousand first looks would build a thousand lines."""
    book = PartitionBook(lambda run: partition_steps.queue_entry_of(run, OFFERED), OFFERED.inventory)
    book.note_run(stored(1))
    before = book.queue()
    seen = {"type": "Succeeded", "reason": "WaitingForPartition"}
    status = {"runtime": "pod16", "ipus": 4, "conditions": [seen]}
    book.note_run(dataclasses.replace(stored(1), status=status))
    assert book.queue() is before
    assert [run.uid for run in before.in_order()] == ["uid-1"]


def test_a_run_that_may_start_again_stands_in_the_line() -> None:
    book = PartitionBook(lambda run: partition_steps.queue_entry_of(run, OFFERED), OFFERED.inventory)
    shown = []
    for status in ({}, {"nextAttemptTime": time(600)}, {}):
        book.note_run(dataclasses.replace(stored(1), status=status))
        shown.append(len(list(book.queue().in_order())))
    assert shown == [1, 0, 1]


def test_a_run_with_a_workload_or_a_pod_stands_in_no_line() -> None:
    store = ObjectCache(PartitionBook(lambda run: partition_steps.queue_entry_of(run, OFFERED), OFFERED.inventory))
    store.put_run(run_object({"model": "openai/whisper-small", "runtime": "pod16", "ipus": 4}))
    shown = []
    for change in (
        lambda: store.put_workload("Job", versioned(job())),
        lambda: store.put_pod(versioned(running(3, 4))),
        lambda: store.forget_workload("Job", versioned(job())),
        lambda: store.put_pod(versioned(ended(3, 4, 50, 1), "6")),
    ):
        change()
        shown.append(len(list(store.partitions.queue().in_order())))
    assert shown == [0, 0, 0, 1]


def versioned(found: KubernetesObject, version: str = "5") -> KubernetesObject:
    spec = {"containers": [], **found.get("spec", {})}
    return {**found, "spec": spec, "metadata": {**found["metadata"], "resourceVersion": version}}
