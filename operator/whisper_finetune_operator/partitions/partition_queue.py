"""The queue of the runs that wait for a V-IPU partition: whose turn it is, and at which position the others are. Pure.

The oldest run goes first and gets the smallest free partition with enough IPUs. Where no free one is large enough for
it, younger runs pass and take what it cannot use.
"""

from bisect import insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from whisper_finetune_operator.partitions.pools import NO_PARTITIONS, Inventory, PoolPartition


@dataclass(frozen=True)
class QueuedRun:
    """A run without a partition."""

    uid: str
    #: Creation, then namespace and name. They give the order of the queue.
    since: tuple[datetime, str, str]
    ipus: int
    #: The partitions of its runtime with enough IPUs, the smallest first.
    fitting: tuple[PoolPartition, ...] = field(repr=False)

    @cached_property
    def choice(self) -> int:
        """Return what all runs that may take the same have in common: a pool has one tuple for each number of IPUs."""
        return id(self.fitting)

    @cached_property
    def lease_names(self) -> frozenset[str]:
        """Return the names of the Leases that it may wait for."""
        return frozenset(partition.lease_name for partition in self.fitting)


@dataclass(frozen=True)
class PartitionQueue:
    """Everybody who waits, oldest first, and the names of the Leases that somebody has."""

    waiting: tuple[QueuedRun, ...] = ()
    taken: frozenset[str] = frozenset()
    inventory: Inventory = NO_PARTITIONS
    #: Names of the Leases that nobody has and that cannot be taken all the same, with what keeps each.
    in_use: Mapping[str, str] = field(default_factory=dict)

    def joined_by(self, run: QueuedRun) -> "PartitionQueue":
        """Return the queue with the run in it, or this one where the run is in it already."""
        if run.uid in self.turns or run.uid in self._positions[0]:
            return self
        waiting = list(self.waiting)
        insort(waiting, run, key=lambda each: each.since)
        return replace(self, waiting=tuple(waiting))

    @cached_property
    def turns(self) -> dict[str, PoolPartition]:
        """Return the partition of each run whose turn it is, by the run's UID, oldest first."""
        taken, turns = {*self.taken, *self.in_use}, dict[str, PoolPartition]()
        free: dict[int, Iterator[PoolPartition]] = {}
        for run in self.waiting:
            if self.inventory.members and taken >= self.inventory.names:
                break
            if run.choice not in free:
                free[run.choice] = _free(run.fitting, taken)
            partition = next(free[run.choice], None)
            if partition:
                turns[run.uid] = partition
                taken.add(partition.lease_name)
        return turns

    @cached_property
    def behind(self) -> tuple[QueuedRun, ...]:
        """Return those whose turn it is not yet, oldest first."""
        return tuple(run for run in self.waiting if run.uid not in self.turns) if self.turns else self.waiting

    def position_of(self, uid: str) -> tuple[int, int]:
        """Return the run's position, from 1, among those that wait for what it could take, and their number."""
        positions, waiting = self._positions
        position, choice = positions[uid]
        return position, waiting[choice]

    def kept_from(self, run: QueuedRun) -> tuple[str, ...]:
        """Return in words what keeps partitions that the run could take and that nobody has."""
        return tuple(
            f"partition {partition.id} is kept by {self.in_use[partition.lease_name]}"
            for partition in run.fitting
            if partition.lease_name in self.in_use
        )

    @cached_property
    def _positions(self) -> tuple[dict[str, tuple[int, int]], dict[int, int]]:
        """Return position and choice of each run that waits, and how many wait for a partition of each choice."""
        rivals = _rivals(self.behind)
        waiting, positions = dict.fromkeys(rivals, 0), dict[str, tuple[int, int]]()
        for run in self.behind:
            for choice in rivals[run.choice]:
                waiting[choice] += 1
            positions[run.uid] = waiting[run.choice], run.choice
        return positions, waiting


def _free(fitting: tuple[PoolPartition, ...], taken: set[str]) -> Iterator[PoolPartition]:
    """Yield the partitions that are not taken at the time when they are asked for."""
    return (partition for partition in fitting if partition.lease_name not in taken)


def _rivals(runs: tuple[QueuedRun, ...]) -> dict[int, list[int]]:
    """Return for each choice all those that share a partition with it. There are few, however many runs wait."""
    names = {run.choice: run for run in runs}
    return {
        choice: [other for other, rival in names.items() if rival.lease_names & run.lease_names]
        for choice, run in names.items()
    }


EMPTY_QUEUE = PartitionQueue()
