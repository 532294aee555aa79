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
        #: By UID: the version that went, where a later one would mean that it is back.
        self._deleted: OrderedDict[str, int | None] = OrderedDict()

    def is_news(self, read: Mapping[str, Any], known_version: str | None) -> bool:
        """Return whether an object is newer than the known version of it, or of its namesake; None: there is none."""
        version = int(read["metadata"]["resourceVersion"])
        if uid_of(read) in self._deleted:
            gone = self._deleted[uid_of(read)]
            if gone is None or version <= gone:
                return False
            self.note_found(uid_of(read))
        return known_version is None or version > int(known_version)

    def note_found(self, uid: str) -> None:
        """The server has it: what looked like its deletion was none. A watch shows the loss of a label in that way."""
        self._deleted.pop(uid, None)

    def remember_deletion(self, uid: str, version: str | None = None) -> None:
        """From now on no version of that object is news, or none up to the one that is given.

        A watch by a label tells of its loss as of a deletion, and of an object that got it back with a later version.
        """
        self._deleted[uid] = None if version is None else int(version)
        if len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
