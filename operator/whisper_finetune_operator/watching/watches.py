"""kopf brings the watches, their resilience, and the end of the process when it is told to stop."""

from typing import Any

import aiohttp
import kopf
from kopf._core.engines.peering import Identity

from whisper_finetune_operator.api.api_server import PAGE
from whisper_finetune_operator.api.connection import Access
from whisper_finetune_operator.health import WatchAges
from whisper_finetune_operator.settings import Settings
from whisper_finetune_operator.watching import handlers
from whisper_finetune_operator.watching.keyed_queue import KeyedQueue
from whisper_finetune_operator.watching.store import Store

#: A watch that the server neither ended in time, nor sent anything on for so long after that, is given up.
GRACE_SECONDS = 10


async def watch(settings: Settings, access: Access, store: Store, queue: KeyedQueue, ages: WatchAges) -> None:
    """Watch until the process is told to stop; what kopf cannot mend is raised."""
    registry = kopf.OperatorRegistry()
    handlers.register(registry, store, queue, ages)
    _register_login(registry, access, ages)
    ages.expect(resource[-1] for resource in (handlers.RUNS, handlers.JOBS, handlers.PODS))
    await kopf.operator(
        registry=registry,
        settings=_kopf_settings(settings),
        standalone=True,
        # kopf's own choice looks up the user's name, which a container without an entry in passwd does not have.
        identity=Identity(settings.identity),
        clusterwide=settings.namespace is None,
        namespaces=[settings.namespace] if settings.namespace else [],
    )


def _register_login(registry: kopf.OperatorRegistry, access: Access, ages: WatchAges) -> None:
    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        # kopf asks again when the token is refused: by then the kubelet has renewed its file.
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=access.tls),
            headers=access.headers(),
            trace_configs=[_note_opened_watches(ages)],
        )
        return kopf.AiohttpSession(server=access.server, aiohttp_session=session)


def _note_opened_watches(ages: WatchAges) -> aiohttp.TraceConfig:
    """Each watch ends after its time and is opened anew: one that lives shows it even where nothing happens."""

    async def request_ended(_: Any, __: Any, request: aiohttp.TraceRequestEndParams) -> None:
        if request.url.query.get("watch") == "true" and request.response.ok:
            ages.seen(request.url.name)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(request_ended)
    return trace


def _kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    # Otherwise kopf watches CRDs and namespaces, and needs the rights to.
    chosen.scanning.disabled = True
    chosen.watching.server_timeout = settings.watch_seconds
    chosen.watching.client_timeout = settings.watch_seconds + GRACE_SECONDS
    chosen.watching.inactivity_timeout = settings.watch_seconds + GRACE_SECONDS
    chosen.watching.connect_timeout = GRACE_SECONDS
    chosen.watching.chunk_size = int(PAGE)
    for resource, selector in handlers.LABEL_SELECTORS.items():
        chosen.watching.label_selectors[resource] = selector
    chosen.networking.connect_timeout = GRACE_SECONDS
    chosen.networking.request_timeout = 45
    chosen.networking.error_backoffs = (0.5, 1, 2, 4, 8)
    chosen.networking.enforce_retry_after = True
    # kopf keeps a task for each object for so long after its last event.
    chosen.queueing.idle_timeout = 0.5
    chosen.persistence.diffbase_storage = _NoDifferences()
    chosen.persistence.progress_storage = _NoProgress()
    return chosen


class _NoDifferences(kopf.DiffBaseStorage):
    """kopf would copy every object of every event to compare it with the one before; no handler here asks for that."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing on users' objects."""


class _NoProgress(kopf.ProgressStorage):
    """No handler here has progress to keep: keys are tried again by the operator's own queue."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing on users' objects."""

    def purge(self, **_: Any) -> None:
        """Keep nothing on users' objects."""

    def touch(self, **_: Any) -> None:
        """Keep nothing on users' objects."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence
