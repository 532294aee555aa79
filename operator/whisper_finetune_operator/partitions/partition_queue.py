"""The queue of the runs that wait for a V-IPU partition: whose turn it is, and at which position the others are. Pure.

The oldest run goes first and gets the smallest free partition with enough IPUs. Where no free one is large enough for
it, younger runs pass and take what it cannot use.

Thousands may wait, and each that comes or goes changes the queue. So it consists of one line for each choice of
partitions, and a question about it costs with a thousand runs what it costs with ten.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import islice
from operator import attrgetter

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


#: Runs that wait, by their choice. Each line has the oldest first, and none is empty.
Lines = Mapping[int, tuple[QueuedRun, ...]]
since_of = attrgetter("since")


def line_up(runs: Iterable[QueuedRun]) -> Lines:
    """Return the runs in their lines."""
    lines: dict[int, list[QueuedRun]] = {}
    for run in sorted(runs, key=since_of):
        lines.setdefault(run.choice, []).append(run)
    return {choice: tuple(line) for choice, line in lines.items()}


@dataclass(frozen=True)
class PartitionQueue:
    """Everybody who waits, and the names of the Leases that somebody has."""

    lines: Lines = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    inventory: Inventory = NO_PARTITIONS
    #: Names of the Leases that nobody has and that cannot be taken all the same, with what keeps each.
    in_use: Mapping[str, str] = field(default_factory=dict)

    def joined_by(self, run: QueuedRun) -> "PartitionQueue":
        """Return the queue with the run in it, or this one where the run is in it already."""
        line = self.lines.get(run.choice, ())
        index = bisect_left(line, run.since, key=since_of)
        if index < len(line) and line[index].uid == run.uid:
            return self
        return replace(self, lines={**self.lines, run.choice: (*line[:index], run, *line[index:])})

    @cached_property
    def turns(self) -> dict[str, PoolPartition]:
        """Return the partition of each run whose turn it is, by the run's UID, oldest first."""
        taken, turns = {*self.taken, *self.in_use}, dict[str, PoolPartition]()
        free = {choice: _free(line[0].fitting, taken) for choice, line in self.lines.items()}
        heads = [(line[0].since, choice, 0) for choice, line in self.lines.items()]
        heapq.heapify(heads)
        while heads:
            _, choice, index = heapq.heappop(heads)
            partition = next(free[choice], None)
            if partition is None:
                # There is none for the others of this line either.
                continue
            line = self.lines[choice]
            turns[line[index].uid] = partition
            taken.add(partition.lease_name)
            if index + 1 < len(line):
                heapq.heappush(heads, (line[index + 1].since, choice, index + 1))
        return turns

    def in_order(self) -> Iterator[QueuedRun]:
        """Yield everybody who waits, oldest first."""
        return heapq.merge(*self.lines.values(), key=since_of)

    def behind(self) -> Iterator[QueuedRun]:
        """Yield those whose turn it is not yet, oldest first."""
        left = (islice(line, self._served[choice], None) for choice, line in self.lines.items())
        return heapq.merge(*left, key=since_of)

    def position_of(self, run: QueuedRun) -> tuple[int, int]:
        """Return the run's position, from 1, among those that wait for what it could take, and their number."""
        rivals = [choice for choice, line in self.lines.items() if line[0].lease_names & run.lease_names]
        older = (bisect_left(self.lines[choice], run.since, key=since_of) - self._served[choice] for choice in rivals)
        waiting = sum(len(self.lines[choice]) - self._served[choice] for choice in rivals)
        return sum(max(0, number) for number in older) + 1, waiting

    def kept_from(self, run: QueuedRun) -> tuple[str, ...]:
        """Return in words what keeps partitions that the run could take and that nobody has."""
        return tuple(
            f"partition {partition.id} is kept by {self.in_use[partition.lease_name]}"
            for partition in run.fitting
            if partition.lease_name in self.in_use
        )

    @cached_property
    def _served(self) -> dict[int, int]:
        """Return how many of each line have their turn. They stand at its head."""
        return {
            choice: next((index for index, run in enumerate(line) if run.uid not in self.turns), len(line))
            for choice, line in self.lines.items()
        }


def _free(fitting: tuple[PoolPartition, ...], taken: set[str]) -> Iterator[PoolPartition]:
    """Yield the partitions that are not taken at the time when they are asked for."""
    return (partition for partition in fitting if partition.lease_name not in taken)


EMPTY_QUEUE = PartitionQueue()
