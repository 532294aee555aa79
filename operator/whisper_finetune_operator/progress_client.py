"""Ask running trainers how far they are. What a trainer answers is checked before anything else sees it."""

import asyncio
import logging
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from pydantic import ValidationError

from whisper_finetune_api.run import PROGRESS_PATH, TrainerReport
from whisper_finetune_operator.metrics import Metrics
from whisper_finetune_operator.watching.keyed_queue import KeyedQueue
from whisper_finetune_operator.watching.store import Store
from whisper_finetune_operator.workloads.children import trainer_settings_of
from whisper_finetune_operator.world import KubernetesObject

logger = logging.getLogger(__name__)

ANSWER_MAX_BYTES = 64 * 1024


class RefusedAnswerError(Exception):
    """The answer of a trainer cannot be used; `cause` is the metric's label."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class Trainer:
    """A running trainer's pod, and where it answers."""

    run_uid: str
    pod_uid: str
    pod_name: str
    url: str


def trainer_of(run_uid: str, pod: KubernetesObject) -> Trainer | None:
    """Return the trainer in the pod; None where none answers: not running, without an address, or without a port."""
    status = pod["status"]
    port = trainer_settings_of(pod).progress_port
    if status.get("phase") != "Running" or not status.get("podIP") or not port:
        return None
    address = f"[{status['podIP']}]" if ":" in status["podIP"] else status["podIP"]
    metadata = pod["metadata"]
    return Trainer(run_uid, metadata["uid"], metadata["name"], f"http://{address}:{port}{PROGRESS_PATH}")


def read_report(answer: bytes, run_uid: str) -> TrainerReport:
    """Return the report; RefusedAnswerError where it is malformed or another run's."""
    try:
        report = TrainerReport.model_validate_json(answer)
    except ValidationError as problem:
        raise RefusedAnswerError("malformed", f"{problem.error_count()} fields are not as they must be") from problem
    if report.uid != run_uid:
        raise RefusedAnswerError("foreign", "it is another run's: the address has a new owner")
    return report


class ProgressClient:
    """Asks every running trainer in turn, so many at once, and brings what changed to the queue."""

    def __init__(
        self,
        store: Store,
        queue: KeyedQueue,
        metrics: Metrics,
        *,
        every_seconds: float,
        timeout_seconds: float,
        parallel: int,
    ) -> None:
        self._store = store
        self._queue = queue
        self._refused = metrics.progress_refused
        self._every_seconds = every_seconds
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._parallel = parallel

    async def run(self) -> None:
        """Ask until cancelled."""
        async with self.session() as session:
            while True:
                await asyncio.sleep(self._every_seconds)
                await self.ask_all(session)

    def session(self) -> aiohttp.ClientSession:
        """Return what pods are asked through: each answer ends its connection, and none may take long."""
        connector = aiohttp.TCPConnector(limit=self._parallel, force_close=True)
        return aiohttp.ClientSession(connector=connector, timeout=self._timeout)

    async def ask_all(self, session: aiohttp.ClientSession) -> None:
        """Ask every running trainer once."""
        trainers = [trainer for run_uid, pod in self._store.attempts() if (trainer := trainer_of(run_uid, pod))]
        free = asyncio.Semaphore(self._parallel)

        async def ask(trainer: Trainer) -> None:
            async with free:
                await self._ask(session, trainer)

        await asyncio.gather(*(ask(trainer) for trainer in trainers))

    async def _ask(self, session: aiohttp.ClientSession, trainer: Trainer) -> None:
        try:
            report = read_report(await _answer(session, trainer.url), trainer.run_uid)
        except RefusedAnswerError as problem:
            self._refused.labels(problem.cause).inc()
            # A trainer that has only just started does not listen yet.
            level = logging.DEBUG if problem.cause == "unreachable" else logging.WARNING
            logger.log(level, "no progress from pod %s: %s", trainer.pod_name, problem, extra={"uid": trainer.run_uid})
            return
        self._store.keep_report(trainer.run_uid, trainer.pod_uid, report)
        self._queue.add(trainer.run_uid)


async def _answer(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return the body; a redirect is refused, because it could lead anywhere in the cluster's network."""
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise RefusedAnswerError("status", f"HTTP status {response.status}")
            body = await _limited(response.content)
    except (aiohttp.ClientError, OSError, TimeoutError) as problem:
        raise RefusedAnswerError("unreachable", str(problem) or type(problem).__name__) from problem
    return body


async def _limited(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for part in content.iter_any():
        body += part
        if len(body) > ANSWER_MAX_BYTES:
            raise RefusedAnswerError("malformed", f"longer than {ANSWER_MAX_BYTES} bytes")
    return bytes(body)
