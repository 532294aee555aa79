"""Which installation of the operator follows a run: the one that wrote its status first. Pure.

Each installation applies statuses under a field manager of its own name, so the API server keeps beside every status
who wrote it. The version that is written against lets one of two win the first write; from then on the other one reads
whose the run is. All replicas and all versions of one installation have one name.
"""

import hashlib
from dataclasses import dataclass

from whisper_finetune_operator.world import STATUS_MANAGER, Run

_MANAGER_MAX_LENGTH = 128


@dataclass(frozen=True)
class Installation:
    """One installation: where its Lease lies and what that is called, which differs between any two."""

    namespace: str = "default"
    lease_name: str = "whisper-finetune-operator"
    #: NAMESPACE/LEASE of those that are gone, whose runs this one goes on with.
    taken_over: frozenset[str] = frozenset()

    @property
    def manager(self) -> str:
        """The field manager of its statuses."""
        return _manager_of(f"{self.namespace}/{self.lease_name}")

    def follower_before(self, run: Run) -> str | None:
        """Return the other installation that follows the run; None where this one does, or may begin to."""
        others = set(run.status_managers) - {self.manager} - self._left
        # Two stand there only where one was stopped while it took over: the names decide, for both alike.
        first = min(others, default=None)
        if first is None or (self.manager in run.status_managers and self.manager < first):
            return None
        return first.removeprefix(f"{STATUS_MANAGER}/")

    def managers_left(self, run: Run) -> tuple[str, ...]:
        """Return those managers of the run's status that nobody writes under any more."""
        return tuple(sorted(self._left.intersection(run.status_managers)))

    @property
    def _left(self) -> set[str]:
        # Versions before this one all wrote under the bare name.
        return {STATUS_MANAGER, *map(_manager_of, self.taken_over)} - {self.manager}


def _manager_of(name: str) -> str:
    whole = f"{STATUS_MANAGER}/{name}"
    if len(whole) <= _MANAGER_MAX_LENGTH:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{whole[: _MANAGER_MAX_LENGTH - len(digest) - 1]}-{digest}"
