"""Stories of runs on IPUs: on a pool of partitions, through Graphcore's IPU operator, and with impossible wishes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from run_objects import (
    CHILD,
    DONE,
    RUNTIMES,
    START,
    at,
    complete,
    ended,
    failure,
    ipu_job,
    job,
    job_failed,
    lease,
    not_yet_over,
    running,
    waiting,
)
from run_scenarios import QUEUE, Moment, Scenario, unready
from whisper_finetune_operator.partitions.partition_leases import PARTITION_ID_ANNOTATION, PARTITION_LABEL
from whisper_finetune_operator.partitions.partition_queue import Lines, PartitionQueue, QueuedRun, line_up
from whisper_finetune_operator.partitions.pools import Partitions
from whisper_finetune_operator.workloads.job_kind import FAILED_BEFORE_ANNOTATION
from whisper_finetune_operator.world import Refusal

SMALL = "openai/whisper-small"
POOLED = next(runtime.partitions for runtime in RUNTIMES.runtimes if runtime.partitions)
P4A, P4B, P8 = POOLED.members
ON_POOL = {"model": SMALL, "runtime": "pod16", "ipus": 4}
AS_IPU_JOB = {"model": SMALL, "runtime": "eidf", "ipus": 4}
FREE = PartitionQueue(inventory=RUNTIMES.inventory)
ALL_TAKEN = replace(FREE, taken=RUNTIMES.inventory.names)
HELD = (lease(P4A),)
#: The run with its Job on p4a, started.
PARTITION = {
    "metadata__labels": {PARTITION_LABEL: P4A.lease_name},
    "metadata__annotations": {FAILED_BEFORE_ANNOTATION: "0", PARTITION_ID_ANNOTATION: P4A.id},
}


def older(*ipus: int, pool: Partitions = POOLED) -> Lines:
    """Return runs that wait since before this one was made."""
    return line_up(
        QueuedRun(
            f"older-{place}", (START - timedelta(hours=1), "speech", f"older-{place}"), number, pool.fitting(number)
        )
        for place, number in enumerate(ipus)
    )


def on_pool(seconds: float, *arguments: Any, spec: dict[str, Any] | None = None, **options: Any) -> Moment:
    return Moment(seconds, *arguments, spec={**ON_POOL, **(spec or {})}, **options)


def as_ipu_job(seconds: float, *arguments: Any, spec: dict[str, Any] | None = None, **options: Any) -> Moment:
    return Moment(seconds, *arguments, spec={**AS_IPU_JOB, **(spec or {})}, **options)


def one_stopped(seconds: float, job_uid: str) -> dict[str, Any]:
    """Return a pod that was stopped from outside just then."""
    return ended(seconds - 50, seconds - 49, seconds - 1, 75, job_uid=job_uid)


def worker(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod as the one of the run's IPUJob."""
    return {**pod, "metadata": {**pod["metadata"], "name": f"{CHILD}-worker-0"}}


MADE, HAS_IT = on_pool(1), on_pool(2, leases=HELD)
STARTED = on_pool(5, job(**PARTITION), (running(3, 4),), leases=HELD)
OVER = (ended(3, 4, 50, 0, DONE),)
IPU_JOB = as_ipu_job(2, ipu_job())
WORKER = worker(running(3, 4, job_uid="ipu-job-1"))
AT_WORK = as_ipu_job(5, ipu_job(), (WORKER,))


STOPPED = (
    MADE,
    *(
        on_pool(at, job(uid=f"job-{at}", **PARTITION), (one_stopped(at, f"job-{at}"),), leases=HELD)
        for at in (60, 120, 180)
    ),
)


def ended_worker(created: float, code: int, says: Any = "", **options: Any) -> dict[str, Any]:
    return worker(ended(created, created + 1, created + 47, code, says, job_uid="ipu-job-1", **options))


POOL_SCENARIOS: dict[str, Scenario] = {
    "pool: its turn": Scenario((MADE,), "Pending", "Pending", actions=("take p4a",)),
    "pool: its turn on the larger one": Scenario(
        (on_pool(1, queue=PartitionQueue({}, frozenset({P4A.lease_name, P4B.lease_name}))),),
        "Pending",
        "Pending",
        actions=("take p8",),
    ),
    "pool: an older one goes first": Scenario(
        (on_pool(1, queue=PartitionQueue(older(4), frozenset({P4B.lease_name, P8.lease_name}))),),
        "Queued",
        "WaitingForPartition",
        "1st of 1 waiting for 4 IPUs",
    ),
    "pool: an older one cannot use what is free": Scenario(
        (on_pool(1, queue=PartitionQueue(older(8), frozenset({P4B.lease_name, P8.lease_name}))),),
        "Pending",
        "Pending",
        actions=("take p4a",),
    ),
    "pool: all taken": Scenario(
        (on_pool(1, queue=PartitionQueue(older(4, 8, 4), ALL_TAKEN.taken)),),
        "Queued",
        "WaitingForPartition",
        "4th of 4 waiting for 4 IPUs",
    ),
    "pool: it has a partition": Scenario((MADE, HAS_IT), "Pending", "Pending", actions=("create again",)),
    "pool: its Job was made suspended": Scenario(
        (MADE, HAS_IT, on_pool(3, job(spec__suspend=True, status={}, **PARTITION), leases=HELD)),
        "Pending",
        "Pending",
        actions=("start",),
    ),
    "pool: somebody suspended its Job": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(60, job(spec__suspend=True, **PARTITION), leases=HELD)),
        "Queued",
        "WaitingForQuota",
        "somebody suspended its Job",
        rechecks=True,
    ),
    "pool: its Job is started": Scenario((MADE, HAS_IT, STARTED), "Preparing", "Preparing"),
    "pool: a late leader made its Job for a partition that it lost": Scenario(
        (MADE, on_pool(3, job(spec__suspend=True, **PARTITION), leases=(lease(P4B),))),
        "Pending",
        "Retrying",
        "does not have",
        ("give back " + P4B.lease_name, "delete"),
    ),
    "pool: a late leader took a second one": Scenario(
        (MADE, HAS_IT, on_pool(5, job(**PARTITION), (running(3, 4),), leases=(*HELD, lease(P8, uid="lease-2")))),
        "Preparing",
        "Preparing",
        actions=("give back " + P8.lease_name,),
    ),
    "pool: two, and no Job yet": Scenario(
        (MADE, on_pool(2, leases=(*HELD, lease(P8, uid="lease-2")))),
        "Pending",
        "Pending",
        actions=("give back " + P8.lease_name, "create again"),
    ),
    "pool: somebody deleted the Lease of a Job at work": Scenario(
        (MADE, HAS_IT, on_pool(5, job(**PARTITION), (running(3, 4),), queue=FREE)),
        "Preparing",
        "Retrying",
        actions=("take p4a",),
    ),
    "pool: and no pool has the partition any more": Scenario(
        (MADE, HAS_IT, on_pool(5, job(**PARTITION), (running(3, 4),))), "Preparing", "Retrying", actions=("delete",)
    ),
    "pool: and somebody else has it": Scenario(
        (MADE, HAS_IT, on_pool(5, job(**PARTITION), (running(3, 4),), queue=ALL_TAKEN)),
        "Preparing",
        "Retrying",
        actions=("delete",),
    ),
    "pool: kept between attempts": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(60, job(**PARTITION), (ended(3, 4, 50, 1),), leases=HELD)),
        "Pending",
        "Retrying",
        actions=("look",),
        rechecks=True,
    ),
    "pool: kept when its Job is deleted by hand": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(60, None, (ended(3, 4, 50, 75, deleted=True),), leases=HELD)),
        "Pending",
        "Retrying",
        actions=("create again",),
    ),
    "pool: result, before the Job knows": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(60, job(**PARTITION), OVER, leases=HELD)), "Succeeded", "Succeeded"
    ),
    "pool: its trainer is done, and a proxy keeps its partition": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(90, job(**PARTITION), (not_yet_over(OVER[0], beside="p"),), leases=HELD)),
        "Succeeded",
        "Succeeded",
        actions=("end",),
    ),
    "pool: its proxy was ended": Scenario(
        (
            MADE,
            HAS_IT,
            STARTED,
            on_pool(90, job(**PARTITION), (not_yet_over(OVER[0], beside="p"),), leases=HELD),
            on_pool(95, job(job_failed(95, "DeadlineExceeded"), **PARTITION), OVER, leases=HELD),
        ),
        "Succeeded",
        "Succeeded",
        actions=("give back " + P4A.lease_name,),
    ),
    "pool: its node does not answer": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(100, job(**PARTITION), (unready(running(3, 4)),), leases=HELD)),
        "Unknown",
        "NodeUnreachable",
    ),
    "pool: stopped from outside": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(60, job(**PARTITION), (ended(3, 4, 50, 75),), leases=HELD)),
        "Pending",
        "Retrying",
        actions=("delete",),
        rechecks=True,
    ),
    "pool: stopped again and again in vain": Scenario(
        (*STOPPED, on_pool(235, leases=HELD)),
        "Pending",
        "Interrupted",
        actions=("give back " + P4A.lease_name,),
        rechecks=True,
    ),
    "pool: stopped again and again in vain, and joins the queue again": Scenario(
        (*STOPPED, on_pool(240), on_pool(320, queue=ALL_TAKEN)), "Queued", "WaitingForPartition"
    ),
    "pool: finished": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(60, job(complete(51), **PARTITION), OVER, leases=HELD)),
        "Succeeded",
        "Succeeded",
        actions=("give back " + P4A.lease_name,),
    ),
    "pool: failed": Scenario(
        (
            MADE,
            HAS_IT,
            STARTED,
            on_pool(
                60,
                job(job_failed(51, "PodFailurePolicy"), **PARTITION),
                (ended(3, 4, 50, 65, failure("DatasetInvalid", "too few clips")),),
                leases=HELD,
            ),
        ),
        "Failed",
        "DatasetInvalid",
        actions=("give back " + P4A.lease_name,),
    ),
    "pool: finished, and its Job is gone": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(60, job(**PARTITION), OVER, leases=HELD), on_pool(70, leases=HELD)),
        "Succeeded",
        "Succeeded",
        actions=("give back " + P4A.lease_name,),
    ),
    "pool: finished, and a pod on a node that does not answer": Scenario(
        (
            MADE,
            HAS_IT,
            STARTED,
            on_pool(60, job(**PARTITION), OVER, leases=HELD),
            on_pool(70, job(complete(51), **PARTITION), (*OVER, running(30, 31, deleted=True)), leases=HELD),
        ),
        "Succeeded",
        "Succeeded",
    ),
    "pool: suspended, and its pod is ending": Scenario(
        (
            MADE,
            HAS_IT,
            STARTED,
            on_pool(60, None, (running(3, 4, deleted=True),), leases=HELD, spec={"suspend": True}, generation=2),
        ),
        "Preparing",
        "Suspending",
        rechecks=True,
    ),
    "pool: suspended": Scenario(
        (
            MADE,
            HAS_IT,
            STARTED,
            on_pool(60, None, (ended(3, 4, 50, 75, deleted=True),), leases=HELD, spec={"suspend": True}, generation=2),
        ),
        "Suspended",
        "Suspended",
        actions=("give back " + P4A.lease_name,),
    ),
    "pool: being deleted, and its pod is ending": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(60, None, (running(3, 4, deleted=True),), leases=HELD, deleted=True)),
        "Preparing",
        "Preparing",
    ),
    "pool: being deleted, and nothing is left": Scenario(
        (MADE, HAS_IT, STARTED, on_pool(60, leases=HELD, deleted=True)),
        "Preparing",
        "Preparing",
        actions=("give back " + P4A.lease_name,),
    ),
    "pool: what it has is too small by now": Scenario(
        (on_pool(2, leases=HELD, spec={"ipus": 8}, queue=PartitionQueue({}, frozenset({P4A.lease_name}))),),
        "Pending",
        "Pending",
        actions=("give back " + P4A.lease_name, "take p8"),
    ),
}

#: The Secret of its pod is missing, for five minutes and more.
NO_SECRET = (waiting(3, "CreateContainerConfigError", 'secret "hub" not found'),)
REFUSED_POD = on_pool(60, job(**PARTITION), NO_SECRET, leases=HELD)
TOO_LONG = on_pool(310, job(**PARTITION), NO_SECRET, leases=HELD)
GOING = on_pool(311, job(metadata__deletionTimestamp="2026-11-22T10:05:10Z", **PARTITION), NO_SECRET, leases=HELD)
GONE = on_pool(315, leases=HELD)
OUT_OF_QUEUE = on_pool(320)

PATIENCE_SCENARIOS: dict[str, Scenario] = {
    "patience: a pod that cannot start": Scenario(
        (MADE, HAS_IT, REFUSED_POD), "Pending", "SecretNotFound", "create the Secret", rechecks=True
    ),
    "patience: for too long": Scenario(
        (MADE, HAS_IT, REFUSED_POD, TOO_LONG),
        "Pending",
        "SecretNotFound",
        "its partition is given back, and it joins the queue again at 2026-11-22T10:10:10Z: create the Secret",
        ("delete",),
        rechecks=True,
    ),
    "patience: its Job is going": Scenario(
        (MADE, HAS_IT, REFUSED_POD, TOO_LONG, GOING), "Pending", "SecretNotFound", "given back", rechecks=True
    ),
    "patience: the operator died before it deleted the Job": Scenario(
        (MADE, HAS_IT, REFUSED_POD, TOO_LONG, on_pool(330, job(**PARTITION), NO_SECRET, leases=HELD)),
        "Pending",
        "SecretNotFound",
        "given back",
        ("delete",),
        rechecks=True,
    ),
    "patience: nothing is left of it": Scenario(
        (MADE, HAS_IT, REFUSED_POD, TOO_LONG, GOING, GONE),
        "Pending",
        "SecretNotFound",
        "given back",
        ("give back " + P4A.lease_name,),
        rechecks=True,
    ),
    "patience: out of the queue": Scenario(
        (MADE, HAS_IT, REFUSED_POD, TOO_LONG, GOING, GONE, OUT_OF_QUEUE),
        "Pending",
        "SecretNotFound",
        "given back",
        rechecks=True,
    ),
    "patience: in the queue again": Scenario(
        (MADE, HAS_IT, REFUSED_POD, TOO_LONG, GOING, GONE, OUT_OF_QUEUE, on_pool(611, queue=ALL_TAKEN)),
        "Queued",
        "WaitingForPartition",
        "1st of 1",
    ),
    "patience: its turn again": Scenario(
        (MADE, HAS_IT, REFUSED_POD, TOO_LONG, GOING, GONE, OUT_OF_QUEUE, on_pool(611)),
        "Pending",
        "Pending",
        actions=("take p4a",),
    ),
    "patience: the Secret came just then": Scenario(
        (MADE, HAS_IT, REFUSED_POD, TOO_LONG, on_pool(320, job(**PARTITION), (running(3, 315),), leases=HELD)),
        "Preparing",
        "Preparing",
    ),
    "patience: suspended, and resumed at once": Scenario(
        (
            MADE,
            HAS_IT,
            REFUSED_POD,
            TOO_LONG,
            on_pool(320, spec={"suspend": True}, generation=2),
            on_pool(325, generation=3, queue=ALL_TAKEN),
        ),
        "Queued",
        "WaitingForPartition",
        "1st of 1",
    ),
    "patience: the cluster refuses the pod": Scenario(
        (MADE, HAS_IT, on_pool(310, job(**PARTITION), refusal=Refusal("restricted", at(9)), leases=HELD)),
        "Pending",
        "PodRefused",
        "given back",
        ("delete",),
        rechecks=True,
    ),
    "patience: the cluster refuses the Job": Scenario(
        (MADE, HAS_IT, on_pool(310, refusal=Refusal("exceeded quota", at(300)), leases=HELD)),
        "Pending",
        "PodRefused",
        "given back",
        ("give back " + P4A.lease_name,),
        rechecks=True,
    ),
    "patience: an image that takes its time": Scenario(
        (MADE, HAS_IT, on_pool(3500, job(**PARTITION), (waiting(3, "ContainerCreating", ""),), leases=HELD)),
        "Pending",
        "Pending",
        rechecks=True,
    ),
    "patience: a pod of which nothing is known": Scenario(
        (MADE, HAS_IT, on_pool(3602, job(**PARTITION), (waiting(3, "ContainerCreating", ""),), leases=HELD)),
        "Pending",
        "Pending",
        "given back",
        ("delete",),
        rechecks=True,
    ),
    "patience: it counts from the end of the attempt before": Scenario(
        (
            MADE,
            HAS_IT,
            STARTED,
            on_pool(
                400,
                job(**PARTITION),
                (ended(3, 4, 350, 1), waiting(361, "ImagePullBackOff", "no such image")),
                leases=HELD,
            ),
        ),
        "Pending",
        "ImagePullFailed",
        rechecks=True,
    ),
    "patience: somebody has the name of its Job": Scenario(
        (MADE, HAS_IT, on_pool(3, job(owner="somebody"), leases=HELD)),
        "Pending",
        "NameConflict",
        actions=("give back " + P4A.lease_name,),
        rechecks=True,
    ),
}

IPU_JOB_SCENARIOS: dict[str, Scenario] = {
    "IPUJob: new": Scenario((as_ipu_job(1),), "Pending", "Pending", actions=("create",)),
    "IPUJob: no pod yet": Scenario((as_ipu_job(1), IPU_JOB), "Pending", "Pending", "IPU operator has not made"),
    "IPUJob: no pod yet, and its controller says why": Scenario(
        (as_ipu_job(1), as_ipu_job(2, ipu_job(status={"lastMessage": "no free IPUs"}))),
        "Pending",
        "Pending",
        "yet: no free IPUs",
    ),
    "IPUJob: at work": Scenario((as_ipu_job(1), IPU_JOB, AT_WORK), "Preparing", "Preparing"),
    "IPUJob: result": Scenario(
        (as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(60, ipu_job(), (ended_worker(3, 0, DONE),))),
        "Succeeded",
        "Succeeded",
    ),
    "IPUJob: result of a pod that names no owner": Scenario(
        (as_ipu_job(1), as_ipu_job(60, ipu_job(), (worker(ended(3, 4, 50, 0, DONE, job_uid=None)),))),
        "Succeeded",
        "Succeeded",
    ),
    "IPUJob: its trainer is done, and a proxy runs on": Scenario(
        (
            as_ipu_job(1),
            IPU_JOB,
            AT_WORK,
            as_ipu_job(90, ipu_job(), (not_yet_over(ended_worker(3, 0, DONE), beside="p"),)),
        ),
        "Succeeded",
        "Succeeded",
        actions=("delete",),
    ),
    "IPUJob: its trainer failed, and a proxy runs on": Scenario(
        (as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(90, ipu_job(), (not_yet_over(ended_worker(3, 1), beside="p"),))),
        "Pending",
        "Retrying",
        "other containers run on: p",
        ("delete",),
    ),
    "IPUJob: failed once": Scenario(
        (as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(60, ipu_job(), (ended_worker(3, 1),))),
        "Pending",
        "Retrying",
        "retries left: 2",
        ("delete",),
    ),
    "IPUJob: stopped with a checkpoint": Scenario(
        (as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(60, ipu_job(), (ended_worker(3, 75),))),
        "Pending",
        "Retrying",
        "costs no retry",
        ("delete",),
    ),
    "IPUJob: IPUs in use for too long": Scenario(
        (
            as_ipu_job(1),
            IPU_JOB,
            AT_WORK,
            as_ipu_job(60, ipu_job(), (ended_worker(3, 69, failure("AcceleratorUnavailable", "in use")),)),
        ),
        "Pending",
        "AcceleratorUnavailable",
        "in use; retries left: 2",
        ("delete",),
    ),
    "IPUJob: final": Scenario(
        (
            as_ipu_job(1),
            IPU_JOB,
            AT_WORK,
            as_ipu_job(60, ipu_job(), (ended_worker(3, 65, failure("DatasetInvalid", "too few clips")),)),
        ),
        "Failed",
        "DatasetInvalid",
        "too few clips",
    ),
    "IPUJob: the one before is going": Scenario(
        (
            as_ipu_job(1),
            IPU_JOB,
            AT_WORK,
            as_ipu_job(60, ipu_job(), (ended_worker(3, 1),)),
            as_ipu_job(61, ipu_job(metadata__deletionTimestamp="2026-11-22T10:01:00Z"), (ended_worker(3, 1),)),
        ),
        "Pending",
        "Retrying",
    ),
    "IPUJob: the next one": Scenario(
        (as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(60, ipu_job(), (ended_worker(3, 1),)), as_ipu_job(62)),
        "Pending",
        "Pending",
        actions=("create again",),
    ),
    "IPUJob: retries exhausted": Scenario(
        (
            as_ipu_job(1),
            IPU_JOB,
            AT_WORK,
            as_ipu_job(60, ipu_job(), (ended_worker(3, 1),), spec={"retries": 0}, generation=2),
        ),
        "Failed",
        "RetriesExhausted",
    ),
    "IPUJob: its pod vanished": Scenario(
        (as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(60, ipu_job())), "Pending", "Pending", actions=("delete",)
    ),
    "IPUJob: unreadable result": Scenario(
        (as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(60, ipu_job(), (ended_worker(3, 0, "no JSON"),))),
        "Pending",
        "Retrying",
        "could not be read",
        ("delete",),
    ),
    "IPUJob: suspended at work": Scenario(
        (as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(60, ipu_job(), (WORKER,), spec={"suspend": True}, generation=2)),
        "Preparing",
        "Suspending",
        actions=("delete",),
    ),
    "IPUJob: deadline over": Scenario(
        (as_ipu_job(1), IPU_JOB, as_ipu_job(105, ipu_job(), (WORKER,), spec={"activeDeadlineSeconds": 100})),
        "Preparing",
        "Ending",
        "its IPUJob is being ended: ran longer than 100 seconds",
        ("delete",),
    ),
    "IPUJob: finished, and its time has come": Scenario(
        (
            as_ipu_job(1),
            as_ipu_job(60, ipu_job(), (ended_worker(3, 0, DONE),)),
            as_ipu_job(
                200, ipu_job(), (ended_worker(3, 0, DONE),), spec={"ttlSecondsAfterFinished": 100}, generation=2
            ),
        ),
        "Succeeded",
        "Succeeded",
        actions=("delete",),
    ),
    "IPUJob: finished, and its time is to come": Scenario(
        (
            as_ipu_job(1),
            as_ipu_job(60, ipu_job(), (ended_worker(3, 0, DONE),), spec={"ttlSecondsAfterFinished": 100}, generation=2),
        ),
        "Succeeded",
        "Succeeded",
        rechecks=True,
    ),
    "IPUJob: of somebody else": Scenario(
        (as_ipu_job(1), as_ipu_job(2, ipu_job(metadata__ownerReferences=[]))),
        "Pending",
        "NameConflict",
        f"delete IPUJob {CHILD}",
        rechecks=True,
    ),
}

REFUSED_SCENARIOS: dict[str, Scenario] = {
    "IPUs: fewest that do": Scenario(
        (Moment(1, spec={"model": SMALL, "runtime": "pod16"}),), "Pending", "Pending", actions=("take p4a",)
    ),
    "IPUs: more than any runtime offers": Scenario(
        (Moment(1, spec={"model": SMALL, "runtime": "pod16", "ipus": 64}),),
        "Pending",
        "RuntimeNotFound",
        "the run needs 64 IPUs; runtime pod16 offers 4, 8; the most that any runtime offers here is 16",
    ),
    "IPUs: more than this runtime offers": Scenario(
        (Moment(1, spec={"model": SMALL, "runtime": "c600", "ipus": 16}),),
        "Pending",
        "RuntimeNotFound",
        "runtime c600 offers 1, 2, 4, 8; runtimes with so many: eidf",
    ),
    "IPUs: too few for the model": Scenario(
        (on_pool(1, spec={"ipus": 2}),), "Failed", "InvalidSpec", "the smallest that fits is 4"
    ),
    "IPUs: batch below the pipeline": Scenario(
        (on_pool(1, spec={"training.batchSize": 1}),), "Failed", "InvalidSpec", "set training.batchSize to 9 or more"
    ),
    "IPUs: a model that knows Cantonese": Scenario(
        (Moment(1, spec={"model": "openai/whisper-large-v3", "runtime": "pod16"}),), "Failed", "InvalidSpec", "large-v2"
    ),
    "IPUs: a model of unknown size without a number": Scenario(
        (Moment(1, spec={"model": "team/whisper-it", "runtime": "pod16"}),), "Failed", "InvalidSpec", "set spec.ipus"
    ),
    "IPUs: a model of unknown size with a number": Scenario(
        (on_pool(1, spec={"model": "team/whisper-it"}),), "Pending", "Pending", actions=("take p4a",)
    ),
    "IPUs: queue label on an IPUJob": Scenario(
        (as_ipu_job(1, labels=QUEUE),), "Pending", "QueueNotSupported", "Kueue does not know"
    ),
}

SCENARIOS = {**POOL_SCENARIOS, **PATIENCE_SCENARIOS, **IPU_JOB_SCENARIOS, **REFUSED_SCENARIOS}
