"""Which installation of the operator follows a run: the one that made its first Job. The others leave it alone.

All installations give a run's Job one name, so the API server lets one of them make it, and the Job says which. That
one writes the status too, under a field manager of its own name, which counts from then on. Where a run has no Job yet,
or a workload of another kind, whoever writes the status first has it: the version that is written against lets one of
two win. All replicas and all versions of one installation have one name.
"""

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property

from whisper_finetune_api import reading
from whisper_finetune_api.v1alpha1 import GROUP, WhisperFineTuneStatus
from whisper_finetune_operator.acting.event_poster import EventPoster
from whisper_finetune_operator.deciding.status import Announcement
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, controller_of
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.runs import STATUS_MANAGER, Run

logger = logging.getLogger(__name__)

_MANAGER_MAX_LENGTH = 128
#: On each workload: the manager of the installation that made it.
INSTALLATION_ANNOTATION = f"{GROUP}/installation"
#: Of the Event on a run that another installation follows.
REASON = "FollowedByOther"


@dataclass(frozen=True)
class Installation:
    """One installation, known by the namespace and the name of its Lease. No two have the same."""

    namespace: str = "default"
    lease_name: str = "whisper-finetune-operator"
    #: NAMESPACE/LEASE of those that are gone, whose runs this one goes on with.
    taken_over: frozenset[str] = frozenset()
    #: It follows the runs of this class alone. None: those without a class.
    operator_class: str | None = None

    def serves(self, run: Run) -> bool:
        """Return whether the run is of this installation's class. All others are none of its business."""
        return bool(run.spec.get("operatorClass") == self.operator_class)

    @cached_property
    def manager(self) -> str:
        """The field manager of its statuses."""
        return _manager_of(f"{self.namespace}/{self.lease_name}")

    def follower_before(self, run: Run, maker: str | None = None) -> str | None:
        """Return the other installation that follows the run, or None where this one follows it or may begin to.

        `maker` is the manager of the installation that made the run's workload. It counts where nobody's status does.
        """
        claimants = set(run.status_managers) - self._left or ({maker} if maker else set())
        others = claimants - {self.manager} - self._left
        # There are two only where one was stopped while it took over. Then the names decide, in the same way for both.
        first = min(others, default=None)
        if first is None or (self.manager in run.status_managers and self.manager < first):
            return None
        return first.removeprefix(f"{STATUS_MANAGER}/")

    def sign_workload(self, workload: KubernetesObject) -> KubernetesObject:
        """Return the workload with the name of this installation on it."""
        metadata = workload["metadata"]
        annotations = {**metadata.get("annotations", {}), INSTALLATION_ANNOTATION: self.manager}
        return {**workload, "metadata": {**metadata, "annotations": annotations}}

    def manager_of(self, status: WhisperFineTuneStatus) -> str:
        """Return the field manager to write the status under.

        It is nobody's where another installation may serve the run.
        """
        return STATUS_MANAGER if is_open_to_all(status) else self.manager

    def managers_left(self, run: Run, status: WhisperFineTuneStatus) -> tuple[str, ...]:
        """Return the managers of the run under which nothing of the status is to remain once it is written."""
        left = (self._left | {self.manager}) - {self.manager_of(status)}
        return tuple(sorted(left.intersection(run.status_managers)))

    def is_opened(self, run: Run, before: WhisperFineTuneStatus) -> bool:
        """Return whether some installation has left this generation of the run to whoever offers its runtime."""
        is_current = before.observed_generation == run.generation
        return is_open_to_all(before) and is_current and self.manager not in run.status_managers

    @cached_property
    def _left(self) -> frozenset[str]:
        # Earlier versions all wrote under the bare name.
        return frozenset({STATUS_MANAGER, *map(_manager_of, self.taken_over)}) - {self.manager}


def is_open_to_all(status: WhisperFineTuneStatus) -> bool:
    """Return whether any installation that offers the run's runtime may begin it.

    The writer of the status offers none.
    """
    return status.reason == "RuntimeNotFound" and not (status.attempts and status.attempts.started)


def maker_of_workload(workload: KubernetesObject | None, run: Run) -> str | None:
    """Return the manager of the installation that made a workload, where it is the run's own and says so."""
    if workload is None or controller_of(workload).get("uid") != run.uid:
        return None
    return (workload["metadata"].get("annotations") or {}).get(INSTALLATION_ANNOTATION)


def _manager_of(name: str) -> str:
    whole = f"{STATUS_MANAGER}/{name}"
    if len(whole) <= _MANAGER_MAX_LENGTH:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{whole[: _MANAGER_MAX_LENGTH - len(digest) - 1]}-{digest}"


class OtherInstallations:
    """Knows the runs that other installations follow, which this one leaves alone.

    Each such installation is named once in the log, and each of its runs gets one Event.
    """

    def __init__(self, own: Installation, poster: EventPoster) -> None:
        self._own = own
        self._poster = poster
        self._known: set[str] = set()
        self._runs: dict[str, str] = {}

    def is_followed_by_other(self, run: Run, workload: KubernetesObject | None) -> bool:
        """Return whether the run is another installation's, and say so the first time where it is not by its class.

        `workload` is what has the name of the run's child, whoever owns it.
        """
        if not self._own.serves(run):
            return True
        other = self._own.follower_before(run, maker_of_workload(workload, run))
        if other is None:
            self._runs.pop(run.uid, None)
        elif "completionTime" not in run.status and self._runs.get(run.uid) != other:
            self._runs[run.uid] = other
            self._tell(run, other)
        return other is not None

    def have_said(self, run: Run, status: WhisperFineTuneStatus) -> bool:
        """Return whether a status that leaves the run to all need not be written, because one that does so is there.

        Each installation names what it offers itself, so two that both write would never end.
        """
        before = reading.read_leniently(WhisperFineTuneStatus, run.status).model
        return is_open_to_all(status) and self._own.is_opened(run, before)

    def forget(self, run_uid: str) -> None:
        self._runs.pop(run_uid, None)

    def count(self) -> int:
        """Return how many runs are left alone."""
        return len(self._runs)

    def _tell(self, run: Run, other: str) -> None:
        own = f"{self._own.namespace}/{self._own.lease_name}"
        note = f"installation {other} of the operator follows this run, so installation {own} leaves it alone"
        self._poster.post(run, Announcement("Warning", REASON, note))
        if other not in self._known:
            self._known.add(other)
            logger.warning(
                "installation %s follows runs that this one (%s) watches too, and they are left alone: let the two "
                "watch different namespaces (watchNamespace), or, if that one is gone, name it in takeOver",
                other,
                own,
                extra=about(run),
            )
