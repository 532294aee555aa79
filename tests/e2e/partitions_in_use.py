"""Prove that no two runs use one partition at a time, by the API server's pods, from their creation to their end."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kubernetes import client

from e2e.following import following
from whisper_finetune_api import v1alpha1

PARTITION = "IPUOF_VIPU_API_PARTITION_ID"


@dataclass
class PartitionsInUse:
    """The pods that were on each partition, and the most of them at one moment."""

    pods: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    there: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    most: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, kind: str, pod: client.V1Pod) -> None:
        """A pod counts from the moment it is made until it has ended or is gone."""
        partition, uid = partition_of(pod), pod.metadata.uid
        with self.changed:
            self.pods[partition].add(uid)
            if kind == "DELETED" or pod.status.phase in ("Succeeded", "Failed"):
                self.there[partition].discard(uid)
            else:
                self.there[partition].add(uid)
            self.most[partition] = max(self.most[partition], len(self.there[partition]))
            self.changed.notify_all()

    def wait_for(self, pods: int, seconds: float) -> None:
        """Wait until so many pods have been seen on all partitions."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.count() >= pods, seconds), f"{self.count()} pods in {seconds} s"

    def count(self) -> int:
        return sum(map(len, self.pods.values()))


def partition_of(pod: client.V1Pod) -> str:
    (partition,) = [each.value for each in pod.spec.containers[0].env if each.name == PARTITION]
    return str(partition)


@contextmanager
def watching(api: client.ApiClient, namespace: str) -> Iterator[PartitionsInUse]:
    """Watch all runs' pods of a namespace for as long as the block lasts."""
    seen = PartitionsInUse()
    with following(client.CoreV1Api(api).list_namespaced_pod, namespace, v1alpha1.UID_LABEL, seen.note):
        yield seen
