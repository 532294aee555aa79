"""Ask running trainers how far they are. What a trainer answers is checked before anything else sees it."""

import asyncio
import logging
import random
from datetime import UTC, datetime

from whisper_finetune_api.reading import Reading
from whisper_finetune_api.run import PROGRESS_PATH, TrainerReport
from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.progress import pod_answer
from whisper_finetune_operator.progress.pod_answer import RefusedAnswerError
from whisper_finetune_operator.progress.progress_turns import MANY, ProgressTurns, Trainer
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.workqueue import Workqueue
from whisper_finetune_operator.workloads import pods
from whisper_finetune_operator.workloads.children import trainer_settings_of
from whisper_finetune_operator.world import Silence

logger = logging.getLogger(__name__)

#: A trainer that has been silent for so long is no longer one that is just starting: somebody should look.
WARNED_AFTER_SECONDS = 180.0
_NAMED_CHARACTERS = 200


def trainer_of(run_uid: str, pod: KubernetesObject) -> Trainer | None:
    """Return the trainer in the pod, or None where none answers: not running, without an address, or without a port."""
    status = pod["status"]
    if status.get("phase") != "Running" or not status.get("podIP"):
        return None
    port = trainer_settings_of(pod).progress_port
    if not port:
        return None
    metadata = pod["metadata"]
    return Trainer(run_uid, metadata["uid"], metadata["name"], metadata["namespace"], status["podIP"], port)


def read_answer(answer: bytes, run_uid: str) -> Reading[TrainerReport]:
    """Return what is understood of the report. Raises RefusedAnswerError where nothing is, or it is another run's."""
    try:
        found = pods.read_report(answer)
    except ValueError as problem:
        raise RefusedAnswerError("malformed", " ".join(str(problem).split())[:_NAMED_CHARACTERS]) from problem
    if found.model.uid != run_uid:
        raise RefusedAnswerError("foreign", "it is another run's: the address has a new owner")
    return found


class ProgressClient:
    """Asks every running trainer again and again, so many at once, and brings what changed to the queue."""

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
        #: UIDs of the pods whose silence was complained of.
        self._complained: set[str] = set()
        #: What of a pod's newest answer was left out, by the pod's UID.
        self._left_out: dict[str, str] = {}

    async def run(self) -> None:
        """Ask until cancelled. Nobody waits for the slowest: what is asked for is not asked again meanwhile."""
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
        """Let those take their turn that run now."""
        found = (trainer_of(run_uid, pod) for run_uid, pod in self._cache.attempts())
        running = [trainer for trainer in found if trainer]
        self._turns.note_running(running, _clock())
        uids = {trainer.pod_uid for trainer in running}
        self._complained &= uids
        self._left_out = {uid: remark for uid, remark in self._left_out.items() if uid in uids}

    def _start(self, asking: asyncio.TaskGroup) -> None:
        """Begin to ask as many as may be asked at once. Each that is done makes room for the next."""
        while trainer := self._turns.take():
            asking.create_task(self._ask(trainer, asking))

    async def _ask(self, trainer: Trainer, asking: asyncio.TaskGroup) -> None:
        try:
            answer = await pod_answer.get_bounded(
                trainer.host, trainer.port, PROGRESS_PATH, timeout_seconds=self._timeout_seconds
            )
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
        """Tell once what of a pod's answers is not understood: they come every few seconds."""
        if remark and remark != self._left_out.get(trainer.pod_uid):
            text = "progress from pod %s, not understood and left out: %s"
            logger.info(text, trainer.pod_name, remark, extra={"uid": trainer.run_uid})
        self._left_out[trainer.pod_uid] = remark

    def _note_failure(self, trainer: Trainer, problem: RefusedAnswerError) -> None:
        self._refused.labels(problem.cause).inc()
        # To read on and on costs everybody's time: such a pod is asked seldom from the first time on.
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


def _clock() -> float:
    return asyncio.get_running_loop().time()
