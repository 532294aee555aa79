"""The client that creates all objects and sees all Jobs, the same for each contender."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from burst.contenders import NAMESPACE, Contender, Resource, job_of

JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CONNECTIONS = 32
TIMEOUT_SECONDS = 600
_SECONDS_TO_BE_SERVED = 20
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
#: Fields that the API server itself fills in.
_NO_STATUS: tuple[Any, ...] = (None, {}, {"observedGeneration": -1})
_OBSERVED = {"status": {"observedGeneration": 1, "conditions": [{"type": "Reconciling", "status": "True"}]}}


@dataclass
class Burst:
    """When each run was sent, and when its Job and its status were seen, in seconds of the monotonic clock.

    The key is the name of the run.
    """

    count: int
    sent: dict[str, float] = field(default_factory=dict)
    created: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, float] = field(default_factory=dict)
    #: Is set once each run has its Job and a status.
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def note_job(self, found: dict[str, Any]) -> None:
        """Note the first Job of a run. The run is the Job's owner, or has the name of the bare client's Job."""
        owners = found["metadata"].get("ownerReferences") or [found["metadata"]]
        self._note(self.jobs, owners[0]["name"])

    def note_status(self, found: dict[str, Any]) -> None:
        """Note that an operator has written the first status of a run."""
        if found.get("status") not in _NO_STATUS:
            self._note(self.statuses, found["metadata"]["name"])

    def _note(self, seen: dict[str, float], name: str) -> None:
        if name in self.sent:
            seen.setdefault(name, time.monotonic())
        if len(self.jobs) == len(self.statuses) == self.count:
            self.over.set()


def connect(kubeconfig: Path) -> aiohttp.ClientSession:
    """Return a client of the API server with the admin's token."""
    found = json.loads(kubeconfig.read_text(encoding="utf-8"))
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    return aiohttp.ClientSession(
        cluster["server"],
        connector=aiohttp.TCPConnector(limit=CONNECTIONS + 2, ssl=context),
        headers={"Authorization": f"Bearer {user['token']}"},
        timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS),
        raise_for_status=True,
        read_bufsize=2**22,
    )


async def install_definition(client: aiohttp.ClientSession, resource: Resource) -> None:
    """Create the CRD and wait until its objects are served."""
    await client.post(DEFINITIONS, data=resource.read_definition(), headers={"Content-Type": "application/yaml"})
    deadline = time.monotonic() + _SECONDS_TO_BE_SERVED
    while time.monotonic() < deadline:
        async with client.get(resource.path, raise_for_status=False) as answer:
            if answer.ok:
                return
        await asyncio.sleep(0.1)
    raise SystemExit(f"the API server did not serve {resource.plural} within {_SECONDS_TO_BE_SERVED} s")


async def run_burst(client: aiohttp.ClientSession, contender: Contender, prefix: str, count: int) -> Burst:
    """Create so many objects at once. Return when each was sent, and when its Job and its status were seen."""
    burst = Burst(count)
    async with asyncio.timeout(TIMEOUT_SECONDS), asyncio.TaskGroup() as tasks:
        watches = [
            tasks.create_task(_watch(client, path, await _version_of(client, path), note))
            for path, note in ((JOBS, burst.note_job), (contender.resource.path, burst.note_status))
        ]
        await create_objects(client, contender, prefix, burst, with_jobs=contender.prepare is None)
        await burst.over.wait()
        for watch in watches:
            watch.cancel()
    return burst


async def create_objects(
    client: aiohttp.ClientSession, contender: Contender, prefix: str, burst: Burst, *, with_jobs: bool = False
) -> None:
    """Create the objects over all connections. A connection sends the next object once the last one is answered."""
    left = iter([f"{prefix}-{index:05d}" for index in range(burst.count)])
    path = contender.resource.path

    async def create_next() -> None:
        for name in left:
            burst.sent[name] = time.monotonic()
            await client.post(path, json=contender.object_of(name))
            burst.created[name] = time.monotonic()
            if with_jobs:
                await client.post(JOBS, json=job_of(name))
                await client.patch(f"{path}/{name}/status", json=_OBSERVED, headers=_MERGE_PATCH)

    await asyncio.gather(*[create_next() for _ in range(CONNECTIONS)])


async def _version_of(client: aiohttp.ClientSession, path: str) -> str:
    async with client.get(path, params={"limit": 1}) as answer:
        found = await answer.json()
    return str(found["metadata"]["resourceVersion"])


async def _watch(
    client: aiohttp.ClientSession, path: str, version: str, note: Callable[[dict[str, Any]], None]
) -> None:
    """Note what is added and changed, until cancelled. The server ends a watch that does not keep up."""
    while True:
        async with client.get(path, params={"watch": "1", "resourceVersion": version}) as answer:
            async for line in answer.content:
                found = json.loads(line)["object"]
                version = found["metadata"]["resourceVersion"]
                note(found)
