"""The objects of the double of the API server: stored, selected, and remembered change by change for watches."""

import itertools
import uuid
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KubernetesObject = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One event of a watch."""

    version: int
    type: str
    object: KubernetesObject


class Collection:
    """All objects of one plural name, in the order of their names, and every change of them so far."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], KubernetesObject] = {}
        self.changes: list[Change] = []

    def since(self, version: int) -> int:
        """Return the index of the first change after that version."""
        return bisect_right(self.changes, version, key=lambda change: change.version)


class StoredObjects:
    """Objects by plural, namespace and name. An object that is stored is never changed: its successor replaces it."""

    def __init__(self) -> None:
        self.version = 1000
        self._collections: defaultdict[str, Collection] = defaultdict(Collection)
        self._numbers = itertools.count(1)

    def collection(self, plural: str) -> Collection:
        return self._collections[plural]

    def find(self, plural: str, namespace: str, name: str) -> KubernetesObject | None:
        return self._collections[plural].objects.get((namespace, name))

    def get(self, plural: str, key: tuple[str, str]) -> KubernetesObject:
        """Return the object of that namespace and name. Raises KeyError where there is none."""
        return self._collections[plural].objects[key]

    def put(self, plural: str, body: Mapping[str, Any]) -> KubernetesObject:
        """Store an object in place of the one of its name, and return it with UID, version and generation."""
        self.version += 1
        fields = body["metadata"]
        new = {"uid": str(uuid.UUID(int=next(self._numbers))), "generation": 1}
        metadata = {**new, **fields, "resourceVersion": str(self.version)}
        stored = {**body, "metadata": metadata}
        collection, key = self._collections[plural], (metadata["namespace"], metadata["name"])
        event = "MODIFIED" if key in collection.objects else "ADDED"
        collection.objects[key] = stored
        collection.changes.append(Change(self.version, event, stored))
        return stored

    def change(self, plural: str, known: KubernetesObject, **parts: Any) -> KubernetesObject:
        """Store an object anew with other parts, such as its status."""
        return self.put(plural, {**known, **parts})

    def remove(self, plural: str, known: KubernetesObject) -> None:
        self.version += 1
        gone = {**known, "metadata": {**known["metadata"], "resourceVersion": str(self.version)}}
        collection = self._collections[plural]
        del collection.objects[known["metadata"]["namespace"], known["metadata"]["name"]]
        collection.changes.append(Change(self.version, "DELETED", gone))

    def forget_changes(self) -> None:
        """Forget what happened so far. A watch has to begin at the present version."""
        for collection in self._collections.values():
            collection.changes.clear()


@dataclass(frozen=True)
class Selection:
    """Which objects a list or a watch shows: by namespace (empty: all), one label, and fields."""

    namespace: str = ""
    label: str = ""
    fields: str = ""

    def takes(self, found: KubernetesObject) -> bool:
        metadata = found["metadata"]
        if self.namespace and metadata["namespace"] != self.namespace:
            return False
        return self._has_label(metadata.get("labels") or {}) and all(
            _has_field(found, each) for each in self.fields.split(",") if each
        )

    def all_in(self, collection: Collection) -> Iterator[KubernetesObject]:
        return (found for found in collection.objects.values() if self.takes(found))

    def _has_label(self, labels: Mapping[str, str]) -> bool:
        name, _, value = self.label.partition("=")
        return not name or (name in labels and value in ("", labels[name]))


def _has_field(found: KubernetesObject, wanted: str) -> bool:
    path, is_other, value = wanted.partition("!=")
    if not is_other:
        path, _, value = wanted.partition("=")
    held: Any = found
    for name in path.split("."):
        held = (held or {}).get(name)
    is_same: bool = held == value
    return is_same != bool(is_other)
