"""The WhisperFineTune objects of one namespace, created and read with the official Kubernetes client alone."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from kubernetes import client

from e2e.waiting import wait_until
from specs import with_changes
from whisper_finetune_api import v1alpha1

#: A run of a few seconds with a tiny model.
TINY: dict[str, Any] = {
    "model": "pvc://speech/models/tiny",
    "language": "it",
    "dataset": {"source": "pvc://speech/tones", "maxEvalClips": 4},
    "training": {"steps": 20, "batchSize": 4, "learningRate": "1e-3", "resumeEverySeconds": 1},
    "output": {"uri": "pvc://speech/runs"},
}
#: So many steps that a test can look, act and look again while it trains.
LONG = {"training.steps": 4000}
FINISHED = ("Succeeded", "Failed")
LOG_LINES = 25
#: Far more than it takes: other tests and other runs may have the processors.
SECONDS_TO_WAIT = 240
Run = dict[str, Any]


@dataclass(frozen=True)
class Runs:
    """One namespace of a cluster, and how to find out what went wrong in it."""

    api: client.ApiClient
    namespace: str
    operator_log: Callable[[], str]

    @cached_property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    @cached_property
    def batch(self) -> client.BatchV1Api:
        return client.BatchV1Api(self.api)

    @cached_property
    def custom(self) -> client.CustomObjectsApi:
        return client.CustomObjectsApi(self.api)

    @property
    def place(self) -> tuple[str, str, str, str]:
        return (v1alpha1.GROUP, v1alpha1.VERSION, self.namespace, v1alpha1.PLURAL)

    def create(self, name: str, changes: Mapping[str, Any] | None = None) -> Run:
        """Make a tiny run with these dotted paths changed, and return the object."""
        spec = with_changes(copy.deepcopy(TINY), dict(changes or {}))
        body = {
            "apiVersion": f"{v1alpha1.GROUP}/{v1alpha1.VERSION}",
            "kind": v1alpha1.KIND,
            "metadata": {"name": name},
            "spec": spec,
        }
        made: Run = self.custom.create_namespaced_custom_object(*self.place, body, field_validation="Strict")
        return made

    def get(self, name: str) -> Run:
        found: Run = self.custom.get_namespaced_custom_object(*self.place, name)
        return found

    def all(self) -> list[Run]:
        found: list[Run] = self.custom.list_namespaced_custom_object(*self.place)["items"]
        return found

    def change(self, name: str, spec: Mapping[str, Any]) -> None:
        """Merge these fields into the run's spec."""
        self.custom.patch_namespaced_custom_object(
            *self.place, name, {"spec": dict(spec)}, _content_type="application/merge-patch+json"
        )

    def delete(self, name: str) -> None:
        self.custom.delete_namespaced_custom_object(*self.place, name)

    def delete_all(self) -> None:
        self.custom.delete_collection_namespaced_custom_object(*self.place)

    def jobs(self, uid: str) -> list[client.V1Job]:
        """The Jobs that belong to a run, by their owner."""
        everything: list[client.V1Job] = self.batch.list_namespaced_job(self.namespace).items
        return [job for job in everything if owner_of(job) == uid]

    def pods(self, uid: str) -> list[client.V1Pod]:
        """The pods of a run, oldest first, by the label that the operator's own rule of never two rests on."""
        found: list[client.V1Pod] = self.core.list_namespaced_pod(
            self.namespace, label_selector=f"{v1alpha1.UID_LABEL}={uid}"
        ).items
        return sorted(found, key=lambda pod: pod.metadata.creation_timestamp)

    def events(self, uid: str) -> list[client.CoreV1Event]:
        found: list[client.CoreV1Event] = self.core.list_namespaced_event(
            self.namespace, field_selector=f"involvedObject.uid={uid}"
        ).items
        return found

    def log(self, pod: str, lines: int | None = None) -> str:
        """The trainer's log; what the API server says instead where there is none."""
        try:
            text: str = self.core.read_namespaced_pod_log(pod, self.namespace, tail_lines=lines)
        except client.ApiException as refusal:
            return f"(no log: {refusal.status} {refusal.reason})"
        return text

    def wait(self, name: str, what: str, holds: Callable[[Run], Any], seconds: float = SECONDS_TO_WAIT) -> Run:
        """Wait for a condition of the run, but not beyond an end that was not asked for."""

        def look() -> Run | None:
            run = self.get(name)
            if holds(run):
                return run
            if state_of(run) in FINISHED:
                pytest.fail(f"{name} ended before: {what}\n{self.explain(name)}", pytrace=False)
            return None

        return wait_until(look, seconds, f"{name}: {what}", lambda: self.explain(name))

    def wait_for_state(self, name: str, state: str, seconds: float = SECONDS_TO_WAIT) -> Run:
        return self.wait(name, f"state {state}", lambda run: state_of(run) == state, seconds)

    def wait_for_reason(self, name: str, reason: str, seconds: float = SECONDS_TO_WAIT) -> Run:
        return self.wait(name, f"reason {reason}", lambda run: succeeded(run).get("reason") == reason, seconds)

    def explain(self, name: str) -> str:
        """The run's status, its pods with the ends of their logs, and the end of the operator's log."""
        try:
            run = self.get(name)
        except client.ApiException as refusal:
            return f"(no run {name}: {refusal.status} {refusal.reason})\n--- operator\n{self.operator_log()}"
        pods = "\n".join(self.explain_pod(pod) for pod in self.pods(run["metadata"]["uid"]))
        return f"--- status\n{json.dumps(run['status'], indent=1)}\n{pods}\n--- operator\n{self.operator_log()}"

    def explain_pod(self, pod: client.V1Pod) -> str:
        states = [container.state.to_dict() for container in pod.status.container_statuses or []]
        log = self.log(pod.metadata.name, LOG_LINES)
        return f"--- pod {pod.metadata.name}: {pod.status.phase} {json.dumps(states, default=str)}\n{log}"


def owner_of(item: client.V1Job | client.V1Pod) -> str | None:
    owners = [owner for owner in item.metadata.owner_references or [] if owner.controller]
    return owners[0].uid if owners else None


def uid_of(run: Run) -> str:
    uid: str = run["metadata"]["uid"]
    return uid


def state_of(run: Run) -> str | None:
    state: str | None = run.get("status", {}).get("state")
    return state


def condition(run: Run, kind: str) -> dict[str, Any]:
    """The condition of that type, empty where there is none."""
    found = [one for one in run.get("status", {}).get("conditions", []) if one["type"] == kind]
    return found[0] if found else {}


def succeeded(run: Run) -> dict[str, Any]:
    return condition(run, "Succeeded")
