"""A model of the API server, the Job controller and the kubelet. A test decides when requests arrive.

It replaces services whose timing no test can control: a leader is frozen between its last check and the sending of a
request, in thousands of histories. The real ones are used in test_partitions_apiserver.py and tests/e2e.
"""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from run_objects import DONE, time
from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.api.api_server import Resource
from whisper_finetune_operator.api.errors import ConflictError, NotFoundError
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, labels_of

Place = tuple[str, str, str]
PARTITION_ENV = "IPUOF_VIPU_API_PARTITION_ID"


def copied(sent: Any) -> Any:
    """Return what arrives of JSON that is sent; `copy.deepcopy`, which looks for cycles, takes three times as long."""
    if isinstance(sent, dict):
        return {key: copied(value) for key, value in sent.items()}
    return [copied(value) for value in sent] if isinstance(sent, list) else sent


def seeds(histories: int, *, quick: int) -> list[Any]:
    """Return the seeds of so many random histories, of which those after the first few are slow tests."""
    return [seed if seed < quick else pytest.param(seed, marks=pytest.mark.slow) for seed in range(histories)]


class Server:
    """What is so: every object by kind, namespace and name."""

    def __init__(self, chance: random.Random) -> None:
        self.objects: dict[Place, KubernetesObject] = {}
        self._chance = chance
        self._numbers = itertools.count(1)

    def of(self, plural: str) -> list[KubernetesObject]:
        return [each for (kind, _, _), each in self.objects.items() if kind == plural]

    def put(self, plural: str, body: KubernetesObject) -> KubernetesObject:
        """Create an object as it stands."""
        number = next(self._numbers)
        made = copied(body)
        new = {"uid": f"{plural}-{number}", "creationTimestamp": time(number), "generation": 1}
        made["metadata"] = {**new, **made["metadata"], "resourceVersion": str(number)}
        self.objects[plural, made["metadata"]["namespace"], made["metadata"]["name"]] = made
        return made

    def changed(self, known: KubernetesObject) -> KubernetesObject:
        known["metadata"]["resourceVersion"] = str(next(self._numbers))
        return known

    def require(self, place: Place, metadata: KubernetesObject) -> KubernetesObject:
        """Return the object if it still has the UID and version that are given."""
        known = self.objects.get(place)
        if known is None:
            raise NotFoundError(str(place))
        for field in ("uid", "resourceVersion"):
            if metadata.get(field, known["metadata"][field]) != known["metadata"][field]:
                raise ConflictError(f"{place}: another {field}")
        return known

    # the Job controller, the garbage collector and the kubelet

    def control(self) -> None:
        """Bring each Job and pod one step further."""
        for job in self.of("jobs"):
            own = [
                pod for pod in self.of("pods") if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
            ]
            if self._is_orphan(job) or "deletionTimestamp" in job["metadata"]:
                self._collect(job, own)
            elif not job["spec"].get("suspend") and "conditions" not in job["status"]:
                self.control_job(job, own)
        for pod in self.of("pods"):
            self._run(pod)

    def _is_orphan(self, job: KubernetesObject) -> bool:
        owners = {run["metadata"]["uid"] for run in self.of("whisperfinetunes")}
        return job["metadata"]["ownerReferences"][0]["uid"] not in owners

    def _collect(self, job: KubernetesObject, own: list[KubernetesObject]) -> None:
        for pod in own:
            if is_at_work(pod):
                pod["metadata"].setdefault("deletionTimestamp", time(1))
                self.changed(pod)
        if not any(map(is_at_work, own)):
            for gone in (*own, job):
                kind = "pods" if gone is not job else "jobs"
                del self.objects[kind, gone["metadata"]["namespace"], gone["metadata"]["name"]]

    def control_job(self, job: KubernetesObject, own: list[KubernetesObject]) -> None:
        job["status"].setdefault("startTime", job["metadata"]["creationTimestamp"])
        if any(pod["status"]["phase"] == "Succeeded" for pod in own):
            done = {"type": "Complete", "status": "True", "lastTransitionTime": job["metadata"]["creationTimestamp"]}
            job["status"]["conditions"] = [done]
            self.changed(job)
        elif not any(map(is_at_work, own)):
            metadata = job["metadata"]
            owner = {"kind": "Job", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
            name = f"{metadata['name']}-{next(self._numbers)}"
            place = {"name": name, "namespace": metadata["namespace"], "ownerReferences": [owner]}
            template = job["spec"]["template"]
            labels = template["metadata"]["labels"]
            body = {"metadata": {**place, "labels": labels}, "spec": template["spec"], "status": {"phase": "Pending"}}
            self.put("pods", body)

    def _run(self, pod: KubernetesObject) -> None:
        if not is_at_work(pod) or self._chance.random() < 0.6:
            return
        if pod["status"]["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
            pod["status"] = {"phase": "Running", **container({"running": {"startedAt": time(1)}})}
        else:
            code = 75 if "deletionTimestamp" in pod["metadata"] else self._chance.choice([0, 0, 75])
            says = {**DONE, "uid": pod["metadata"]["labels"][UID_LABEL]} if code == 0 else {}
            times = {"startedAt": time(1), "finishedAt": time(2)}
            terminated = {"exitCode": code, "message": json.dumps(says), **times}
            phase = "Succeeded" if code == 0 else "Failed"
            pod["status"] = {"phase": phase, **container({"terminated": terminated})}
        self.changed(pod)


def held_in_vain(server: Server, lease: KubernetesObject) -> None:
    """Let the Lease be ten minutes old in the operator's eyes, and the pod on it lack its Secret."""
    lease["spec"]["acquireTime"] = "2026-01-01T10:00:00.000000Z"
    server.changed(lease)
    for pod in server.of("pods"):
        if labels_of(pod)[UID_LABEL] == labels_of(lease).get(UID_LABEL) and pod["status"]["phase"] == "Pending":
            missing = {"reason": "CreateContainerConfigError", "message": 'secret "hub" not found'}
            pod["status"] = {"phase": "Pending", **container({"waiting": missing})}
            server.changed(pod)


def let_back_off_end(server: Server, run: KubernetesObject) -> None:
    """Let the time be over for which the run stands out of the line."""
    if "until" in run["status"].get("partitionBackOff", {}):
        run["status"]["partitionBackOff"]["until"] = "2026-01-01T10:05:00Z"
        server.changed(run)
    if "nextAttemptTime" in run["status"]:
        run["status"]["nextAttemptTime"] = "2026-01-01T10:05:00Z"
        server.changed(run)


def container(state: KubernetesObject) -> KubernetesObject:
    return {"containerStatuses": [{"name": "trainer", "state": state}]}


def is_at_work(pod: KubernetesObject) -> bool:
    return pod["status"]["phase"] not in ("Succeeded", "Failed")


def partition_of(pod: KubernetesObject) -> str:
    environment = pod["spec"]["containers"][0]["env"]
    return next(str(each["value"]) for each in environment if each["name"] == PARTITION_ENV)


def has_fields(found: KubernetesObject, selector: str) -> bool:
    """Return whether a field selector takes the object: the two that the operator uses."""
    if selector.startswith("status.phase!="):
        return is_at_work(found)
    return not selector or selector == f"metadata.name={found['metadata']['name']}"


def note_manager(metadata: KubernetesObject, manager: str) -> None:
    """Note who wrote the status, beside those who did before."""
    entry = {"manager": manager, "operation": "Apply", "subresource": "status"}
    entries = metadata.setdefault("managedFields", [])
    if entry not in entries:
        entries.append(entry)


def drop_manager(metadata: KubernetesObject, manager: str) -> None:
    """Forget a manager that applied nothing: all fields have another one by then."""
    metadata["managedFields"] = [each for each in metadata["managedFields"] if each["manager"] != manager]


class Door:
    """One replica's way to the server: the verbs of ApiServer. It can hold up a request for as long as a test likes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._held: tuple[str, str] | None = None
        self.holding = asyncio.Event()
        self.open = asyncio.Event()

    def hold(self, verb: str = "", plural: str = "") -> None:
        """Hold the next request of that kind until `open` is set; none: hold nothing."""
        self._held = (verb, plural) if verb else None

    async def _pass(self, verb: str, resource: Resource) -> None:
        if self._held == (verb, resource.plural):
            self._held = None
            self.holding.set()
            await self.open.wait()

    async def find(self, resource: Resource, namespace: str, name: str) -> KubernetesObject | None:
        await self._pass("find", resource)
        return copied(self._server.objects.get((resource.plural, namespace, name)))

    async def create(self, resource: Resource, body: KubernetesObject) -> KubernetesObject:
        await self._pass("create", resource)
        metadata = body["metadata"]
        if (resource.plural, metadata["namespace"], metadata["name"]) in self._server.objects:
            raise ConflictError("taken")
        status = {"status": {}} if resource.plural == "jobs" else {}
        return copied(self._server.put(resource.plural, {**body, **status}))

    async def replace(self, resource: Resource, body: KubernetesObject) -> KubernetesObject:
        await self._pass("replace", resource)
        metadata = body["metadata"]
        known = self._server.require((resource.plural, metadata["namespace"], metadata["name"]), metadata)
        known["spec"] = copied(body["spec"])
        return copied(self._server.changed(known))

    async def patch(self, resource: Resource, namespace: str, name: str, body: KubernetesObject) -> KubernetesObject:
        await self._pass("patch", resource)
        known = self._server.require((resource.plural, namespace, name), body["metadata"])
        known["spec"] = {**known["spec"], **body.get("spec", {})}
        for field in ("labels", "annotations"):
            merged = {**known["metadata"].get(field, {}), **body["metadata"].get(field, {})}
            known["metadata"] |= {field: merged} if merged else {}
        return copied(self._server.changed(known))

    async def all_of(self, resource: Resource, _namespace: str | None, **query: str) -> AsyncIterator[KubernetesObject]:
        await self._pass("list", resource)
        label, _, value = query.get("labelSelector", "").partition("=")
        fields = query.get("fieldSelector", "")
        for each in copied(self._server.of(resource.plural)):
            labelled = not label or (label in labels_of(each) and value in ("", labels_of(each)[label]))
            if labelled and has_fields(each, fields):
                yield each

    async def pages_of(
        self, resource: Resource, _namespace: str | None, **query: str
    ) -> AsyncIterator[tuple[str, list[KubernetesObject]]]:
        await self._pass("list", resource)
        found = [each for each in self._server.of(resource.plural) if query["labelSelector"] in labels_of(each)]
        yield "1", copied(found)

    async def ask(
        self, verb: str, resource: Resource, path: str, *, body: Any = None, **query: Any
    ) -> KubernetesObject:
        """Apply a status, or delete."""
        await self._pass(verb, resource)
        parts = path.split("/")
        namespace, name = parts[parts.index("namespaces") + 1], parts[parts.index(resource.plural) + 1]
        place = resource.plural, namespace, name
        if verb == "apply":
            known = self._server.require(place, body["metadata"])
            if "status" in body:
                known["status"] = copied(body["status"])
                note_manager(known["metadata"], query["fieldManager"])
            else:
                drop_manager(known["metadata"], query["fieldManager"])
            return copied(self._server.changed(known))
        known = self._server.require(place, body["preconditions"])
        if resource.plural == "jobs":
            known["metadata"]["deletionTimestamp"] = time(1)
            return {**copied(self._server.changed(known)), "kind": "Job"}
        del self._server.objects[place]
        return {"kind": "Status"}
