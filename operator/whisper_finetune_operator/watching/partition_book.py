"""Who has which V-IPU partition and who waits for one, by the watches and by the operator's own writes."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_queue import EMPTY_QUEUE, Lines, PartitionQueue, QueuedRun, since_of
from whisper_finetune_operator.partitions.pools import NO_PARTITIONS, Inventory, PartitionUse
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching.cached_objects import ObjectVersions
from whisper_finetune_operator.watching.workqueue import Work, Workqueue

#: So many at the head of the queue are told their new position soon, and the others at the next resync.
TOLD_SOON = 10
TOLD_AFTER_SECONDS = 1.0
#: The parts of a run that decide whether it waits, so that its other changes cost nothing.
_Standing = tuple[object, ...]


class _Lines:
    """Those who wait, in their lines.

    Each change of a burst makes a queue. So a line is kept in order, and copied only where it has changed.
    """

    def __init__(self) -> None:
        self._by_uid: dict[str, QueuedRun] = {}
        self._lines: defaultdict[int, list[QueuedRun]] = defaultdict(list)
        self._copies: dict[int, tuple[QueuedRun, ...]] = {}

    def put(self, uid: str, wanted: QueuedRun | None) -> bool:
        """Let the run wait for what it wants. None: let it wait no longer. Return whether that is a change."""
        known = self._by_uid.pop(uid, None)
        if wanted and wanted == known:
            self._by_uid[uid] = known
            return False
        if known:
            line = self._changing(known)
            del line[line.index(known, bisect_left(line, known.since, key=since_of))]
        if wanted:
            self._by_uid[uid] = wanted
            insort(self._changing(wanted), wanted, key=since_of)
        return known != wanted

    def copy(self) -> Lines:
        """Return the lines as they are now."""
        changed = {choice: tuple(line) for choice, line in self._lines.items() if line and choice not in self._copies}
        self._copies |= changed
        return dict(self._copies)

    def _changing(self, run: QueuedRun) -> list[QueuedRun]:
        self._copies.pop(run.choice, None)
        return self._lines[run.choice]


class PartitionBook:
    """Leases by name, and the queue of the runs that have none."""

    def __init__(self, need_of: Callable[[Run], QueuedRun | None], inventory: Inventory = NO_PARTITIONS) -> None:
        self._need_of = need_of
        self._inventory = inventory
        self._leases: dict[str, KubernetesObject] = {}
        self._holders: dict[str, str] = {}
        self._needs: dict[str, tuple[_Standing, QueuedRun | None]] = {}
        self._lines = _Lines()
        #: What keeps partitions that have no Lease in sight: somebody's pod, or somebody's Lease without the label.
        self._in_use: dict[str, str] = {}
        #: Runs with a workload or a pod. They take no partition now, and must not keep others from one.
        self._at_work: set[str] = set()
        self._versions = ObjectVersions()
        self._queue: PartitionQueue | None = None
        self._told: PartitionQueue = EMPTY_QUEUE

    def offer(self, inventory: Inventory, runs: Iterable[Run]) -> None:
        """Let there be these partitions from now on. All runs line up anew, each with the position that it had."""
        self._inventory = inventory
        self._needs.clear()
        self._queue = None
        for run in runs:
            self.note_run(run)

    def queue(self) -> PartitionQueue:
        """Return the queue of all runs that wait. It is the same object as long as nothing changed."""
        if self._queue is None:
            kept = (self._inventory.kept_by(name) for name in self._leases)
            taken = frozenset[str]().union(*kept)
            self._queue = PartitionQueue(self._lines.copy(), taken, self._inventory, dict(self._in_use))
        return self._queue

    def news(self) -> PartitionQueue | None:
        """Return the queue if it changed since this was asked last."""
        queue = self.queue()
        if queue is self._told or queue == self._told:
            return None
        self._told = queue
        return queue

    def lease(self, name: str) -> KubernetesObject | None:
        return self._leases.get(name)

    def leases(self) -> Iterator[KubernetesObject]:
        """Yield every Lease. The book must not change meanwhile."""
        return iter(self._leases.values())

    def leases_of(self, run_uid: str) -> tuple[KubernetesObject, ...]:
        """Return the Leases of a run. A Lease without a run is somebody's way to keep a partition to himself."""
        return tuple(self._leases[name] for name, holder in self._holders.items() if run_uid and holder == run_uid)

    def put_lease(self, lease: Mapping[str, Any]) -> bool:
        """Keep the Lease, and return whether it is news."""
        name: str = lease["metadata"]["name"]
        known = self._leases.get(name)
        if not self._versions.is_news(lease, known["metadata"]["resourceVersion"] if known else None):
            return False
        self._leases[name] = dict(lease)
        self._set_holder(name, partition_leases.read_lease(dict(lease)).run_uid)
        self._in_use.pop(name, None)
        return True

    def forget_lease(self, lease: Mapping[str, Any]) -> None:
        metadata = lease["metadata"]
        self._versions.remember_deletion(metadata["uid"])
        known = self._leases.get(metadata["name"])
        if known is not None and known["metadata"]["uid"] == metadata["uid"]:
            del self._leases[metadata["name"]]
            self._set_holder(metadata["name"], None)

    def note_run(self, run: Run) -> None:
        """Let the run wait in the queue, or not, as it is now."""
        status = run.status
        pinned = (
            status.get("runtime"),
            status.get("ipus"),
            status.get("partitionBackOff"),
            status.get("nextAttemptTime"),
        )
        reasons = tuple(
            each.get("reason") for each in status.get("conditions") or () if each.get("type") == "Succeeded"
        )
        at = run.generation, run.deletion, "completionTime" in status, run.status_managers
        standing: _Standing = (*at, *pinned, reasons)
        known, _ = self._needs.get(run.uid, (None, None))
        if known != standing:
            self._needs[run.uid] = standing, self._need_of(run)
            self._line_up(run.uid)

    def note_work(self, run_uid: str, *, is_at_work: bool) -> None:
        """Note whether the run has a workload or a pod that may be running, with a partition or without."""
        if is_at_work != (run_uid in self._at_work):
            (self._at_work.add if is_at_work else self._at_work.discard)(run_uid)
            self._line_up(run_uid)

    def forget_run(self, uid: str) -> None:
        self._needs.pop(uid, None)
        self._line_up(uid)

    def _set_holder(self, lease_name: str, run_uid: str | None) -> None:
        """Note which run has the Lease. Empty: no run has it. None: the Lease is gone."""
        before = self._holders.pop(lease_name, "")
        if run_uid is not None:
            self._holders[lease_name] = run_uid
        self._queue = None
        self._line_up(before)
        self._line_up(run_uid or "")

    def _line_up(self, uid: str) -> None:
        """Let the run stand in its line where it wants a partition, has none, and has no workload or pod."""
        _, need = self._needs.get(uid, (None, None))
        wanted = None if uid in self._at_work or uid in self._holders.values() else need
        if self._lines.put(uid, wanted):
            self._queue = None

    def note_in_use(self, lease_name: str, by: str) -> None:
        """Count the partition as taken although nobody has its Lease, until `forget_in_use`. `by` is for people."""
        self._in_use[lease_name] = by
        self._queue = None

    def uses(self) -> Iterator[tuple[int, PartitionUse]]:
        """Yield the IPUs and the use of each partition of the pools, once."""
        holders = {kept: run for lease, run in self._holders.items() for kept in self._inventory.kept_by(lease)}
        ipus = {partition.lease_name: partition.ipus for partition in self._inventory.members}
        return ((ipus[name], self._use_of(name, holders.get(name))) for name in ipus)

    def _use_of(self, lease_name: str, holder: str | None) -> PartitionUse:
        if holder is None:
            return "kept" if lease_name in self._in_use else "free"
        return "held" if holder in self._at_work else "idle" if holder else "reserved"

    def in_use(self) -> Mapping[str, str]:
        """Return what keeps partitions that nobody has the Lease of, by the Lease's name."""
        return self._in_use

    def forget_in_use(self) -> None:
        """Count these partitions as free again, because what kept them may be gone."""
        if self._in_use:
            self._in_use.clear()
            self._queue = None


def enqueue_turns(book: PartitionBook, queue: Workqueue) -> None:
    """Enqueue the runs whose turn it is, and those next to them, if their queue changed since the last call."""
    waiting = book.news()
    if waiting is None:
        return
    for uid in waiting.turns:
        queue.add(uid)
    for run in islice(waiting.behind(), TOLD_SOON):
        queue.add_after(run.uid, TOLD_AFTER_SECONDS)


async def work_and_enqueue(work: Work, uid: str, book: PartitionBook, queue: Workqueue) -> float | None:
    """Do the work on a run, then enqueue those whose turn it is.

    Watches do not show the operator's own writes as news.
    """
    try:
        return await work(uid)
    finally:
        enqueue_turns(book, queue)
