"""Which replica acts: the one whose name is in the Lease, as long as it renews the Lease in time."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from whisper_finetune_operator.api.api_server import LEASES, ApiServer
from whisper_finetune_operator.api.errors import ClusterError, RefusedError
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, render_micro_time

logger = logging.getLogger(__name__)

#: The shortest pause before a renewal that failed is tried again.
_AT_ONCE_SECONDS = 0.1


class LeaseLostError(Exception):
    """Another replica may act by now, so this one must not."""


@dataclass(frozen=True)
class LeaseTerms:
    """The Lease that the replicas share, and the name of this one."""

    namespace: str
    name: str
    identity: str
    seconds: float

    @property
    def renew_seconds(self) -> float:
        return self.seconds / 5

    @property
    def safe_seconds(self) -> float:
        """Return how long after a renewal the holder may act. That ends before another replica can start."""
        return self.seconds * 2 / 3


def holder_of(lease: KubernetesObject) -> str:
    """Return who holds the Lease, or an empty text where nobody does."""
    holder: str = lease["spec"].get("holderIdentity") or ""
    return holder


def is_lease_free(lease: KubernetesObject | None, identity: str, unchanged_seconds: float) -> bool:
    """Return whether the Lease can be taken.

    It is nobody's, or this replica's own from before a restart, or it was not renewed in time.
    """
    if lease is None or holder_of(lease) in ("", identity):
        return True
    lasts_seconds: int = lease["spec"].get("leaseDurationSeconds", 0)
    return unchanged_seconds > lasts_seconds


def taken_lease(terms: LeaseTerms, lease: KubernetesObject | None, now: datetime) -> KubernetesObject:
    """Return the Lease as it is when this replica takes or renews it."""
    spec: dict[str, Any] = dict(lease["spec"]) if lease else {}
    if lease is None or holder_of(lease) != terms.identity:
        spec["acquireTime"] = render_micro_time(now)
        spec["leaseTransitions"] = spec.get("leaseTransitions", 0) + (1 if lease else 0)
    spec |= {
        "holderIdentity": terms.identity,
        "leaseDurationSeconds": max(1, round(terms.seconds)),
        "renewTime": render_micro_time(now),
    }
    return {**_body(terms, lease), "spec": spec}


class Leadership:
    """The part of one replica in the election. It measures time by its own clock, because clocks differ.

    `api` must have connections of its own. A renewal that waits for a connection behind slow work loses the leadership.
    """

    def __init__(self, api: ApiServer, terms: LeaseTerms) -> None:
        self._api = api
        self._terms = terms
        self._lease: KubernetesObject | None = None
        self._renewed_at = float("-inf")
        self._is_late = False

    async def acquire(self) -> None:
        """Return as soon as this replica may act."""
        logger.info("waiting for Lease %s/%s as %s", self._terms.namespace, self._terms.name, self._terms.identity)
        seen_version, seen_at = "", 0.0
        while True:
            try:
                lease = await self._api.find(LEASES, self._terms.namespace, self._terms.name)
                version = lease["metadata"]["resourceVersion"] if lease else ""
                if version != seen_version:
                    seen_version, seen_at = version, _clock()
                if is_lease_free(lease, self._terms.identity, _clock() - seen_at):
                    await self._take(lease)
                    logger.info("this replica acts now")
                    return
            except (ClusterError, RefusedError) as problem:
                logger.warning("cannot take the Lease: %s", problem)
            await asyncio.sleep(self._terms.renew_seconds)

    async def keep(self) -> None:
        """Renew the Lease until cancelled. Raises LeaseLostError where that does not succeed in time."""
        while True:
            await asyncio.sleep(self._pause_seconds())
            try:
                # Half of the time that is left, so that a request that hangs leaves time for another one.
                async with asyncio.timeout(self._left_seconds() / 2):
                    await self._take(self._lease)
                self._is_late = False
            except (ClusterError, RefusedError, TimeoutError) as problem:
                self._is_late = True
                logger.warning("cannot renew the Lease: %s", str(problem) or "no answer in time")
                await self._require_holder()
            self.require()

    def require(self) -> None:
        """Raise LeaseLostError where another replica may act by now, even if this process only slept."""
        if self._left_seconds() <= 0:
            raise LeaseLostError(f"Lease {self._terms.name} was not renewed for {self._terms.safe_seconds:g} s")

    async def release(self) -> None:
        """Give the Lease back, so that another replica need not wait until it ends."""
        if self._lease is not None and self._left_seconds() > 0:
            free = {**taken_lease(self._terms, self._lease, datetime.now(UTC))}
            free["spec"] = {**free["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
            await self._api.replace(LEASES, free)

    async def _take(self, lease: KubernetesObject | None) -> None:
        began = _clock()
        wanted = taken_lease(self._terms, lease, datetime.now(UTC))
        self._lease = await (self._api.replace if lease else self._api.create)(LEASES, wanted)
        self._renewed_at = began

    async def _require_holder(self) -> None:
        """Read whose the Lease is after a failure: it may have been renewed although the answer got lost."""
        try:
            async with asyncio.timeout(self._left_seconds() / 2):
                lease = await self._api.find(LEASES, self._terms.namespace, self._terms.name)
        except (ClusterError, RefusedError, TimeoutError):
            return
        if lease is None or holder_of(lease) != self._terms.identity:
            raise LeaseLostError(f"Lease {self._terms.name} was taken by {holder_of(lease) if lease else 'nobody'}")
        self._lease = lease

    def _pause_seconds(self) -> float:
        return max(_AT_ONCE_SECONDS, self._left_seconds() / 4) if self._is_late else self._terms.renew_seconds

    def _left_seconds(self) -> float:
        return self._renewed_at + self._terms.safe_seconds - _clock()


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _body(terms: LeaseTerms, lease: KubernetesObject | None) -> KubernetesObject:
    metadata = {"name": terms.name, "namespace": terms.namespace}
    if lease:
        metadata["resourceVersion"] = lease["metadata"]["resourceVersion"]
    return {"apiVersion": LEASES.version, "kind": "Lease", "metadata": metadata}
