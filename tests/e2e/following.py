"""Follow a list of the API server in a thread, event by event, without missing one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes import watch

Note = Callable[[str, Any], None]
"""Called with the kind of an event (ADDED, MODIFIED or DELETED) and the object as it then was."""


@contextmanager
def following(list_objects: Callable[..., Any], namespace: str, label_selector: str, note: Note) -> Iterator[None]:
    """Note what happens to the namespace's objects for as long as the block lasts."""
    stop, problems = threading.Event(), list[Exception]()
    selection = {"namespace": namespace, "label_selector": label_selector}
    thread = threading.Thread(target=follow, args=(list_objects, selection, note, stop, problems))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if problems:
        raise problems[0]


def follow(
    list_objects: Callable[..., Any],
    selection: dict[str, str],
    note: Note,
    stop: threading.Event,
    problems: list[Exception],
) -> None:
    stream = watch.Watch()
    try:
        while not stop.is_set():
            # Watches of a second each, so that the thread sees `stop`; each goes on where the last one ended.
            since = {"resource_version": stream.resource_version} if stream.resource_version else {}
            for event in stream.stream(list_objects, timeout_seconds=1, **selection, **since):
                note(event["type"], event["object"])
    except Exception as problem:  # noqa: BLE001 -- it is raised again in the thread that waits
        problems.append(problem)
