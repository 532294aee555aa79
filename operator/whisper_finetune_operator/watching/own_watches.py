"""The watches that are not kopf's: partitions' Leases in the operator's own namespace, and workloads of added kinds."""

from functools import partial

from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.api.api_server import LEASES, ApiServer, resource_of
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL
from whisper_finetune_operator.settings import Settings
from whisper_finetune_operator.watching import waking
from whisper_finetune_operator.watching.list_watch import Keeper, ListWatch
from whisper_finetune_operator.watching.object_cache import Store
from whisper_finetune_operator.watching.workqueue import KeyedQueue
from whisper_finetune_operator.workloads.children import run_uid_of
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind
from whisper_finetune_operator.world import KubernetesObject

#: A workload and its pod change several times in a row: one look, so much later, is for all of them.
SETTLE_SECONDS = 0.1


def of_leases(settings: Settings, namespace: str, api: ApiServer, store: Store, queue: KeyedQueue) -> ListWatch:
    """Return the watch of the Leases there, pool or no pool: runs may be on one that is no longer offered."""
    keeper = _keeper_of_leases(store, queue)
    return ListWatch(api, LEASES, namespace, PARTITION_LABEL, keeper, seconds=settings.watch_seconds)


def of_workloads(kind: WorkloadKind, settings: Settings, api: ApiServer, store: Store, queue: KeyedQueue) -> ListWatch:
    """Return the watch of an added kind: for an operator that makes some, or that made some that are left."""
    keeper = _keeper_of_workloads(kind.name, store, queue)
    return ListWatch(api, resource_of(kind), settings.namespace, UID_LABEL, keeper, seconds=settings.watch_seconds)


def _keeper_of_leases(store: Store, queue: KeyedQueue) -> Keeper:
    book = store.partitions

    def tell(lease: KubernetesObject) -> None:
        queue.add(run_uid_of(lease))
        waking.wake(book, queue)

    return Keeper(book.put_lease, book.forget_lease, book.leases, tell, partial(waking.wake, book, queue))


def _keeper_of_workloads(kind: str, store: Store, queue: KeyedQueue) -> Keeper:
    def tell(workload: KubernetesObject) -> None:
        queue.add_after(run_uid_of(workload), SETTLE_SECONDS)

    put, forget = partial(store.put_workload, kind), partial(store.forget_workload, kind)
    return Keeper(put, forget, partial(store.workloads, kind), tell, lambda: None)
