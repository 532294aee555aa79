"""Which of two versions of an object is the newer one, and that what is deleted stays deleted."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from whisper_finetune_operator.workloads.children import uid_of

#: Deleted objects that are remembered, so that a late answer to an own write brings none of them back.
REMEMBERED_DELETIONS = 10_000


class ObjectVersions:
    """Remembers deletions, and says what is news."""

    def __init__(self) -> None:
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def is_news(self, read: Mapping[str, Any], known_version: str | None) -> bool:
        """Return whether an object is newer than the known version of it, or of its namesake; None: there is none."""
        if uid_of(read) in self._deleted:
            return False
        return known_version is None or int(read["metadata"]["resourceVersion"]) > int(known_version)

    def note_found(self, uid: str) -> None:
        """The server has it: what looked like its deletion was none. A watch shows the loss of a label in that way."""
        self._deleted.pop(uid, None)

    def remember_deletion(self, uid: str) -> None:
        """From now on no version of that object is news."""
        self._deleted[uid] = None
        if len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
