"""Other installations that follow runs in sight of this one: their runs are left alone, and that is said once."""

import logging

from whisper_finetune_api import reading
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.acting.event_poster import EventPoster
from whisper_finetune_operator.acting.installations import Installation, is_open_to_all
from whisper_finetune_operator.deciding.announcements import Announcement
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.world import Run

logger = logging.getLogger(__name__)

REASON = "FollowedByOther"


class Neighbours:
    """Remembers whom it told of: an installation once, and each of its runs once, by an Event."""

    def __init__(self, own: Installation, poster: EventPoster) -> None:
        self._own = own
        self._poster = poster
        self._known: set[str] = set()
        self._runs: dict[str, str] = {}

    def is_followed_by_other(self, run: Run) -> bool:
        """Return whether the run is another installation's; the first time, say so."""
        other = self._own.follower_before(run)
        if other is None:
            self._runs.pop(run.uid, None)
        elif "completionTime" not in run.status and self._runs.get(run.uid) != other:
            self._runs[run.uid] = other
            self._tell(run, other)
        return other is not None

    def have_said(self, run: Run, status: WhisperFineTuneStatus) -> bool:
        """Return whether a status that leaves the run to all need not be written: one that does so stands there.

        Each names what it offers itself, so two that both write would never end.
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
