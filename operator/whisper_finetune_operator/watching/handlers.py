"""What the watches bring goes to the store, and the key of its run to the queue. Nothing is decided here."""

from collections.abc import Callable
from functools import partial
from typing import Any

import kopf

from whisper_finetune_api.v1alpha1 import GROUP, PLURAL, UID_LABEL, VERSION
from whisper_finetune_operator.observability.health import WatchAges
from whisper_finetune_operator.watching import waking
from whisper_finetune_operator.watching.object_cache import Store
from whisper_finetune_operator.watching.workqueue import KeyedQueue
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.children import run_uid_of, uid_of
from whisper_finetune_operator.world import KubernetesObject

Selector = tuple[str, str] | tuple[str, str, str]
RUNS = (GROUP, VERSION, PLURAL)
#: Of the kinds of workload that every cluster knows, by name.
WORKLOADS: dict[str, Selector] = {kind.name: (kind.group, kind.version, kind.plural) for kind in kinds.built_in()}
PODS = ("v1", "pods")
#: The server sends only those that have the label, whatever its value.
LABEL_SELECTORS: dict[Selector, str] = dict.fromkeys((*WORKLOADS.values(), PODS), UID_LABEL)


#: A Job and its pod change several times in a row: one look, so much later, is for all of them.
SETTLE_SECONDS = 0.1


def register(registry: kopf.OperatorRegistry, store: Store, queue: KeyedQueue, ages: WatchAges) -> None:
    """Register the handlers of all watches."""

    def look_soon(run_uid: str) -> None:
        queue.add_after(run_uid, SETTLE_SECONDS)

    def look_at_run(run: KubernetesObject) -> None:
        queue.add(uid_of(run))
        waking.wake(store.partitions, queue)

    _register(registry, RUNS, store.put_run, lambda run: store.forget_run(uid_of(run)), ages, look_at_run)
    for kind, resource in WORKLOADS.items():
        put, forget = partial(store.put_workload, kind), partial(store.forget_workload, kind)
        _register(registry, resource, put, forget, ages, _by(run_uid_of, look_soon))
    _register(registry, PODS, store.put_pod, store.forget_pod, ages, _by(run_uid_of, look_soon))


def _by(key_of: Callable[[KubernetesObject], str], add: Callable[[str], None]) -> Callable[[KubernetesObject], None]:
    return lambda changed: add(key_of(changed))


def _register(
    registry: kopf.OperatorRegistry,
    resource: Selector,
    put: Callable[[KubernetesObject], bool],
    forget: Callable[[KubernetesObject], None],
    ages: WatchAges,
    tell: Callable[[KubernetesObject], None],
) -> None:
    @kopf.on.event(*resource, registry=registry, id=resource[-1])
    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        ages.seen(resource[-1])
        brought: KubernetesObject = dict(event["object"])
        if event["type"] == "DELETED":
            forget(brought)
        elif not put(brought):
            # The answer to an own write, or the list before the watch, has told it already.
            return
        tell(brought)
