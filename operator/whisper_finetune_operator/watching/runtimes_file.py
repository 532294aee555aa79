"""The admin's file, read again while the operator works: a good one counts from then on, a bad one changes nothing."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.planning.runtimes import Runtimes, RuntimesError, load_runtimes
from whisper_finetune_operator.workloads import kinds

logger = logging.getLogger(__name__)


class RuntimesFile:
    """What counts of the admin's file. `tell_refused` gets why a file is not taken, once for each reason."""

    def __init__(self, path: Path, first: Runtimes, metrics: Metrics, tell_refused: Callable[[str], None]) -> None:
        self._path = path
        self._first = self._current = first
        self._tell_refused = tell_refused
        self._refused = ""
        metrics.watch("wft_runtimes_file_valid", lambda: 0 if self._refused else 1)

    def current(self) -> Runtimes:
        """Return the runtimes that count now."""
        return self._current

    async def run(self, every_seconds: float, use: Callable[[], None]) -> None:
        """Read again and again until cancelled. `use` is called when other runtimes count."""
        while True:
            if self.read_again():
                use()
            await asyncio.sleep(every_seconds)

    def read_again(self) -> bool:
        """Read the file. Return whether other runtimes count now."""
        try:
            found = load_runtimes(self._path)
            self._require_watched_kinds(found)
        except RuntimesError as problem:
            self._refuse(str(problem))
            return False
        self._refused = ""
        if found == self._current:
            return False
        self._current = found
        logger.info("the runtimes file has changed, and counts: %s", ", ".join(each.name for each in found.runtimes))
        return True

    def _require_watched_kinds(self, found: Runtimes) -> None:
        """Raise RuntimesError where runs would become workloads that are not watched.

        Rights to them, and whether the cluster has them, are checked at the start alone.
        """
        for kind in kinds.added():
            if found.make(kind) and not self._first.make(kind):
                raise RuntimesError(
                    f"runtimes file {self._path}: no runtime made {kind.name}s when the operator started, so it does "
                    "not watch them; restart it to take this file"
                )

    def _refuse(self, why: str) -> None:
        if why != self._refused:
            logger.error("the runtimes file is refused, and the earlier one still counts: %s", why)
            self._tell_refused(why)
        self._refused = why
