"""Ask running trainers how far they are: whom and when, and what of an answer is believed.

Silent pods are asked ever more seldom, and no namespace is served at the others' expense. A pod is somebody else's
program: its answer is one bounded GET, of so many bytes in all, of whatever kind, within so many seconds. It is checked
before anything else sees it.
"""

import asyncio
import logging
import random
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

import h11

from whisper_finetune_api.reading import Reading
from whisper_finetune_api.run import PROGRESS_PATH, TrainerReport
from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.workqueue import Workqueue
from whisper_finetune_operator.workloads import pods
from whisper_finetune_operator.workloads.children import trainer_has_ended, trainer_settings_of
from whisper_finetune_operator.world import Silence

logger = logging.getLogger(__name__)

#: A trainer that has been silent for so long is not just starting any more. Somebody should find out why.
WARNED_AFTER_SECONDS = 180.0
_NAMED_CHARACTERS = 200
#: So many failures are normal for a trainer that has just started: its libraries take their time to load.
PATIENT_FAILURES = 3
#: The longest time between two questions to a pod that stays silent.
LAST_WAIT_SECONDS = 300.0
#: An answer that was costly to read counts as so many failures: its pod waits longest from the first time on.
MANY = 16
BODY_MAX_BYTES = 64 * 1024
#: Bounds everything before the body: interim answers and headers.
_HEAD_MAX_BYTES = 16 * 1024
_PART_BYTES = 16 * 1024


@dataclass(frozen=True)
class Trainer:
    """A running trainer's pod, and where it answers."""

    run_uid: str
    pod_uid: str
    pod_name: str
    namespace: str
    host: str
    port: int


class RefusedAnswerError(Exception):
    """The answer of a trainer cannot be used. `cause` is the metric's label."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def trainer_of(run_uid: str, pod: KubernetesObject) -> Trainer | None:
    """Return the trainer in the pod, or None where none can answer: it does not run, or has no address or no port."""
    status = pod["status"]
    if status.get("phase") != "Running" or not status.get("podIP") or trainer_has_ended(pod):
        return None
    port = trainer_settings_of(pod).progress_port
    if not port:
        return None
    metadata = pod["metadata"]
    return Trainer(run_uid, metadata["uid"], metadata["name"], metadata["namespace"], status["podIP"], port)


def read_answer(answer: bytes, run_uid: str) -> Reading[TrainerReport]:
    """Return what is understood of the report. Raises RefusedAnswerError where that is nothing, or another run's."""
    try:
        found = pods.read_report(answer)
    except ValueError as problem:
        raise RefusedAnswerError("malformed", " ".join(str(problem).split())[:_NAMED_CHARACTERS]) from problem
    if found.model.uid != run_uid:
        raise RefusedAnswerError("foreign", "it is another run's: the address has a new owner")
    return found


@dataclass(frozen=True)
class _Asked:
    failures: int
    next_at: float


#: By namespace and then by the pod's UID, both in the order of their turns.
_Waiting = OrderedDict[str, OrderedDict[str, Trainer]]
_NEVER = _Asked(0, float("-inf"))


class ProgressTurns:
    """Knows whom to ask next. Trainers whose time has come wait by namespace. Times are seconds of any one clock."""

    def __init__(self, *, every_seconds: float, parallel: int) -> None:
        self._every_seconds = every_seconds
        self._parallel = parallel
        #: One namespace alone leaves some turns free for the first trainer of another.
        self._most_of_one = max(1, parallel - parallel // 4)
        self._asked: dict[str, _Asked] = {}
        self._waiting: _Waiting = OrderedDict()
        self._busy: dict[str, Trainer] = {}

    def note_running(self, trainers: Iterable[Trainer], now: float) -> None:
        """Add the trainers whose time has come, and forget those that are not in the list any more."""
        running = {trainer.pod_uid: trainer for trainer in trainers}
        self._asked = {uid: asked for uid, asked in self._asked.items() if uid in running}
        waiting: OrderedDict[str, OrderedDict[str, Trainer]] = OrderedDict(
            (name, OrderedDict()) for name in self._waiting
        )
        # A trainer that waits already keeps its position.
        known = [uid for trainers_there in self._waiting.values() for uid in trainers_there if uid in running]
        due = (uid for uid in running if uid not in self._busy and self._asked.get(uid, _NEVER).next_at <= now)
        for uid in dict.fromkeys((*known, *due)):
            waiting.setdefault(running[uid].namespace, OrderedDict())[uid] = running[uid]
        self._waiting = OrderedDict((name, there) for name, there in waiting.items() if there)

    def take(self) -> Trainer | None:
        """Return who is asked next, of the namespace with the fewest being asked. None: nobody for now."""
        at_once = Counter(trainer.namespace for trainer in self._busy.values())
        open_to = [name for name in self._waiting if at_once[name] < self._most_of_one]
        if not open_to or len(self._busy) >= self._parallel:
            return None
        # Among equals the first one, because each namespace that was served goes behind the others.
        name = min(open_to, key=lambda each: at_once[each])
        there = self._waiting.pop(name)
        uid, trainer = there.popitem(last=False)
        if there:
            self._waiting[name] = there
        self._busy[uid] = trainer
        return trainer

    def done(self, trainer: Trainer, now: float, *, faults: int, fraction: float) -> None:
        """Note what came of asking.

        `faults` is 0 for a good answer. `fraction` in [0, 1) spreads those that fail together.
        """
        del self._busy[trainer.pod_uid]
        before = self._asked.get(trainer.pod_uid, _NEVER)
        failures = before.failures + faults if faults else 0
        beyond = min(max(0, failures - PATIENT_FAILURES), MANY)
        wait = min(self._every_seconds * 2.0**beyond, LAST_WAIT_SECONDS) * (1 - fraction / 4) if beyond else 0.0
        self._asked[trainer.pod_uid] = _Asked(failures, now + wait)


class ProgressClient:
    """Asks every running trainer again and again, so many at once, and puts the run of each answer on the workqueue."""

    def __init__(
        self,
        cache: ObjectCache,
        queue: Workqueue,
        metrics: Metrics,
        *,
        every_seconds: float,
        timeout_seconds: float,
        parallel: int,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._refused = metrics.progress_refused
        self._every_seconds = every_seconds
        self._timeout_seconds = timeout_seconds
        self._turns = ProgressTurns(every_seconds=every_seconds, parallel=parallel)
        #: UIDs of the pods whose silence was warned of.
        self._complained: set[str] = set()
        #: What was left out of a pod's newest answer, by the pod's UID.
        self._left_out: dict[str, str] = {}

    async def run(self) -> None:
        """Ask until cancelled. Nobody waits for the slowest one, which is not asked again meanwhile."""
        async with asyncio.TaskGroup() as asking:
            while True:
                await asyncio.sleep(self._every_seconds)
                self.note_running()
                self._start(asking)

    async def ask_all(self) -> None:
        """Ask everybody whose turn it is once."""
        self.note_running()
        async with asyncio.TaskGroup() as asking:
            self._start(asking)

    def note_running(self) -> None:
        """Let the trainers that run now take their turns."""
        found = (trainer_of(run_uid, pod) for run_uid, pod in self._cache.attempts())
        running = [trainer for trainer in found if trainer]
        self._turns.note_running(running, _clock())
        uids = {trainer.pod_uid for trainer in running}
        self._complained &= uids
        self._left_out = {uid: remark for uid, remark in self._left_out.items() if uid in uids}

    def _start(self, asking: asyncio.TaskGroup) -> None:
        """Begin to ask as many as may be asked at once. Each that is done lets the next one begin."""
        while trainer := self._turns.take():
            asking.create_task(self._ask(trainer, asking))

    async def _ask(self, trainer: Trainer, asking: asyncio.TaskGroup) -> None:
        try:
            answer = await get_bounded(trainer.host, trainer.port, PROGRESS_PATH, timeout_seconds=self._timeout_seconds)
            found = read_answer(answer, trainer.run_uid)
        except RefusedAnswerError as problem:
            self._note_failure(trainer, problem)
        else:
            self._turns.done(trainer, _clock(), faults=0, fraction=0.0)
            self._cache.keep_report(trainer.run_uid, trainer.pod_uid, found.model, datetime.now(UTC))
            self._complained.discard(trainer.pod_uid)
            self._note_left_out(trainer, found.remark())
        self._queue.add(trainer.run_uid)
        self._start(asking)

    def _note_left_out(self, trainer: Trainer, remark: str) -> None:
        """Log once what is not understood of a pod's answers, which come every few seconds."""
        if remark and remark != self._left_out.get(trainer.pod_uid):
            text = "progress from pod %s, not understood and left out: %s"
            logger.info(text, trainer.pod_name, remark, extra={"uid": trainer.run_uid})
        self._left_out[trainer.pod_uid] = remark

    def _note_failure(self, trainer: Trainer, problem: RefusedAnswerError) -> None:
        self._refused.labels(problem.cause).inc()
        # To read without end costs everybody's time, so such a pod is asked seldom from the first time on.
        faults = MANY if problem.cause == "oversized" else 1
        self._turns.done(trainer, _clock(), faults=faults, fraction=random.random())  # noqa: S311 (it guards nothing)
        now = datetime.now(UTC)
        silence = self._cache.keep_silence(trainer.run_uid, trainer.pod_uid, Silence(now, str(problem)))
        unheard = silence is not None and (now - silence.since).total_seconds() > WARNED_AFTER_SECONDS
        if unheard and trainer.pod_uid not in self._complained:
            self._complained.add(trainer.pod_uid)
            self._complain(trainer, problem)
        else:
            # A trainer that has only just started does not listen yet.
            level = logging.DEBUG if problem.cause == "unreachable" else logging.WARNING
            logger.log(level, "no progress from pod %s: %s", trainer.pod_name, problem, extra={"uid": trainer.run_uid})

    def _complain(self, trainer: Trainer, problem: RefusedAnswerError) -> None:
        run = self._cache.run(trainer.run_uid)
        logger.warning(
            "pod %s runs and has not told its progress for minutes (%s port %d: %s); its result comes all the same. "
            "Let the operator reach that port: a NetworkPolicy or a mesh that wants TLS may keep it away",
            trainer.pod_name,
            trainer.host,
            trainer.port,
            problem,
            extra=about(run) if run else {"uid": trainer.run_uid},
        )


async def get_bounded(host: str, port: int, path: str, *, timeout_seconds: float) -> bytes:
    """Return the body of a good answer.

    Raises RefusedAnswerError (unreachable, status, malformed, oversized) for any other. A redirect is refused, because
    it could lead anywhere in the cluster's network. No proxy of the environment is used.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=_PART_BYTES)
            try:
                return await _exchange(reader, writer, _host_header(host, port), path)
            finally:
                # Not closed in good order: that would wait for what a pod goes on sending.
                writer.transport.abort()
    except (OSError, TimeoutError) as problem:
        raise RefusedAnswerError("unreachable", str(problem) or "no answer in time") from problem
    except h11.RemoteProtocolError as problem:
        raise RefusedAnswerError("malformed", f"no HTTP: {problem}") from problem


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str) -> bytes:
    exchange = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_MAX_BYTES)
    headers = [("Host", host), ("Accept", "application/json"), ("Connection", "close")]
    writer.write(exchange.send(h11.Request(method="GET", target=path, headers=headers)) or b"")
    writer.write(exchange.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    body = bytearray()
    received_bytes = 0
    while True:
        event = exchange.next_event()
        if event is h11.NEED_DATA:
            part = await reader.read(_PART_BYTES)
            received_bytes += len(part)
            if received_bytes > _HEAD_MAX_BYTES + BODY_MAX_BYTES:
                raise RefusedAnswerError("oversized", f"longer than {BODY_MAX_BYTES} bytes")
            exchange.receive_data(part)
        elif isinstance(event, h11.Response) and event.status_code != HTTPStatus.OK:
            raise RefusedAnswerError("status", f"HTTP status {event.status_code}")
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)


def _host_header(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _clock() -> float:
    return asyncio.get_running_loop().time()
