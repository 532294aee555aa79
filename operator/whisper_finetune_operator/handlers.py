"""What the watches bring goes to the store, and the key of its run to the queue. Nothing is decided here."""

from collections.abc import Callable
from typing import Any

import kopf

from whisper_finetune_api.v1alpha1 import GROUP, PLURAL, UID_LABEL, VERSION
from whisper_finetune_operator.children import run_uid_of, uid_of
from whisper_finetune_operator.health import WatchAges
from whisper_finetune_operator.keyed_queue import KeyedQueue
from whisper_finetune_operator.store import Store
from whisper_finetune_operator.world import KubernetesObject

Selector = tuple[str, str] | tuple[str, str, str]
RUNS = (GROUP, VERSION, PLURAL)
JOBS = ("batch", "v1", "jobs")
PODS = ("v1", "pods")
#: The server sends only those that have the label, whatever its value.
LABEL_SELECTORS: dict[Selector, str] = {JOBS: UID_LABEL, PODS: UID_LABEL}


def register(registry: kopf.OperatorRegistry, store: Store, queue: KeyedQueue, ages: WatchAges) -> None:
    """Register the handlers of all watches."""
    _register(registry, RUNS, store.put_run, lambda run: store.forget_run(uid_of(run)), uid_of, queue, ages)
    _register(registry, JOBS, store.put_job, store.forget_job, run_uid_of, queue, ages)
    _register(registry, PODS, store.put_pod, store.forget_pod, run_uid_of, queue, ages)


def _register(
    registry: kopf.OperatorRegistry,
    resource: Selector,
    put: Callable[[KubernetesObject], object],
    forget: Callable[[KubernetesObject], None],
    key_of: Callable[[KubernetesObject], str],
    queue: KeyedQueue,
    ages: WatchAges,
) -> None:
    @kopf.on.event(*resource, registry=registry, id=resource[-1])
    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        ages.seen(resource[-1])
        changed_object: KubernetesObject = dict(event["object"])
        if event["type"] == "DELETED":
            forget(changed_object)
        elif not put(changed_object):
            # The answer to an own write, or a list after a break, has told it already.
            return
        queue.add(key_of(changed_object))
