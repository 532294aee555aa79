"""The line of the runs that wait for a V-IPU partition: whose turn it is, and at which place the others stand. Pure.

The oldest run goes first and gets the smallest free partition with enough IPUs. A run that none of the free ones has
room for lets younger ones pass that take what it cannot use.
"""

from bisect import insort
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from whisper_finetune_operator.partitions.pools import NO_PARTITIONS, Inventory, PoolPartition


@dataclass(frozen=True)
class Waiting:
    """A run without a partition."""

    uid: str
    #: Creation, then namespace and name: the order of the line.
    since: tuple[datetime, str, str]
    ipus: int
    #: Those of its runtime with enough IPUs, the smallest first.
    fitting: tuple[PoolPartition, ...] = field(repr=False)

    @cached_property
    def lease_names(self) -> frozenset[str]:
        """Return the names of the Leases that it may wait for."""
        return frozenset(partition.lease_name for partition in self.fitting)


@dataclass(frozen=True)
class Line:
    """Everybody who waits, oldest first, and the names of the Leases that somebody holds, or that must not be taken."""

    waiting: tuple[Waiting, ...] = ()
    taken: frozenset[str] = frozenset()
    inventory: Inventory = NO_PARTITIONS

    def joined_by(self, run: Waiting) -> "Line":
        """Return the line with the run in it; the same where it stands in it already."""
        if any(each.uid == run.uid for each in self.waiting):
            return self
        waiting = list(self.waiting)
        insort(waiting, run, key=lambda each: each.since)
        return replace(self, waiting=tuple(waiting))

    @cached_property
    def turns(self) -> dict[str, PoolPartition]:
        """Return the partition of each run whose turn it is, by the run's UID, oldest first."""
        taken, turns = set(self.taken), dict[str, PoolPartition]()
        for run in self.waiting:
            free = next((partition for partition in run.fitting if partition.lease_name not in taken), None)
            if free:
                turns[run.uid] = free
                taken.add(free.lease_name)
        return turns

    @cached_property
    def behind(self) -> tuple[Waiting, ...]:
        """Return those whose turn it is not, oldest first."""
        return tuple(run for run in self.waiting if run.uid not in self.turns)

    def place_of(self, uid: str) -> tuple[int, int]:
        """Return the run's place, from 1, among those that wait for some partition that it could take, and how many."""
        run = next(each for each in self.behind if each.uid == uid)
        rivals = [each.uid for each in self.behind if each.lease_names & run.lease_names]
        return rivals.index(uid) + 1, len(rivals)


EMPTY_LINE = Line()
