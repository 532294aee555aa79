"""Which installation of the operator follows a run: the one that wrote its status first. Pure.

Each installation applies statuses under a field manager of its own name, so the API server keeps beside every status
who wrote it. The version that is written against lets one of two win the first write; from then on the other one reads
whose the run is. All replicas and all versions of one installation have one name.

A run that was never begun, and whose runtime the writer does not offer, has a status under nobody's name. So whoever
offers the runtime may follow it.
"""

import hashlib
from dataclasses import dataclass

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
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

    def manager_of(self, status: WhisperFineTuneStatus) -> str:
        """Return the field manager to write the status under: nobody's where another installation may serve the run."""
        return STATUS_MANAGER if is_open_to_all(status) else self.manager

    def managers_left(self, run: Run, status: WhisperFineTuneStatus) -> tuple[str, ...]:
        """Return those managers of the run that the status does not stand under once it is written."""
        left = (self._left | {self.manager}) - {self.manager_of(status)}
        return tuple(sorted(left.intersection(run.status_managers)))

    def is_opened(self, run: Run, before: WhisperFineTuneStatus) -> bool:
        """Return whether some installation has left this generation of the run to whoever offers its runtime."""
        is_current = before.observed_generation == run.generation
        return is_open_to_all(before) and is_current and self.manager not in run.status_managers

    @property
    def _left(self) -> set[str]:
        # Versions before this one all wrote under the bare name.
        return {STATUS_MANAGER, *map(_manager_of, self.taken_over)} - {self.manager}


def is_open_to_all(status: WhisperFineTuneStatus) -> bool:
    """Return whether whoever offers the run's runtime may begin it: who wrote the status does not."""
    return status.reason == "RuntimeNotFound" and not (status.attempts and status.attempts.started)


def _manager_of(name: str) -> str:
    whole = f"{STATUS_MANAGER}/{name}"
    if len(whole) <= _MANAGER_MAX_LENGTH:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{whole[: _MANAGER_MAX_LENGTH - len(digest) - 1]}-{digest}"
