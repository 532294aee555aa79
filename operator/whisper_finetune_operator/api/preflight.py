"""What must hold before the operator starts. What does not gets one line that says what to do."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from whisper_finetune_api import crd, v1alpha1
from whisper_finetune_api.causes import EXIT_ACCESS, EXIT_UNAVAILABLE
from whisper_finetune_operator.api.api_server import (
    ACCESS_REVIEWS,
    CORE_EVENTS,
    EVENTS,
    LEASES,
    PODS,
    RUNS,
    ApiServer,
    Resource,
    resource_of,
)
from whisper_finetune_operator.api.errors import (
    NotFoundError,
    RefusedError,
    UnauthorizedError,
    UntrustedServerError,
    until_answered,
)
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind

logger = logging.getLogger(__name__)

_APPLY_IT = "kubectl apply --server-side -f crds/whisperfinetunes.yaml"
#: What the API server publishes follows a changed CRD after some moments.
_LOOKED_AGAIN_AFTER_SECONDS = (1.0, 2.0, 4.0)
_MOST_NAMED = 5


class StartError(Exception):
    """The operator cannot start. The text is one line for the installer, and the exit code goes with it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Right:
    """Something that the operator must be allowed to do. Without `namespace` it is meant for all of them."""

    verb: str
    resource: Resource
    namespace: str | None
    part: str = ""

    def __str__(self) -> str:
        what = f"{self.resource.plural}/{self.part}" if self.part else self.resource.plural
        return f"{self.verb} {what}" + (f" in {self.namespace}" if self.namespace else "")


def needed_rights(
    namespace: str | None,
    lease_namespace: str | None,
    partition_namespace: str,
    *,
    added: Iterable[WorkloadKind] = (),
) -> list[Right]:
    """Return all rights: in the watched namespace (None: all), to the election's Lease, and to partitions' Leases.

    What is wrong with the admin's file is said by Events about the election's Lease.

    Rights to `added` kinds of workload are needed where a runtime makes some. Those to partitions are needed without a
    pool too: runs may be at work on one that was taken out of the file.
    """
    everywhere = {
        RUNS: ("list", "watch"),
        PODS: ("list", "watch"),
        CORE_EVENTS: ("list",),
        EVENTS: ("create", "get", "patch"),
    }
    rights = [Right(verb, resource, namespace) for resource, verbs in everywhere.items() for verb in verbs]
    rights.append(Right("patch", RUNS, namespace, part="status"))
    rights += [right for kind in (*kinds.built_in(), *added) for right in _over_workloads(kind, namespace)]
    if lease_namespace:
        rights += [Right(verb, LEASES, lease_namespace) for verb in ("get", "create", "update")]
        rights += [Right(verb, EVENTS, lease_namespace) for verb in everywhere[EVENTS]]
    verbs = ("get", "list", "watch", "create", "update", "delete")
    rights += [Right(verb, LEASES, partition_namespace) for verb in verbs]
    return list(dict.fromkeys(rights))


def _over_workloads(kind: WorkloadKind, namespace: str | None) -> list[Right]:
    resource = resource_of(kind)
    return [Right(verb, resource, namespace) for verb in ("get", "list", "watch", "create", "patch", "delete")]


async def finds_workloads(api: ApiServer, kind: WorkloadKind, namespace: str | None) -> bool | None:
    """Return whether runs have workloads of that kind left, or None where the operator may not list them."""
    if not all(await asyncio.gather(*(_is_allowed(api, right) for right in _over_workloads(kind, namespace)))):
        return None
    try:
        async for _ in api.all_of(resource_of(kind), namespace, labelSelector=v1alpha1.UID_LABEL):
            return True
    except NotFoundError:
        # There is no such kind.
        return False
    return False


async def check_prerequisites(api: ApiServer, namespace: str | None, rights: Sequence[Right]) -> None:
    """Return as soon as the API server says that all is well. Raises StartError with what somebody has to correct."""
    await until_answered("asking the API server what this operator may do", lambda: _check(api, namespace, rights))


async def _check(api: ApiServer, namespace: str | None, rights: Sequence[Right]) -> None:
    try:
        allowed = await asyncio.gather(*(_is_allowed(api, right) for right in rights))
        missing = [str(right) for right, has in zip(rights, allowed, strict=True) if not has]
        if missing:
            raise StartError(f"no right to {', '.join(missing)}: install the chart's roles", EXIT_ACCESS)
        await _require_definition(api, namespace)
        await _require_fields(api)
    except UnauthorizedError as problem:
        raise StartError(
            "the API server refuses the credentials: give another token or kubeconfig", EXIT_ACCESS
        ) from problem
    except UntrustedServerError as problem:
        raise StartError(str(problem), EXIT_UNAVAILABLE) from problem


async def _is_allowed(api: ApiServer, right: Right) -> bool:
    resource = {"group": right.resource.group, "resource": right.resource.plural, "subresource": right.part}
    spec = {"resourceAttributes": {"verb": right.verb, "namespace": right.namespace or "", **resource}}
    answer = await api.create(ACCESS_REVIEWS, {"metadata": {}, "spec": spec})
    return bool(answer["status"]["allowed"])


async def _require_definition(api: ApiServer, namespace: str | None) -> None:
    try:
        async for _ in api.all_of(RUNS, namespace, limit="1"):
            break
    except NotFoundError as missing:
        raise StartError(
            f"the API server does not know the kind {v1alpha1.KIND} of {RUNS.version}: {_APPLY_IT}",
            EXIT_UNAVAILABLE,
        ) from missing


async def _require_fields(api: ApiServer) -> None:
    """Check that the CRD has every field of a status. For one that it lacks, the API server refuses the whole."""
    wanted = crd.structural_schema(v1alpha1.WhisperFineTuneStatus)
    for wait_seconds in (*_LOOKED_AGAIN_AFTER_SECONDS, None):
        try:
            lacking = list(lacking_fields(wanted, await _served_status(api)))
        except (NotFoundError, RefusedError) as unpublished:
            logger.warning("the API server does not show whether the CRD is of this version: %s", unpublished)
            return
        if not lacking:
            return
        if wait_seconds is not None:
            await asyncio.sleep(wait_seconds)
    named = ", ".join(lacking[:_MOST_NAMED])
    message = f"the CRD is older than this operator, and its status lacks {named}: {_APPLY_IT}"
    raise StartError(message, EXIT_UNAVAILABLE)


async def _served_status(api: ApiServer) -> dict[str, Any]:
    published = await api.ask("get", RUNS, f"/openapi/v3/apis/{RUNS.version}")
    schemas = published.get("components", {}).get("schemas", {}).values()
    kinds = "x-kubernetes-group-version-kind"
    runs = (each for each in schemas if any(kind["kind"] == v1alpha1.KIND for kind in each.get(kinds, ())))
    found: dict[str, Any] = next(runs, {"properties": {}})
    status: dict[str, Any] = found["properties"].get("status", {})
    return status


def lacking_fields(wanted: dict[str, Any], served: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield each field, and each value of an enum, that a served schema does not have."""
    words = served.get("enum")
    yield from (f"{path}={word}" for word in wanted.get("enum", ()) if words is not None and word not in words)
    for name, field in wanted.get("properties", {}).items():
        inner = f"{path}.{name}" if path else name
        known = served.get("properties", {}).get(name)
        yield from [inner] if known is None else lacking_fields(field, known, inner)
    if "items" in wanted and "items" in served:
        yield from lacking_fields(wanted["items"], served["items"], f"{path}[]")
