"""What the object cache keeps of an object, and which of two versions is newer. A deleted object stays deleted."""

import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from whisper_finetune_api.run import CONFIG_ENV
from whisper_finetune_api.v1alpha1 import GROUP
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, uid_of
from whisper_finetune_operator.workloads.children import has_ended

#: Deleted objects that are remembered, so that a late answer to an own write brings none of them back.
REMEMBERED_DELETIONS = 10_000

#: Longer texts are hardly ever the same in two objects.
SHORT_TEXT = 64


class ObjectVersions:
    """Knows which objects were deleted, and which version of an object is news."""

    def __init__(self) -> None:
        #: By UID. A value is the last version before the deletion: a later one means that the object is back.
        self._deleted: OrderedDict[str, int | None] = OrderedDict()

    def is_news(self, read: Mapping[str, Any], known_version: str | None) -> bool:
        """Return whether an object is newer than the known version of the same name. None: there is no known one."""
        version = int(read["metadata"]["resourceVersion"])
        if uid_of(read) in self._deleted:
            gone = self._deleted[uid_of(read)]
            if gone is None or version <= gone:
                return False
            self.note_found(uid_of(read))
        return known_version is None or version > int(known_version)

    def note_found(self, uid: str) -> None:
        """Note that the server has the object: what a watch showed as its deletion was the loss of its label."""
        self._deleted.pop(uid, None)

    def remember_deletion(self, uid: str, version: str | None = None) -> None:
        """Let no version of the object be news from now on, or none up to the given one.

        A watch by a label shows the loss of the label as a deletion. An object that gets it back has a later version.
        """
        self._deleted[uid] = None if version is None else int(version)
        if len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)


def interned(value: Any) -> Any:
    """Return a copy of JSON that shares keys and short texts with all other objects: these are most of what is kept."""
    kind = type(value)
    if kind is str:
        return sys.intern(value) if len(value) <= SHORT_TEXT else value
    if kind is dict:
        return {sys.intern(key): interned(each) for key, each in value.items()}
    if kind is list:
        return [interned(each) for each in value]
    return value


def slim_run(run: Mapping[str, Any]) -> KubernetesObject:
    """Return the run without the record of who changed which field when. Who wrote the status stays."""
    entries = run["metadata"].get("managedFields") or ()
    managers = [
        {"manager": entry.get("manager", ""), "subresource": "status"}
        for entry in entries
        if entry.get("subresource") == "status"
    ]
    metadata = {**_slim_metadata(run), "managedFields": managers}
    slim = {"metadata": metadata, "spec": run.get("spec") or {}, "status": run.get("status") or {}}
    kept: KubernetesObject = interned(slim)
    return kept


def slim_workload(kind: str, workload: Mapping[str, Any]) -> KubernetesObject:
    """Return the workload without what no decision reads, because thousands of them stay in memory."""
    spec = {key: value for key, value in workload["spec"].items() if not isinstance(value, dict | list)}
    status = workload.get("status") or {}
    kept: KubernetesObject = interned(
        {"kind": kind, "metadata": _slim_metadata(workload), "spec": spec, "status": status}
    )
    return kept


def slim_pod(pod: Mapping[str, Any]) -> KubernetesObject:
    """Return the pod with its status and node and, while it may run, its trainer's configuration."""
    status, node = pod.get("status") or {}, pod["spec"].get("nodeName")
    containers = [] if has_ended(pod) else [_slim_container(container) for container in pod["spec"]["containers"]]
    spec = {"containers": containers, **({"nodeName": node} if node else {})}
    kept: KubernetesObject = interned({"metadata": _slim_metadata(pod), "spec": spec, "status": status})
    return kept


def _slim_container(container: Mapping[str, Any]) -> KubernetesObject:
    configuration = [variable for variable in container.get("env") or () if variable["name"] == CONFIG_ENV]
    return {"name": container["name"], "env": configuration}


def _slim_metadata(child: Mapping[str, Any]) -> KubernetesObject:
    slim = {key: value for key, value in child["metadata"].items() if key not in ("managedFields", "annotations")}
    annotations = child["metadata"].get("annotations") or {}
    own = {key: value for key, value in annotations.items() if key.startswith(f"{GROUP}/")}
    return {**slim, "annotations": own} if own else slim
