"""Stories of runs, moment by moment, and what the operator must decide at the last one."""

from typing import Any, Literal, NamedTuple

from run_objects import (
    CHILD,
    DONE,
    NOT_ACCEPTED,
    RUNTIMES,
    UID,
    at,
    complete,
    ended,
    failure,
    job,
    job_failed,
    not_yet_over,
    pod,
    progress,
    run_object,
    running,
    time,
    unschedulable,
    waiting,
    world,
)
from whisper_finetune_api.contract import CONTRACT
from whisper_finetune_api.run import TrainerReport
from whisper_finetune_api.v1alpha1 import Progress
from whisper_finetune_operator.deciding import decisions
from whisper_finetune_operator.deciding.decisions import Decision
from whisper_finetune_operator.partitions.partition_queue import EMPTY_QUEUE, PartitionQueue
from whisper_finetune_operator.planning.plan import QUEUE_LABEL
from whisper_finetune_operator.world import QueueNotice, Refusal, World


class Moment(NamedTuple):
    """What the cluster shows at one moment; the status is what the moment before left."""

    seconds: float
    job: dict[str, Any] | None = None
    pods: tuple[dict[str, Any], ...] = ()
    report: TrainerReport | None = None
    refusal: Refusal | None = None
    spec: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    labels: dict[str, str] = {}  # noqa: RUF012 (never changed)
    generation: int = 1
    deleted: bool = False
    leases: tuple[dict[str, Any], ...] = ()
    queue: PartitionQueue = EMPTY_QUEUE
    changed: float | None = None
    silent: float | None = None
    obstacle: str | None = None
    notice: QueueNotice | None = None


class Scenario(NamedTuple):
    """A story and its end: state, reason, a part of the message, and the actions as `described` names them."""

    moments: tuple[Moment, ...]
    state: str
    reason: str
    says: str = ""
    actions: tuple[str, ...] = ()
    rechecks: bool = False


def tell(moments: tuple[Moment, ...]) -> list[tuple[World, Decision]]:
    """Return what is decided at each moment, each starting from the status that the one before left."""
    told: list[tuple[World, Decision]] = []
    status: dict[str, Any] | None = None
    for moment in moments:
        run = run_object(
            moment.spec,
            status=status,
            labels=moment.labels,
            generation=moment.generation,
            deleted=moment.deleted,
        )
        shown = world(
            run,
            moment.seconds,
            job=moment.job,
            pods=moment.pods,
            report=moment.report,
            refusal=moment.refusal,
            leases=moment.leases,
            queue=moment.queue,
            changed=moment.changed,
            silent=moment.silent,
            obstacle=moment.obstacle,
            notice=moment.notice,
        )
        decision = decisions.decide(shown, RUNTIMES)
        told.append((shown, decision))
        status = decision.status.to_json_object()
    return told


_TOLD: dict[int, tuple[tuple[World, Decision], ...]] = {}


def tell_once(scenario: Scenario) -> tuple[tuple[World, Decision], ...]:
    """Return the same as `tell`, which many tests want to know of each story, and none changes."""
    # A story has no hash, and the table keeps each for as long as the tests last.
    key = id(scenario.moments)
    if key not in _TOLD:
        _TOLD[key] = tuple(tell(scenario.moments))
    return _TOLD[key]


RETRIES = {"retries": 2}
QUEUE = {QUEUE_LABEL: "speech"}
IMAGE = "registry.example.com/whisper-finetune/trainer:0.1.0"
CREATED = Moment(1)
JOB = Moment(2, job())
POD = Moment(3, job(), (pod(2),))
PREPARING = Moment(10, job(), (running(2, 5),))
TRAINING = Moment(60, job(), (running(2, 5),), progress(40))

KEY_TWICE = {"secretRefs": [{"name": "a", "keys": ["HF_TOKEN"]}, {"name": "b", "keys": ["HF_TOKEN"]}]}
LATER_SPEC = {"training.weightDecay": "0.1"}
TOO_OLD = ended(2, 5, 6, 76, failure("VersionMismatch", "it knows no weightDecay"))
OF_CONTRACT_0 = ended(
    2, 5, 6, 64, failure("ConfigInvalid", "$WHISPER_FINETUNE_CONFIG: weightDecay: Extra inputs are not permitted")
)
_MATCHED = "Container trainer for pod speech/p failed with exit code 76 matching FailJob rule at index 2"
_MATCHED_64 = _MATCHED.replace("76", "64")


UNHEARD = PREPARING._replace(seconds=200, silent=15)
GPU = Moment(1, spec={"runtime": "gpu"})
GPU_TRAINING = TRAINING._replace(spec=GPU.spec)
LONG_EVALUATION = GPU_TRAINING._replace(seconds=9000, changed=60, report=progress(40, stage="Evaluating"))


def evaluating(seconds: float, clips: int, *, stage: str | None = "Evaluating") -> Moment:
    """Return a moment in an evaluation of twenty clips, on a runtime that tells of stalls."""
    counted = {"step": 40, "totalSteps": 100, "percent": 40, "loss": "0.5000", "etaSeconds": 60}
    counted |= {"evaluatedClips": clips, "clipsToEvaluate": 20}
    report = TrainerReport.model_validate({"uid": UID, "stage": stage, "progress": counted})
    return GPU_TRAINING._replace(seconds=seconds, report=report)


COMPILING = GPU_TRAINING._replace(
    report=progress(0).model_copy(update={"progress": Progress(step=0, total_steps=100, percent=0)})
)


#: Parts of a result that must not pass.
REFUSED: dict[str, dict[str, Any]] = {
    "not finite": {"result": {"wer": "nan", "normalizedWer": "21.60"}},
    "negative": {"result": {"wer": "-1.00", "normalizedWer": "21.60"}},
    "outside the run's folder": {"model": {"path": "../other/model", "sha256": "ab" * 32, "step": 1}},
    "a whole address": {"model": {"path": "s3://other/model", "sha256": "ab" * 32, "step": 1}},
    "without a result": {"result": None},
    "without a model": {"model": None},
    "of another run": {"uid": "somebody else"},
    "with a reason": {"reason": "DatasetInvalid"},
    "with a reason that is none": {"reason": 7},
    "of a run that is none": {"uid": 7},
    "in a contract that is none": {"contract": "new"},
    "numbers that the API cannot hold": {"model": {"path": "model", "sha256": "ab" * 32, "step": 10**30}},
}


def with_native_sidecar(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod with an init container that runs for as long as the others."""
    native = {"name": "istio-proxy", "state": {"running": {"startedAt": time(3)}}}
    return {**pod, "status": {**pod["status"], "initContainerStatuses": [native]}}


def without_times(ended_pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod as a node shows it that started anew and found a proxy alone."""
    lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    shown = not_yet_over(ended_pod, beside="istio-proxy")
    trainer, proxy = shown["status"]["containerStatuses"]
    containers = [{**trainer, "state": {"terminated": lost}}, proxy]
    return {**shown, "status": {**shown["status"], "containerStatuses": containers}}


def with_failed_proxy(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod with another container that has ended badly: it is no longer ready, and its trainer is."""
    proxy = {"name": "istio-proxy", "ready": False, "state": {"terminated": {"exitCode": 1}}}
    unready = {"status": "False", "reason": "ContainersNotReady", "lastTransitionTime": time(30)}
    conditions = [{"type": "Ready", **unready}, {"type": "ContainersReady", **unready}]
    containers = [*pod["status"]["containerStatuses"], proxy]
    return {**pod, "status": {**pod["status"], "containerStatuses": containers, "conditions": conditions}}


def on_node(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod with the node that it runs on."""
    return {**pod, "spec": {"nodeName": "worker-3"}}


def set_up(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod once its node has mounted its volumes and made its network."""
    ready = {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": time(60)}
    return {**pod, "status": {**pod["status"], "conditions": [ready]}}


def unready(pod: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """Return the pod as the node controller leaves it that hears nothing of its node: it gives no reason."""
    named = {"reason": reason} if reason else {}
    conditions = [
        {"type": "Ready", "status": "False", **named, "lastTransitionTime": time(90)},
        {"type": "ContainersReady", "status": "True", "lastTransitionTime": time(5)},
    ]
    return on_node({**pod, "status": {**pod["status"], "conditions": conditions}})


def initializing(state: dict[str, Any], phase: str = "Pending") -> dict[str, Any]:
    """Return a pod whose trainer comes after two init containers: the first is a native sidecar, the second is so."""
    proxy = {"name": "istio-proxy", "state": {"running": {"startedAt": time(3)}}}
    second = {"name": "vault-agent-init", "state": state}
    third = {"name": "last", "state": {"waiting": {"reason": "PodInitializing"}}}
    made = waiting(2, "PodInitializing", "")
    return {**made, "status": {**made["status"], "phase": phase, "initContainerStatuses": [proxy, second, third]}}


CREATING = on_node(waiting(2, "ContainerCreating", ""))
LOST = Moment(100, job(), (unready(running(2, 5)),), progress(40))


def queued(*conditions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the run's Job with the queue of its run."""
    return job(*conditions, metadata__labels=QUEUE, **changes)


def queued_with(message: str, kind: Literal["Waits", "Inadmissible", "Deactivated"] = "Waits") -> Moment:
    """Return a moment in which Kueue says why it has not admitted the Job."""
    return Moment(5, queued(spec__suspend=True), notice=QueueNotice("job-r", "speech", message, kind), labels=QUEUE)


def _killed(created: float) -> dict[str, Any]:
    """Return a pod that was killed for memory."""
    return ended(created, created + 3, created + 7, 137, reason="OOMKilled")


def _attempts(*pods: dict[str, Any]) -> tuple[Moment, ...]:
    """Return the beginning of a run and a moment with these pods, all ended, of a Job that is still at work."""
    return CREATED, JOB, Moment(900, job(), pods)


def stopped(times: int, *, seconds: float = 44, further: bool = False) -> tuple[Moment, ...]:
    """Return a run that is stopped so many times, each time in a Job of its own, the last moment being such an end."""
    moments: list[Moment] = [CREATED]
    for number in range(1, times + 1):
        began = (seconds + 56) * (number - 1)
        owner, names = job(uid=f"job-{number}"), {"job_uid": f"job-{number}"}
        step = 10 * number if further else 0
        kept = [{"step": step, "path": f"resume/checkpoint-{step}"}] if further else []
        end = ended(began + 2, began + 5, began + 5 + seconds, 75, {"checkpoints": kept}, **names)
        moments += [
            Moment(began + 5, owner, (running(began + 2, began + 5, **names),)),
            Moment(began + seconds + 6, owner, (end,)),
        ]
    return tuple(moments)


SCENARIOS: dict[str, Scenario] = {
    # from creation to a result
    "new": Scenario((CREATED,), "Pending", "Pending", "has not started", ("create",)),
    "Job not yet seen by its controller": Scenario(
        (CREATED, Moment(2, job(status={}))), "Pending", "Pending", "has not started"
    ),
    "Job without a pod for a moment": Scenario((CREATED, JOB), "Pending", "Pending", rechecks=True),
    "Job without a pod for long": Scenario(
        (CREATED, JOB, Moment(30, job())), "Pending", "Pending", actions=("look",), rechecks=True
    ),
    "pod on its way to a node": Scenario((CREATED, JOB, POD), "Pending", "Pending", "has not started", rechecks=True),
    "pod on its way to a node for some time": Scenario(
        (CREATED, JOB, Moment(9, job(), (pod(2),))), "Pending", "Pending"
    ),
    "container being made": Scenario(
        (CREATED, JOB, Moment(4, job(), (waiting(2, "ContainerCreating", ""),))), "Pending", "Pending", rechecks=True
    ),
    "running without a report": Scenario((CREATED, JOB, POD, PREPARING), "Preparing", "Preparing", "pod"),
    "measuring the baseline": Scenario(
        (CREATED, JOB, PREPARING, Moment(20, job(), (running(2, 5),), progress(0, stage="Evaluating"))),
        "Evaluating",
        "Evaluating",
    ),
    "training": Scenario((CREATED, JOB, PREPARING, TRAINING), "Training", "Training"),
    "training, and the operator has just started": Scenario(
        (CREATED, JOB, TRAINING, Moment(70, job(), (running(2, 5),))), "Training", "Training"
    ),
    "its trainer is over, and its pod not yet": Scenario(
        (CREATED, JOB, TRAINING, Moment(100, job(), (not_yet_over(ended(2, 5, 99, 0, DONE)),))),
        "Succeeded",
        "Succeeded",
        "-> 21.60 %",
    ),
    "report of another run at that address": Scenario(
        (CREATED, JOB, Moment(20, job(), (running(2, 5),), progress(40).model_copy(update={"uid": "other"}))),
        "Preparing",
        "Preparing",
    ),
    "result, before the Job knows": Scenario(
        (CREATED, JOB, TRAINING, Moment(100, job(), (ended(2, 5, 99, 0, DONE),))),
        "Succeeded",
        "Succeeded",
        "normalized WER 28.00 -> 21.60 %; model: pvc://speech/runs/italian-7a0c9a4e/model",
    ),
    "result that is not accepted": Scenario(
        (CREATED, JOB, TRAINING, Moment(100, job(), (ended(2, 5, 99, 0, NOT_ACCEPTED),))),
        "Succeeded",
        "Succeeded",
        "normalized WER 28.00 -> 21.60 %; not accepted, so latest.json does not name it; model: pvc://speech/runs/",
    ),
    "result, with its Job": Scenario(
        (CREATED, JOB, Moment(100, job(complete(100)), (ended(2, 5, 99, 0, DONE),))), "Succeeded", "Succeeded"
    ),
    "result of a pod that was drained at its very end": Scenario(
        (CREATED, JOB, Moment(100, job(), (ended(2, 5, 99, 0, DONE, disrupted=True),))), "Succeeded", "Succeeded"
    ),
    "result of a pod that no Job of the run made": Scenario(
        (CREATED, JOB, Moment(100, job(), (ended(2, 5, 99, 0, DONE, job_uid=None),))),
        "Pending",
        "Pending",
        actions=("look",),
        rechecks=True,
    ),
    # other containers in its pod
    "its trainer is done, and a proxy runs on": Scenario(
        (CREATED, JOB, TRAINING, Moment(100, job(), (not_yet_over(ended(2, 5, 99, 0, DONE), beside="istio-proxy"),))),
        "Succeeded",
        "Succeeded",
        rechecks=True,
    ),
    "its trainer is done, and a proxy runs on for long": Scenario(
        (CREATED, JOB, TRAINING, Moment(129, job(), (not_yet_over(ended(2, 5, 99, 0, DONE), beside="istio-proxy"),))),
        "Succeeded",
        "Succeeded",
        actions=("end",),
    ),
    "its trainer is done, a proxy runs on, and its deadline is over": Scenario(
        (
            CREATED,
            JOB,
            Moment(
                129,
                job(),
                (not_yet_over(ended(2, 5, 99, 0, DONE), beside="istio-proxy"),),
                spec={"activeDeadlineSeconds": 95},
            ),
        ),
        "Succeeded",
        "Succeeded",
        actions=("end",),
    ),
    "its trainer is done, and the kubelet ends a native sidecar": Scenario(
        (CREATED, JOB, TRAINING, Moment(400, job(), (with_native_sidecar(not_yet_over(ended(2, 5, 99, 0, DONE))),))),
        "Succeeded",
        "Succeeded",
    ),
    "its trainer is done, and a proxy failed then": Scenario(
        (CREATED, JOB, TRAINING, Moment(100, job(), (not_yet_over(ended(2, 5, 99, 0, DONE), phase="Failed"),))),
        "Succeeded",
        "Succeeded",
    ),
    "its trainer is done, a proxy failed then, and the Job began another pod": Scenario(
        (
            CREATED,
            JOB,
            TRAINING,
            Moment(110, job(), (not_yet_over(ended(2, 5, 99, 0, DONE), phase="Failed"), running(105, 109))),
        ),
        "Succeeded",
        "Succeeded",
        actions=("end",),
    ),
    "a proxy failed, and its trainer runs": Scenario(
        (CREATED, JOB, Moment(60, job(), (with_failed_proxy(running(2, 5)),), progress(40))), "Training", "Training"
    ),
    "its trainer failed, and a proxy runs on": Scenario(
        (CREATED, JOB, TRAINING, Moment(100, job(), (not_yet_over(ended(2, 5, 99, 1), beside="istio-proxy"),))),
        "Pending",
        "Retrying",
        "retries left: 2",
        rechecks=True,
    ),
    "its trainer failed, and a proxy runs on for long": Scenario(
        (CREATED, JOB, TRAINING, Moment(129, job(), (not_yet_over(ended(2, 5, 99, 1), beside="istio-proxy"),))),
        "Pending",
        "Retrying",
        "its pod is being ended, in which other containers run on: istio-proxy",
        ("delete",),
    ),
    "its trainer failed for the last time, and its pod is not yet over": Scenario(
        (
            CREATED,
            JOB,
            TRAINING,
            Moment(100, job(spec__backoffLimit=0), (not_yet_over(ended(2, 5, 99, 1)),), spec={"retries": 0}),
        ),
        "Pending",
        "Ending",
        "1 attempts failed and spec.retries is 0",
    ),
    "its trainer failed for the last time, and a proxy runs on for long": Scenario(
        (
            CREATED,
            JOB,
            TRAINING,
            Moment(
                129,
                job(spec__backoffLimit=0),
                (not_yet_over(ended(2, 5, 99, 1), beside="istio-proxy"),),
                spec={"retries": 0},
            ),
        ),
        "Pending",
        "Ending",
        "1 attempts failed and spec.retries is 0",
        ("end",),
    ),
    "its trainer failed, and its Job went for a proxy": Scenario(
        (
            CREATED,
            JOB,
            TRAINING,
            Moment(129, job(), (not_yet_over(ended(2, 5, 99, 1), beside="istio-proxy"),), spec={"retries": 0}),
            Moment(140, None, (ended(2, 5, 99, 1, deleted=True),), spec={"retries": 0}),
        ),
        "Failed",
        "RetriesExhausted",
        "1 attempts failed",
    ),
    "its node lost it at an unknown time, and a proxy runs on for long": Scenario(
        (CREATED, JOB, TRAINING, Moment(129, job(), (without_times(ended(2, 5, 99, 137)),))),
        "Pending",
        "Retrying",
        "its pod is being ended",
        ("delete",),
    ),
    "its data is broken, and a proxy runs on": Scenario(
        (
            CREATED,
            JOB,
            TRAINING,
            Moment(129, job(), (not_yet_over(ended(2, 5, 99, 65), beside="istio-proxy"),)),
        ),
        "Pending",
        "Ending",
        "exit code 65",
        ("end",),
    ),
    "its data is broken, and its pod not yet over": Scenario(
        (CREATED, JOB, TRAINING, Moment(129, job(), (not_yet_over(ended(2, 5, 99, 65)),))), "Pending", "Ending"
    ),
    "unreadable result, and a proxy runs on": Scenario(
        (CREATED, JOB, TRAINING, Moment(129, job(), (not_yet_over(ended(2, 5, 99, 0, "x"), beside="istio-proxy"),))),
        "Pending",
        "Retrying",
        "could not be read",
        ("delete",),
    ),
    # a finished run never runs again
    "finished, Job there, no TTL": Scenario(
        (CREATED, JOB, Moment(100, job(complete(100)), (ended(2, 5, 99, 0, DONE),)), Moment(200, job(complete(100)))),
        "Succeeded",
        "Succeeded",
    ),
    "finished, and its Job is gone": Scenario(
        (CREATED, JOB, Moment(100, job(complete(100)), (ended(2, 5, 99, 0, DONE),)), Moment(200)),
        "Succeeded",
        "Succeeded",
    ),
    "finished, then suspended": Scenario(
        (CREATED, Moment(100, job(), (ended(2, 5, 99, 0, DONE),)), Moment(200, spec={"suspend": True}, generation=2)),
        "Succeeded",
        "Succeeded",
    ),
    "finished, and a TTL is asked for": Scenario(
        (
            CREATED,
            Moment(100, job(), (ended(2, 5, 99, 0, DONE),)),
            Moment(200, job(complete(100)), spec={"ttlSecondsAfterFinished": 600}, generation=2),
        ),
        "Succeeded",
        "Succeeded",
        actions=("keep for 600",),
    ),
    "finished, and its TTL is written": Scenario(
        (
            CREATED,
            Moment(100, job(), (ended(2, 5, 99, 0, DONE),)),
            Moment(
                200,
                job(complete(100), spec__ttlSecondsAfterFinished=600),
                spec={"ttlSecondsAfterFinished": 600},
                generation=2,
            ),
        ),
        "Succeeded",
        "Succeeded",
    ),
    "finished, and its TTL is taken away": Scenario(
        (
            CREATED,
            Moment(100, job(), (ended(2, 5, 99, 0, DONE),)),
            Moment(200, job(complete(100), spec__ttlSecondsAfterFinished=600), generation=2),
        ),
        "Succeeded",
        "Succeeded",
        actions=("keep for None",),
    ),
    "finished, and another pod of it is at work": Scenario(
        (
            CREATED,
            Moment(100, job(), (ended(2, 5, 99, 0, DONE, disrupted=True),)),
            Moment(120, job(), (ended(2, 5, 99, 0, DONE, disrupted=True), pod(110))),
        ),
        "Succeeded",
        "Succeeded",
        actions=("end",),
    ),
    "being deleted": Scenario((CREATED, JOB, TRAINING, Moment(80, deleted=True)), "Training", "Training"),
    "being deleted before it was seen": Scenario((Moment(1, deleted=True),), "", ""),
    # final causes, by the trainer's exit code
    **{
        f"exit {code}, {named}": Scenario(
            (*_attempts(ended(2, 5, 9, code, failure(named, "what to do"))),), "Failed", reason, "what to do"
        )
        for code, named, reason in (
            (64, "ConfigInvalid", "ConfigInvalid"),
            (65, "DatasetInvalid", "DatasetInvalid"),
            (65, "TrainingDiverged", "TrainingDiverged"),
            (66, "ModelNotFound", "ModelNotFound"),
            (66, "DatasetNotFound", "DatasetNotFound"),
            (73, "OutputNotWritable", "OutputNotWritable"),
            (77, "AccessDenied", "AccessDenied"),
            (65, "AccessDenied", "DatasetInvalid"),
            (65, None, "DatasetInvalid"),
            (66, "NoSuchReason", "ModelNotFound"),
        )
    },
    "exit 65 without a word": Scenario(_attempts(ended(2, 5, 9, 65)), "Failed", "DatasetInvalid", "exit code 65"),
    "exit 65 of a drained pod": Scenario(
        _attempts(ended(2, 5, 9, 65, disrupted=True)), "Pending", "Retrying", "stopped from outside", ("delete",)
    ),
    "pod failure policy, and its pod is gone": Scenario(
        (
            CREATED,
            JOB,
            Moment(
                60,
                job(
                    job_failed(
                        40,
                        "PodFailurePolicy",
                        f"Container trainer for pod speech/{CHILD}-x failed with exit code 66 matching FailJob rule",
                    )
                ),
            ),
        ),
        "Failed",
        "ModelNotFound",
        "exit code 66",
    ),
    "pod failure policy in words that are not known": Scenario(
        (CREATED, JOB, Moment(60, job(job_failed(40, "PodFailurePolicy", "it failed")))),
        "Failed",
        "RetriesExhausted",
        "it failed",
    ),
    "pod failure policy, and its pod's end is not in sight yet": Scenario(
        (CREATED, JOB, TRAINING, Moment(61, job(job_failed(61, "PodFailurePolicy", "exit code 65")), TRAINING.pods)),
        "Training",
        "Training",
        rechecks=True,
    ),
    # retried
    "accelerator missing": Scenario(
        _attempts(ended(2, 5, 9, 69, failure("AcceleratorUnavailable", "no CUDA device"))),
        "Pending",
        "AcceleratorUnavailable",
        "no CUDA device; retries left: 2",
        ("look",),
        True,
    ),
    "killed for memory once": Scenario(
        _attempts(_killed(2)), "Pending", "Retrying", "killed for memory", ("look",), True
    ),
    "killed for memory twice": Scenario(
        _attempts(_killed(2), _killed(20)), "Pending", "Ending", "killed for memory 2 times", ("end",)
    ),
    "killed for memory twice, and its Job waits for Kueue": Scenario(
        (CREATED, JOB, Moment(60, job(spec__suspend=True), (_killed(2), _killed(20)))),
        "Pending",
        "Ending",
        actions=("delete",),
    ),
    "killed for memory twice, and its Job has ended": Scenario(
        (
            *_attempts(_killed(2), _killed(20)),
            Moment(902, job(job_failed(902, "DeadlineExceeded")), (_killed(2), _killed(20))),
        ),
        "Failed",
        "OutOfMemory",
        "2 times",
    ),
    "exit 64, out of the accelerator's memory": Scenario(
        _attempts(ended(2, 5, 9, 64, failure("OutOfMemory", "lower training.batchSize"))),
        "Pending",
        "Ending",
        "lower training.batchSize",
        ("end",),
    ),
    "exit 64, out of the accelerator's memory, and its Job has ended": Scenario(
        (
            *_attempts(ended(2, 5, 9, 64, failure("OutOfMemory", "lower training.batchSize"))),
            Moment(
                12,
                job(job_failed(12, "PodFailurePolicy", "exit code 64")),
                (ended(2, 5, 9, 64, failure("OutOfMemory", "lower training.batchSize")),),
            ),
        ),
        "Failed",
        "OutOfMemory",
        "lower training.batchSize",
    ),
    "killed for memory twice, and a third pod is at work": Scenario(
        _attempts(_killed(2), _killed(20), running(50, 55)),
        "Preparing",
        "Ending",
        "killed for memory 2 times",
        ("end",),
    ),
    "killed for memory twice, and its Job is being ended": Scenario(
        (
            *_attempts(_killed(2), _killed(20)),
            Moment(901, job(spec__activeDeadlineSeconds=1), (_killed(2), _killed(20))),
        ),
        "Pending",
        "Ending",
    ),
    "stopped with a checkpoint": Scenario(
        _attempts(ended(2, 5, 9, 75, failure(None, "stopped at step 40"), deleted=True)),
        "Pending",
        "Retrying",
        "costs no retry: stopped at step 40",
        ("delete",),
    ),
    "stopped, and the Job was admitted by Kueue": Scenario(
        (
            Moment(1, labels=QUEUE),
            Moment(
                900, queued(), (ended(2, 5, 9, 75, failure(None, "stopped at step 40"), deleted=True),), labels=QUEUE
            ),
        ),
        "Pending",
        "Retrying",
        "makes the next pod within 10 minutes",
        ("look",),
        True,
    ),
    "stopped, and its Job is going": Scenario(
        (
            *_attempts(ended(2, 5, 9, 75, deleted=True)),
            Moment(901, job(metadata__deletionTimestamp=time(900)), (ended(2, 5, 9, 75, deleted=True),)),
        ),
        "Pending",
        "Retrying",
    ),
    "stopped, and its Job is gone": Scenario(
        (*_attempts(ended(2, 5, 9, 75, deleted=True)), Moment(905)), "Pending", "Pending", actions=("create again",)
    ),
    "stopped twice in vain": Scenario(stopped(2), "Pending", "Retrying", "costs no retry", ("delete",)),
    "stopped three times in vain": Scenario(
        stopped(3),
        "Pending",
        "Interrupted",
        "3 times in a row without getting further than step 0: the next attempt starts at 2026-11-22T10:05:10Z",
        ("delete",),
        True,
    ),
    "stopped three times in vain, and its Job is gone": Scenario(
        (*stopped(3), Moment(260)), "Pending", "Interrupted", "starts at 2026-11-22T10:05:10Z", rechecks=True
    ),
    "stopped three times in vain, and its wait is over": Scenario(
        (*stopped(3), Moment(260), Moment(311)), "Pending", "Pending", actions=("create again",)
    ),
    "stopped three times in vain, then suspended and resumed": Scenario(
        (*stopped(3), Moment(260, spec={"suspend": True}, generation=2), Moment(265, generation=3)),
        "Pending",
        "Pending",
        actions=("create again",),
    ),
    "stopped ten times in vain": Scenario(
        stopped(10), "Pending", "Interrupted", "10 times in a row", ("delete",), rechecks=True
    ),
    "stopped five times, and further each time": Scenario(
        stopped(5, further=True), "Pending", "Retrying", "costs no retry", ("delete",)
    ),
    "stopped five times, after a long time of work each": Scenario(
        stopped(5, seconds=3700), "Pending", "Retrying", "costs no retry", ("delete",)
    ),
    "failed, and the Job waits before the next one": Scenario(
        (CREATED, JOB, Moment(70, job(), (ended(2, 5, 9, 1), ended(20, 25, 65, 1)))),
        "Pending",
        "Retrying",
        "retries left: 1; the next attempt starts about 2026-11-22T10:01:25Z",
        ("look",),
        True,
    ),
    "node lost": Scenario(
        _attempts(
            pod(
                2,
                {
                    "phase": "Failed",
                    "reason": "NodeLost",
                    "conditions": [
                        {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "gone"}
                    ],
                },
            )
        ),
        "Pending",
        "Retrying",
        "ended without an exit code (NodeLost: gone)",
        ("delete",),
    ),
    "next attempt on its way": Scenario(_attempts(ended(2, 5, 9, 1), pod(20)), "Pending", "Pending", "has not started"),
    "next attempt at work": Scenario(_attempts(ended(2, 5, 9, 1), running(20, 25)), "Preparing", "Preparing"),
    "retries exhausted, before the Job knows": Scenario(
        _attempts(*(ended(created, created + 3, created + 7, 1) for created in (2, 20, 50, 100))),
        "Failed",
        "RetriesExhausted",
        "4 attempts failed and spec.retries is 3; the last one: pod",
    ),
    "retries exhausted, by the Job": Scenario(
        (CREATED, JOB, Moment(200, job(job_failed(110)))), "Failed", "RetriesExhausted", "spec.retries is 3"
    ),
    "retries exhausted, and no pod was seen to end": Scenario(
        (CREATED, JOB, TRAINING, Moment(200, job(job_failed(110)))),
        "Failed",
        "RetriesExhausted",
        "gave up (Job has reached the specified backoff limit); spec.retries is 3; 0 of its pods were seen to fail",
    ),
    "retries exhausted, and the last end is not in sight yet": Scenario(
        (CREATED, JOB, Moment(111, job(job_failed(110)))), "Pending", "Ending", "not in sight", rechecks=True
    ),
    "retries raised while at work": Scenario(
        (CREATED, JOB, Moment(60, job(), (running(2, 5),), spec={"retries": 7}, generation=2)),
        "Preparing",
        "Preparing",
        actions=("allow 7",),
    ),
    "retries lowered below what failed, and an attempt is at work": Scenario(
        (
            CREATED,
            JOB,
            Moment(
                60,
                job(),
                (ended(2, 5, 9, 1), ended(20, 23, 25, 1), running(50, 55)),
                spec={"retries": 0},
                generation=2,
            ),
        ),
        "Preparing",
        "Preparing",
        actions=("allow 2",),
    ),
    "retries lowered below what failed, between attempts": Scenario(
        (
            CREATED,
            JOB,
            Moment(60, job(), (ended(2, 5, 9, 1), ended(20, 23, 25, 1)), spec={"retries": 0}, generation=2),
        ),
        "Pending",
        "Ending",
        "2 attempts failed and spec.retries is 0",
        ("end",),
    ),
    # results that cannot be read
    "unreadable result, before the Job knows": Scenario(
        (CREATED, JOB, Moment(100, job(), (ended(2, 5, 99, 0, "no JSON"),))),
        "Pending",
        "Retrying",
        "could not be read",
        rechecks=True,
    ),
    "unreadable result": Scenario(
        (CREATED, JOB, Moment(101, job(complete(100)), (ended(2, 5, 99, 0, "no JSON"),))),
        "Pending",
        "Retrying",
        "could not be read",
        ("delete",),
    ),
    "unreadable result, again with the Job still there": Scenario(
        (
            CREATED,
            JOB,
            Moment(101, job(complete(100)), (ended(2, 5, 99, 0, "no JSON"),)),
            Moment(102, job(complete(100))),
            Moment(200, job(complete(100))),
        ),
        "Pending",
        "Pending",
        actions=("delete",),
    ),
    "unreadable result, Job going": Scenario(
        (
            CREATED,
            JOB,
            Moment(101, job(complete(100)), (ended(2, 5, 99, 0, "no JSON"),)),
            Moment(102, job(complete(100), metadata__deletionTimestamp="2026-11-22T10:01:42Z")),
        ),
        "Pending",
        "Pending",
    ),
    "unreadable result, Job gone": Scenario(
        (CREATED, JOB, Moment(101, job(complete(100)), (ended(2, 5, 99, 0, "no JSON"),)), Moment(105)),
        "Pending",
        "Pending",
        actions=("create again",),
    ),
    "unreadable result twice": Scenario(
        (
            CREATED,
            JOB,
            Moment(101, job(complete(100)), (ended(2, 5, 99, 0, "no JSON"),)),
            Moment(105),
            Moment(201, job(complete(200), uid="job-2"), (ended(110, 111, 199, 0, {}, job_uid="job-2"),)),
        ),
        "Failed",
        "ResultUnreadable",
        "twice",
    ),
    "unreadable, then read": Scenario(
        (
            CREATED,
            JOB,
            Moment(101, job(complete(100)), (ended(2, 5, 99, 0, "no JSON"),)),
            Moment(105),
            Moment(201, job(complete(200), uid="job-2"), (ended(110, 111, 199, 0, DONE, job_uid="job-2"),)),
        ),
        "Succeeded",
        "Succeeded",
    ),
    "complete, and its pod is gone": Scenario(
        (CREATED, JOB, Moment(120, job(complete(100)))), "Pending", "Pending", actions=("delete",)
    ),
    "complete, and its pod's end is not in sight yet": Scenario(
        (CREATED, JOB, TRAINING, Moment(120, job(complete(100)), TRAINING.pods)), "Training", "Training", rechecks=True
    ),
    "complete, and its pod is not in sight for a moment": Scenario(
        (CREATED, JOB, Moment(102, job(complete(100)))), "Pending", "Ending", rechecks=True
    ),
    "complete twice, and its pods are gone": Scenario(
        (CREATED, JOB, Moment(120, job(complete(100))), Moment(130), Moment(250, job(complete(200), uid="job-2"))),
        "Failed",
        "ResultUnreadable",
    ),
    **{
        f"result refused: {what}": Scenario(
            (CREATED, JOB, Moment(101, job(complete(100)), (ended(2, 5, 99, 0, {**DONE, **refused}),))),
            "Pending",
            "Retrying",
            "could not be read",
            ("delete",),
        )
        for what, refused in REFUSED.items()
    },
    # the deadline
    "deadline ahead": Scenario(
        (CREATED, JOB, Moment(60, job(), (running(2, 5),), spec={"activeDeadlineSeconds": 100})),
        "Preparing",
        "Preparing",
        rechecks=True,
    ),
    "deadline over": Scenario(
        (CREATED, JOB, Moment(105, job(), (running(2, 5),), spec={"activeDeadlineSeconds": 100})),
        "Preparing",
        "Ending",
        "ran longer than 100 seconds",
        ("end",),
    ),
    "deadline over, and its pod is ending": Scenario(
        (
            CREATED,
            JOB,
            Moment(105, job(), (running(2, 5),), spec={"activeDeadlineSeconds": 100}),
            Moment(
                106,
                job(spec__activeDeadlineSeconds=1),
                (running(2, 5, deleted=True),),
                spec={"activeDeadlineSeconds": 100},
            ),
        ),
        "Preparing",
        "Ending",
        rechecks=True,
    ),
    "deadline over, and its pod has ended": Scenario(
        (
            CREATED,
            JOB,
            Moment(105, job(), (running(2, 5),), spec={"activeDeadlineSeconds": 100}),
            Moment(
                110,
                job(job_failed(110, "DeadlineExceeded"), spec__activeDeadlineSeconds=1),
                (ended(2, 5, 104, 75, deleted=True),),
                spec={"activeDeadlineSeconds": 100},
            ),
        ),
        "Failed",
        "DeadlineExceeded",
        "ran longer than 100 seconds",
    ),
    "deadline over several attempts": Scenario(
        (
            CREATED,
            JOB,
            Moment(200, job(), (ended(2, 5, 65, 1), running(150, 155)), spec={"activeDeadlineSeconds": 100}),
        ),
        "Preparing",
        "Ending",
        actions=("end",),
    ),
    "waiting does not count": Scenario(
        (CREATED, JOB, Moment(2000, job(), (pod(2),), spec={"activeDeadlineSeconds": 100})), "Pending", "Pending"
    ),
    "result at the deadline": Scenario(
        (CREATED, JOB, Moment(110, job(), (ended(2, 5, 108, 0, DONE),), spec={"activeDeadlineSeconds": 100})),
        "Succeeded",
        "Succeeded",
    ),
    # what waits, and goes on by itself
    "pod refused": Scenario(
        (CREATED, JOB, Moment(30, job(), refusal=Refusal('pods "x" is forbidden: exceeded quota: gpus', at(20)))),
        "Pending",
        "PodRefused",
        "exceeded quota: gpus",
        ("look",),
        rechecks=True,
    ),
    "Job refused": Scenario(
        (CREATED, Moment(2, refusal=Refusal("jobs.batch is forbidden: exceeded quota: count/jobs.batch", at(1)))),
        "Pending",
        "PodRefused",
        "exceeded quota: count/jobs.batch",
        ("create again",),
        True,
    ),
    "Job was refused long ago": Scenario(
        (CREATED, Moment(2000, refusal=Refusal("exceeded quota", at(1)))), "Pending", "Pending", "", ("create again",)
    ),
    "pod was refused, and came": Scenario(
        (
            CREATED,
            Moment(30, job(), refusal=Refusal("exceeded quota", at(20))),
            Moment(40, job(), (pod(39),), refusal=Refusal("exceeded quota", at(20))),
        ),
        "Pending",
        "Pending",
    ),
    "refusal of a pod before the one that failed": Scenario(
        (CREATED, JOB, Moment(60, job(), (ended(30, 35, 39, 1),), refusal=Refusal("exceeded quota", at(20)))),
        "Pending",
        "Retrying",
        actions=("look",),
        rechecks=True,
    ),
    "Secret missing": Scenario(
        (CREATED, JOB, Moment(9, job(), (waiting(2, "CreateContainerConfigError", 'secret "hub" not found'),))),
        "Pending",
        "SecretNotFound",
        'secret "hub" not found',
    ),
    "key of a Secret missing": Scenario(
        (
            CREATED,
            JOB,
            Moment(
                9,
                job(),
                (waiting(2, "CreateContainerConfigError", "couldn't find key HF_TOKEN in Secret speech/hub"),),
            ),
        ),
        "Pending",
        "SecretNotFound",
        "key HF_TOKEN in Secret speech/hub",
    ),
    "image runs as root": Scenario(
        (
            CREATED,
            JOB,
            Moment(
                9,
                job(),
                (
                    waiting(
                        2,
                        "CreateContainerConfigError",
                        "container has runAsNonRoot and image will run as root",
                    ),
                ),
            ),
        ),
        "Pending",
        "PodRefused",
        "image will run as root",
    ),
    "claim missing": Scenario(
        (
            CREATED,
            JOB,
            Moment(
                9,
                job(),
                (unschedulable(2, '0/1 nodes are available: persistentvolumeclaim "speech" not found. not found'),),
            ),
        ),
        "Pending",
        "VolumeNotFound",
        "PersistentVolumeClaim speech",
    ),
    "its node has had it for a moment": Scenario(
        (CREATED, JOB, Moment(9, job(), (CREATING,))), "Pending", "Pending", "has not started", rechecks=True
    ),
    "its node does not begin it": Scenario(
        (CREATED, JOB, Moment(40, job(), (CREATING,))),
        "Pending",
        "Pending",
        "has not started",
        ("look at the pod",),
        True,
    ),
    "a volume of it is attached to another node": Scenario(
        (CREATED, JOB, Moment(40, job(), (CREATING,), obstacle='Multi-Attach error for volume "pvc-7" Volume is used')),
        "Pending",
        "VolumeNotMounted",
        'a volume cannot be attached or mounted: Multi-Attach error for volume "pvc-7"',
        ("look at the pod",),
        True,
    ),
    "its volume was mounted after all, and its image is being pulled": Scenario(
        (CREATED, JOB, Moment(900, job(), (set_up(CREATING),), obstacle="MountVolume.SetUp failed for volume")),
        "Pending",
        "Pending",
        "has not started",
    ),
    "its node makes no network for it": Scenario(
        (CREATED, JOB, Moment(40, job(), (CREATING,), obstacle="Failed to create pod sandbox: no address")),
        "Pending",
        "Pending",
        "has not started yet: Failed to create pod sandbox: no address",
        ("look at the pod",),
        True,
    ),
    "it began after all": Scenario(
        (CREATED, JOB, Moment(60, job(), (on_node(running(2, 55)),), obstacle="Multi-Attach error for volume")),
        "Preparing",
        "Preparing",
    ),
    "an init container that somebody added runs on": Scenario(
        (CREATED, JOB, Moment(900, job(), (initializing({"running": {"startedAt": time(5)}}),))),
        "Pending",
        "Pending",
        "waits for init container vault-agent-init: it runs since 2026-11-22T10:00:05Z",
    ),
    "the image of an init container cannot be pulled": Scenario(
        (
            CREATED,
            JOB,
            Moment(900, job(), (initializing({"waiting": {"reason": "ErrImagePull", "message": "no such"}}),)),
        ),
        "Pending",
        "ImagePullFailed",
        "correct the image of init container vault-agent-init or its pull secret: no such",
    ),
    "an init container cannot be made": Scenario(
        (
            CREATED,
            JOB,
            Moment(900, job(), (initializing({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}),)),
        ),
        "Pending",
        "Pending",
        "init container vault-agent-init: CrashLoopBackOff back-off",
    ),
    "an init container failed": Scenario(
        (CREATED, JOB, Moment(900, job(), (initializing({"terminated": {"exitCode": 2}}, phase="Failed"),))),
        "Pending",
        "Retrying",
        "(its init container vault-agent-init ended with exit code 2); retries left: 2",
        ("look",),
        True,
    ),
    "no node for it": Scenario(
        (CREATED, JOB, Moment(9, job(), (unschedulable(2, "0/1 nodes are available: 1 Insufficient cpu."),))),
        "Pending",
        "Unschedulable",
        "Insufficient cpu",
    ),
    **{
        f"image: {reason}": Scenario(
            (CREATED, JOB, Moment(9, job(), (waiting(2, reason, f"{message}{IMAGE} not found"),))),
            "Pending",
            "ImagePullFailed",
            f"pull secret: {IMAGE} not found",
        )
        for reason, message in (
            ("ErrImagePull", ""),
            ("ImagePullBackOff", f'Back-off pulling image "{IMAGE}": ErrImagePull: '),
            ("InvalidImageName", ""),
            ("ErrImageNeverPull", ""),
        )
    },
    "mended": Scenario(
        (
            CREATED,
            JOB,
            Moment(9, job(), (waiting(2, "CreateContainerConfigError", 'secret "hub" not found'),)),
            Moment(60, job(), (running(2, 55),)),
        ),
        "Preparing",
        "Preparing",
    ),
    "name taken by somebody else": Scenario(
        (CREATED, Moment(2, job(owner="other"))),
        "Pending",
        "NameConflict",
        f"delete Job {CHILD}",
        rechecks=True,
    ),
    "name free again": Scenario(
        (CREATED, Moment(2, job(owner="other")), Moment(40)), "Pending", "Pending", actions=("create again",)
    ),
    "Kueue has not admitted it": Scenario(
        (Moment(1, labels=QUEUE), Moment(2, queued(spec__suspend=True), labels=QUEUE)),
        "Queued",
        "WaitingForQuota",
        "Kueue has not admitted its Job from queue speech yet",
        ("ask Kueue",),
        True,
    ),
    "Kueue says why it waits": Scenario(
        (Moment(1, labels=QUEUE), queued_with("insufficient unused quota for cpu in flavor f, 1 more needed")),
        "Queued",
        "WaitingForQuota",
        "from queue speech: insufficient unused quota for cpu in flavor f, 1 more needed",
        ("ask Kueue",),
        True,
    ),
    "Kueue does not know its queue": Scenario(
        (Moment(1, labels=QUEUE), queued_with("LocalQueue speech doesn't exist", "Inadmissible")),
        "Queued",
        "WaitingForQuota",
        "LocalQueue speech doesn't exist; kubectl -n speech get localqueues lists the queues",
        ("ask Kueue",),
        True,
    ),
    "its Workload is deactivated": Scenario(
        (Moment(1, labels=QUEUE), queued_with("The workload is deactivated", "Deactivated")),
        "Queued",
        "WaitingForQuota",
        "is deactivated (The workload is deactivated); once the cause is mended, kubectl -n speech patch workload",
        ("ask Kueue",),
        True,
    ),
    "what Kueue said of the queue that it has left": Scenario(
        (
            Moment(1, labels=QUEUE),
            queued_with("LocalQueue speech doesn't exist", "Inadmissible")._replace(labels={QUEUE_LABEL: "night"}),
        ),
        "Queued",
        "WaitingForQuota",
        "from queue night yet",
        ("move to night", "ask Kueue"),
        True,
    ),
    "Kueue has admitted it, and its words are old": Scenario(
        (
            Moment(1, labels=QUEUE),
            queued_with("insufficient unused quota for cpu in flavor f, 1 more needed"),
            Moment(9, queued(), notice=QueueNotice("job-r", "speech", "insufficient"), labels=QUEUE),
        ),
        "Pending",
        "Pending",
        "has not started yet",
        ("look",),
        True,
    ),
    "Kueue has not admitted it, and its user names another queue": Scenario(
        (
            Moment(1, labels=QUEUE),
            Moment(2, queued(spec__suspend=True), labels=QUEUE),
            Moment(60, queued(spec__suspend=True), labels={QUEUE_LABEL: "night"}),
        ),
        "Queued",
        "WaitingForQuota",
        "from queue night",
        ("move to night", "ask Kueue"),
        True,
    ),
    "Kueue has not admitted it, and its label is taken away": Scenario(
        (Moment(1, labels=QUEUE), Moment(60, queued(spec__suspend=True))),
        "Queued",
        "WaitingForQuota",
        "queue speech",
        ("ask Kueue",),
        True,
    ),
    "another queue is named while it trains": Scenario(
        (
            Moment(1, labels=QUEUE),
            Moment(60, queued(), (running(2, 5),), progress(40), labels={QUEUE_LABEL: "night"}),
        ),
        "Training",
        "Training",
    ),
    "its Job is suspended, and no queue is named": Scenario(
        (CREATED, Moment(60, job(spec__suspend=True))), "Queued", "WaitingForQuota", "suspended, by hand"
    ),
    "its Job is suspended, and then a queue is named": Scenario(
        (CREATED, Moment(60, job(spec__suspend=True), labels=QUEUE)),
        "Queued",
        "WaitingForQuota",
        actions=("move to speech", "ask Kueue"),
        rechecks=True,
    ),
    "its queue sends it to another cluster": Scenario(
        (Moment(1, labels=QUEUE), Moment(60, queued(spec__managedBy="kueue.x-k8s.io/multikueue"), labels=QUEUE)),
        "Pending",
        "QueueNotSupported",
        "queue speech sends the Job to another cluster (kueue.x-k8s.io/multikueue)",
    ),
    "its queue sent it to another cluster, where it is done": Scenario(
        (
            Moment(1, labels=QUEUE),
            Moment(60, queued(spec__managedBy="kueue.x-k8s.io/multikueue"), labels=QUEUE),
            Moment(
                7200,
                queued(complete(7100), spec__managedBy="kueue.x-k8s.io/multikueue"),
                labels=QUEUE,
            ),
        ),
        "Pending",
        "QueueNotSupported",
    ),
    "its Job is done, and no pod of it was ever here": Scenario(
        (Moment(1, labels=QUEUE), Moment(7200, queued(complete(7100)), labels=QUEUE)),
        "Pending",
        "QueueNotSupported",
        "its Job is complete, and no pod of it was ever seen in this cluster: if queue speech sends Jobs to another",
    ),
    "its Job names the controller that every cluster has": Scenario(
        (CREATED, Moment(60, job(spec__managedBy="kubernetes.io/job-controller"), (running(2, 5),))),
        "Preparing",
        "Preparing",
    ),
    "Kueue took it back, and its pod is ending": Scenario(
        (
            Moment(1, labels=QUEUE),
            Moment(60, queued(), (running(2, 5),), progress(40), labels=QUEUE),
            Moment(61, queued(spec__suspend=True), (running(2, 5, deleted=True),), labels=QUEUE),
        ),
        "Training",
        "Suspending",
        "its Job was suspended, by Kueue or by hand",
        rechecks=True,
    ),
    "Kueue took it back, and gave it back before its pod had ended": Scenario(
        (
            Moment(1, spec={"retries": 0}, labels=QUEUE),
            Moment(60, queued(), (running(2, 5),), progress(40), spec={"retries": 0}, labels=QUEUE),
            Moment(
                70,
                queued(status__startTime=time(65)),
                (ended(2, 5, 69, 137, deleted=True),),
                spec={"retries": 0},
                labels=QUEUE,
            ),
        ),
        "Pending",
        "Retrying",
        "costs no retry",
        ("allow 0",),
        True,
    ),
    "Kueue took it back, and its result came first": Scenario(
        (
            Moment(1, labels=QUEUE),
            Moment(60, queued(), (running(2, 5),), progress(40), labels=QUEUE),
            Moment(70, queued(spec__suspend=True), (ended(2, 5, 69, 0, DONE, deleted=True),), labels=QUEUE),
        ),
        "Succeeded",
        "Succeeded",
        actions=("delete",),
    ),
    **{
        f"Kueue took it back, and its pod ended with {code}": Scenario(
            (
                Moment(1, spec={"retries": 0}, labels=QUEUE),
                Moment(
                    70,
                    queued(spec__suspend=True, spec__backoffLimit=0),
                    (ended(2, 5, 69, code, "no JSON", deleted=True),),
                    spec={"retries": 0},
                    labels=QUEUE,
                ),
            ),
            "Queued",
            "WaitingForQuota",
            actions=("ask Kueue",),
            rechecks=True,
        )
        for code in (0, 1, 65, 137)
    },
    "broken data, and then its Job is suspended": Scenario(
        (
            Moment(1, labels=QUEUE),
            Moment(70, queued(spec__suspend=True), (ended(2, 5, 69, 65),), labels=QUEUE),
        ),
        "Pending",
        "Ending",
        "exit code 65",
        ("delete",),
    ),
    "Kueue took it back, and its pod has ended": Scenario(
        (
            Moment(1, labels=QUEUE),
            Moment(60, queued(), (running(2, 5),), progress(40), labels=QUEUE),
            Moment(70, queued(spec__suspend=True), (ended(2, 5, 69, 75, deleted=True),), labels=QUEUE),
        ),
        "Queued",
        "WaitingForQuota",
        actions=("ask Kueue",),
        rechecks=True,
    ),
    "runtime unknown": Scenario(
        (Moment(1, spec={"runtime": "tpu"}),), "Pending", "RuntimeNotFound", "offered here: cpu, gpu"
    ),
    "IPUs on the admin's default": Scenario(
        (Moment(1, spec={"ipus": 4}),), "Pending", "RuntimeNotFound", "runtime cpu has no IPUs"
    ),
    "IPUs on a named runtime without": Scenario(
        (Moment(1, spec={"ipus": 4, "runtime": "cpu"}),), "Failed", "InvalidSpec", "runtime cpu has no IPUs"
    ),
    "queue label on a pool": Scenario(
        (Moment(1, spec={"ipus": 4, "runtime": "pod16"}, labels=QUEUE),), "Pending", "QueueNotSupported", "own queue"
    ),
    "one key from two Secrets": Scenario(
        (Moment(1, spec=KEY_TWICE),), "Failed", "InvalidSpec", "HF_TOKEN is taken from more than one Secret"
    ),
    "a pod at work is not ended for what its spec must not be": Scenario(
        (CREATED, JOB, TRAINING, Moment(61, job(), TRAINING.pods, progress(41), spec=KEY_TWICE)), "Training", "Training"
    ),
    # versions that meet: a CRD that is newer than this operator
    "spec with a word that is not known": Scenario(
        (Moment(1, spec={"language": "xx"}),), "Pending", "VersionMismatch", "older than the CRD, or of another version"
    ),
    "spec with a field that is not known": Scenario(
        (Moment(1, spec=LATER_SPEC),), "Pending", "VersionMismatch", "spec.training.weightDecay: it does not know this"
    ),
    "a pod at work is not ended for a spec that is not understood": Scenario(
        (CREATED, JOB, TRAINING, Moment(61, job(), TRAINING.pods, progress(41), spec=LATER_SPEC)),
        "Training",
        "Training",
    ),
    "its result is taken for a spec that is not understood": Scenario(
        (CREATED, JOB, Moment(101, job(complete(100)), (ended(2, 5, 99, 0, DONE),), spec={"language": "xx"})),
        "Succeeded",
        "Succeeded",
    ),
    "no further attempt is made for a spec that is not understood": Scenario(
        (CREATED, JOB, TRAINING, Moment(70, spec=LATER_SPEC)), "Pending", "VersionMismatch"
    ),
    "suspended with a spec that is not understood": Scenario(
        (CREATED, JOB, TRAINING, Moment(61, job(), TRAINING.pods, spec={**LATER_SPEC, "suspend": True}, generation=2)),
        "Training",
        "Suspending",
        actions=("delete",),
    ),
    # versions that meet: trainers that are newer or older
    "a result says more than is known": Scenario(
        (CREATED, JOB, Moment(101, job(complete(100)), (ended(2, 5, 99, 0, {**DONE, "colour": "red"}),))),
        "Succeeded",
        "Succeeded",
    ),
    "a result in a later contract is kept for a newer operator": Scenario(
        (CREATED, JOB, Moment(4000, job(complete(100)), (ended(2, 5, 99, 0, {**DONE, "contract": CONTRACT + 1}),))),
        "Pending",
        "VersionMismatch",
        "upgrade the operator",
    ),
    "its trainer is too old": Scenario(
        (CREATED, JOB, Moment(8, job(job_failed(7, "PodFailurePolicy", _MATCHED)), (TOO_OLD,))),
        "Pending",
        "VersionMismatch",
        "it knows no weightDecay",
        rechecks=True,
    ),
    "its trainer is too old, and its pod is gone": Scenario(
        (CREATED, JOB, Moment(80, job(job_failed(7, "PodFailurePolicy", _MATCHED)))),
        "Pending",
        "VersionMismatch",
        rechecks=True,
    ),
    "its trainer was too old ten minutes ago": Scenario(
        (CREATED, JOB, Moment(608, job(job_failed(7, "PodFailurePolicy", _MATCHED)), (TOO_OLD,))),
        "Pending",
        "VersionMismatch",
        actions=("delete",),
    ),
    "its trainer was too old, and a proxy runs on": Scenario(
        (CREATED, JOB, Moment(60, job(), (not_yet_over(TOO_OLD, beside="istio-proxy"),))),
        "Pending",
        "VersionMismatch",
        "it knows no weightDecay",
        rechecks=True,
    ),
    "its trainer was too old ten minutes ago, and a proxy runs on": Scenario(
        (CREATED, JOB, Moment(606, job(), (not_yet_over(TOO_OLD, beside="istio-proxy"),))),
        "Pending",
        "VersionMismatch",
        actions=("delete",),
    ),
    "its trainer is of contract 0 and too old": Scenario(
        (CREATED, JOB, Moment(8, job(job_failed(7, "PodFailurePolicy", _MATCHED_64)), (OF_CONTRACT_0,))),
        "Pending",
        "VersionMismatch",
        "Extra inputs are not permitted",
        rechecks=True,
    ),
    "its trainer is too old for a Job of an earlier operator": Scenario(
        (CREATED, JOB, Moment(8, job(job_failed(7)), (TOO_OLD,), spec={"retries": 0})),
        "Pending",
        "VersionMismatch",
        rechecks=True,
    ),
    # never two at work
    "Job deleted by hand, and its pod is ending": Scenario(
        (CREATED, JOB, TRAINING, Moment(61, None, (running(2, 5, deleted=True),))),
        "Training",
        "Retrying",
        "the next attempt starts when pod",
        rechecks=True,
    ),
    "Job deleted by hand, and its pod was orphaned": Scenario(
        (CREATED, JOB, TRAINING, Moment(61, None, (running(2, 5, job_uid=None),))), "Training", "Retrying"
    ),
    "Job deleted by hand, and its pod has ended": Scenario(
        (CREATED, JOB, TRAINING, Moment(70, None, (ended(2, 5, 69, 75, deleted=True),))),
        "Pending",
        "Retrying",
        actions=("create again",),
    ),
    "Job deleted by hand, and its pod is gone": Scenario(
        (CREATED, JOB, TRAINING, Moment(70)), "Pending", "Pending", actions=("create again",)
    ),
    "Job being deleted by hand": Scenario(
        (CREATED, JOB, TRAINING, Moment(61, job(metadata__deletionTimestamp="2026-11-22T10:01:01Z"))),
        "Pending",
        "Pending",
    ),
    # a node that does not answer
    "its node does not answer": Scenario(
        (CREATED, JOB, TRAINING, LOST),
        "Unknown",
        "NodeUnreachable",
        f"node worker-3 of pod {CHILD}-00002 does not answer since 2026-11-22T10:01:30Z: it may still run there",
    ),
    "its node answers again": Scenario((CREATED, JOB, TRAINING, LOST, TRAINING), "Training", "Training"),
    "its node does not answer, and its pod is told to end": Scenario(
        (CREATED, JOB, TRAINING, Moment(200, job(), (unready(running(2, 5, deleted=True)),))),
        "Unknown",
        "NodeUnreachable",
    ),
    "its pod was to end long ago": Scenario(
        (CREATED, JOB, TRAINING, Moment(90000, job(), (on_node(running(2, 5, deleted=True)),), progress(40))),
        "Unknown",
        "NodeUnreachable",
        "was to end by 2026-11-22T10:05:02Z and has not, so node worker-3 does not seem to answer",
    ),
    "its pod was to end just now": Scenario(
        (CREATED, JOB, TRAINING, Moment(340, job(), (on_node(running(2, 5, deleted=True)),), progress(40))),
        "Training",
        "Training",
        "which was told to end by 2026-11-22T10:05:02Z and saves a checkpoint",
        rechecks=True,
    ),
    "a gate of its pod is not ready": Scenario(
        (
            CREATED,
            JOB,
            Moment(60, job(), (unready(running(2, 5), reason="ReadinessGatesNotReady"),), progress(40)),
        ),
        "Training",
        "Training",
    ),
    "suspended, and its node does not answer": Scenario(
        (
            CREATED,
            JOB,
            TRAINING,
            Moment(
                90000,
                job(metadata__deletionTimestamp=time(100)),
                (on_node(running(2, 5, deleted=True)),),
                spec={"suspend": True},
                generation=2,
            ),
        ),
        "Unknown",
        "NodeUnreachable",
        "worker-3",
    ),
    "suspended just now, and its node does not answer": Scenario(
        (CREATED, JOB, TRAINING, LOST._replace(spec={"suspend": True}, generation=2)),
        "Unknown",
        "NodeUnreachable",
        actions=("delete",),
    ),
    "deadline over, and its node does not answer": Scenario(
        (CREATED, JOB, TRAINING, LOST._replace(spec={"activeDeadlineSeconds": 90})),
        "Unknown",
        "NodeUnreachable",
        actions=("end",),
    ),
    "Job deleted by hand, and its node does not answer": Scenario(
        (CREATED, JOB, TRAINING, LOST._replace(job=None)), "Unknown", "NodeUnreachable", "nothing else of this run"
    ),
    # a trainer that does not answer
    "nothing answers yet": Scenario(
        (CREATED, JOB, PREPARING, PREPARING._replace(seconds=30, silent=15)), "Preparing", "Preparing", rechecks=True
    ),
    "nothing answers for long": Scenario(
        (CREATED, JOB, PREPARING, UNHEARD),
        "Running",
        "Running",
        f"pod {CHILD}-00002 runs, and has not told its progress since 2026-11-22T10:00:15Z: a NetworkPolicy",
    ),
    "nothing answers, and the operator has just started": Scenario(
        (CREATED, JOB, PREPARING, UNHEARD, PREPARING._replace(seconds=300)), "Running", "Running", "has not told"
    ),
    "nothing answers, and the operator has asked once": Scenario(
        (CREATED, JOB, PREPARING, UNHEARD, PREPARING._replace(seconds=310, silent=305)),
        "Running",
        "Running",
        rechecks=True,
    ),
    "nothing answers any more": Scenario(
        (CREATED, JOB, PREPARING, TRAINING, TRAINING._replace(seconds=300, silent=75)), "Running", "Running"
    ),
    "it answers after all": Scenario(
        (CREATED, JOB, PREPARING, UNHEARD, TRAINING._replace(seconds=400)), "Training", "Training"
    ),
    "nothing answers, and it ends well": Scenario(
        (CREATED, JOB, PREPARING, UNHEARD, Moment(400, job(), (ended(2, 5, 399, 0, DONE),))), "Succeeded", "Succeeded"
    ),
    "nothing answers for long, and the operator that has just started was not answered yet": Scenario(
        (
            CREATED,
            JOB,
            PREPARING,
            UNHEARD,
            PREPARING._replace(seconds=210),
            PREPARING._replace(seconds=230, silent=225),
        ),
        "Running",
        "Running",
        "has not told its progress since 2026-11-22T10:00:15Z",
        rechecks=True,
    ),
    # training that stands still, on a runtime that tells it after ten minutes
    "a step not long ago": Scenario(
        (GPU, GPU_TRAINING, GPU_TRAINING._replace(seconds=650, changed=60)), "Training", "Training", rechecks=True
    ),
    "no step for long": Scenario(
        (GPU, GPU_TRAINING, GPU_TRAINING._replace(seconds=660, changed=60)),
        "Training",
        "NoProgress",
        "step 40 of 100 since 2026-11-22T10:01:00Z; that ends nothing",
    ),
    "no step for long, and one question is not answered": Scenario(
        (
            GPU,
            GPU_TRAINING,
            GPU_TRAINING._replace(seconds=660, changed=60),
            GPU_TRAINING._replace(seconds=675, changed=60, silent=674),
        ),
        "Training",
        "NoProgress",
        "since 2026-11-22T10:01:00Z",
        rechecks=True,
    ),
    "no step for long, and the operator has just started": Scenario(
        (
            GPU,
            GPU_TRAINING,
            GPU_TRAINING._replace(seconds=660, changed=60),
            GPU_TRAINING._replace(seconds=670, report=None),
        ),
        "Training",
        "NoProgress",
    ),
    "no step for long, by what another operator wrote": Scenario(
        (GPU, GPU_TRAINING, GPU_TRAINING._replace(seconds=670)), "Training", "NoProgress", "since 2026-11-22T10:01:00Z"
    ),
    "a step after long": Scenario(
        (
            GPU,
            GPU_TRAINING,
            GPU_TRAINING._replace(seconds=660, changed=60),
            GPU_TRAINING._replace(seconds=700, changed=700, report=progress(41)),
        ),
        "Training",
        "Training",
        rechecks=True,
    ),
    "steps of the same percent": Scenario(
        (GPU, GPU_TRAINING, GPU_TRAINING._replace(seconds=670, changed=665)), "Training", "Training", rechecks=True
    ),
    "a long evaluation": Scenario(
        (GPU, GPU_TRAINING._replace(report=progress(40, stage="Evaluating")), LONG_EVALUATION),
        "Evaluating",
        "Evaluating",
    ),
    "a long evaluation is over, and the operator has just started": Scenario(
        (GPU, GPU_TRAINING, evaluating(70, 19), GPU_TRAINING._replace(seconds=700)),
        "Training",
        "Training",
        rechecks=True,
    ),
    "a long evaluation whose stage this operator does not know": Scenario(
        (
            GPU,
            GPU_TRAINING,
            evaluating(70, 1, stage=None),
            evaluating(700, 1, stage=None)._replace(changed=70),
        ),
        "Training",
        "Training",
    ),
    "a long compilation before the first step": Scenario(
        (GPU, COMPILING, COMPILING._replace(seconds=9000)), "Training", "Training"
    ),
    "no step for long, on a runtime that tells none": Scenario(
        (CREATED, JOB, TRAINING, TRAINING._replace(seconds=90000, changed=60)), "Training", "Training"
    ),
    # suspending and resuming
    "suspended before it was seen": Scenario((Moment(1, spec={"suspend": True}),), "Suspended", "Suspended"),
    "suspended at work": Scenario(
        (CREATED, JOB, TRAINING, Moment(61, job(), TRAINING.pods, spec={"suspend": True}, generation=2)),
        "Training",
        "Suspending",
        "saving a checkpoint",
        ("delete",),
    ),
    "suspended before its pod has begun": Scenario(
        (CREATED, JOB, POD, Moment(61, job(), POD.pods, spec={"suspend": True}, generation=2)),
        "Pending",
        "Suspending",
        "its pod is ending",
        ("delete",),
    ),
    "suspended, and its pod is ending": Scenario(
        (
            CREATED,
            JOB,
            TRAINING,
            Moment(
                62,
                job(metadata__deletionTimestamp="2026-11-22T10:01:01Z"),
                (running(2, 5, deleted=True),),
                spec={"suspend": True},
                generation=2,
            ),
        ),
        "Training",
        "Suspending",
        rechecks=True,
    ),
    "suspended, and its pod has ended": Scenario(
        (
            CREATED,
            JOB,
            TRAINING,
            Moment(70, None, (ended(2, 5, 69, 75, deleted=True),), spec={"suspend": True}, generation=2),
        ),
        "Suspended",
        "Suspended",
        "set spec.suspend to false",
    ),
    "suspended, and its result came first": Scenario(
        (CREATED, JOB, TRAINING, Moment(70, job(), (ended(2, 5, 69, 0, DONE),), spec={"suspend": True}, generation=2)),
        "Succeeded",
        "Succeeded",
    ),
    "resumed": Scenario(
        (CREATED, JOB, TRAINING, Moment(70, spec={"suspend": True}, generation=2), Moment(90, generation=3)),
        "Pending",
        "Pending",
        actions=("create again",),
    ),
    "resumed before its pod has ended": Scenario(
        (
            CREATED,
            JOB,
            TRAINING,
            Moment(62, None, (running(2, 5, deleted=True),), spec={"suspend": True}, generation=2),
            Moment(63, None, (running(2, 5, deleted=True),), generation=3),
        ),
        "Training",
        "Retrying",
        "when pod",
        rechecks=True,
    ),
}
