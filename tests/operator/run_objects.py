"""Objects of the Kubernetes API around one run, as a real cluster shows them, for the tests of decisions."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from repository import ROOT
from specs import MINIMAL, with_changes
from whisper_finetune_api.run import TrainerReport
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_queue import EMPTY_QUEUE, PartitionQueue
from whisper_finetune_operator.partitions.pools import PoolPartition
from whisper_finetune_operator.planning import runtimes
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.runs import Run, child_name
from whisper_finetune_operator.world import QueueNotice, Refusal, Silence, World

NAME, NAMESPACE, UID = "italian", "speech", "7a0c9a4e-6f0b-4c59-9d1f-0d6a3f6d8c11"
CHILD = child_name(NAME, UID)
#: When the run was created; every other time is told in seconds from here.
START = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
SHA256 = "ab" * 32
RUNTIMES: Runtimes = runtimes.load_runtimes(ROOT / "docs" / "examples" / "runtimes.yaml")

#: All that a runtime's podTemplate takes.
RICHEST_POD_TEMPLATE: dict[str, Any] = {
    "metadata": {
        "labels": {"team": "speech", "sidecar.istio.io/inject": "false"},
        "annotations": {"karpenter.sh/do-not-disrupt": "true", "cluster-autoscaler.kubernetes.io/safe-to-evict": "no"},
    },
    "spec": {
        "runtimeClassName": "nvidia",
        "priorityClassName": "training",
        "serviceAccountName": "speech-store",
        "schedulerName": "default-scheduler",
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "gpu", "operator": "NotIn", "values": ["t4"]}]},
                    ]
                }
            },
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchLabels": {"team": "speech"}},
                        },
                    }
                ]
            },
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"team": "speech"}},
            }
        ],
        "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["store.example.com"]}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "volumes": [
            {"name": "recordings", "persistentVolumeClaim": {"claimName": "recordings", "readOnly": True}},
            {"name": "swap", "emptyDir": {"sizeLimit": "4Gi"}},
            {
                "name": "identity",
                "projected": {"sources": [{"serviceAccountToken": {"audience": "sts.example.com", "path": "token"}}]},
            },
        ],
        "containers": [
            {
                "name": "trainer",
                "volumeMounts": [
                    {"name": "recordings", "mountPath": "/recordings", "readOnly": True},
                    {"name": "swap", "mountPath": "/swap"},
                    {"name": "identity", "mountPath": "/var/run/identity", "readOnly": True},
                ],
            }
        ],
    },
}

BASELINE = {"wer": "47.70", "normalizedWer": "28.00"}
RESULT = {"wer": "41.80", "normalizedWer": "21.60", "differenceLow": "-9.10", "differenceHigh": "-3.90"}
ENDING = {
    "stage": "Training",
    "progress": {"step": 100, "totalSteps": 100, "percent": 100, "loss": "0.4711"},
    "metric": {"name": "wer", "normalizer": "BasicTextNormalizer"},
    "data": {"trainClips": 432, "evalClips": 108, "droppedClips": 3, "split": "Fraction"},
    "ranOn": {"hardware": "CPU, 2 threads", "software": "torch 2.13.0, transformers 5.23.0", "precision": "Half"},
    "baseline": BASELINE,
    "checkpoints": [{"step": 100, "path": "checkpoints/checkpoint-100", "wer": "41.80", "sha256": SHA256}],
}
DONE = {**ENDING, "result": RESULT, "model": {"path": "model", "sha256": SHA256, "step": 100}, "report": "report.html"}


#: The last words of a run whose model is not accepted.
NOT_ACCEPTED = {
    **DONE,
    "acceptance": {
        "accepted": False,
        "reason": "MayBeWorse",
        "message": "held-out may be 0.40 points worse than before, and acceptance.maxWorsePoints allows 0",
    },
}


def at(seconds: float) -> datetime:
    """Return a moment of the story."""
    return START + timedelta(seconds=seconds)


def time(seconds: float) -> str:
    """Return the same as the API writes it."""
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def golden_job(path: Path) -> dict[str, Any]:
    """Return a Job of tests/golden, where the trainer's configuration stands as YAML, as the API knows it."""
    made: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for variable in made["spec"]["template"]["spec"]["containers"][0]["env"]:
        if isinstance(variable.get("value"), dict):
            variable["value"] = json.dumps(variable["value"], separators=(",", ":"))
    return made


def run_object(
    changes: dict[str, Any] | None = None,
    *,
    status: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    generation: int = 1,
    deleted: bool = False,
) -> dict[str, Any]:
    """Return the run; `changes` are dotted paths of its spec."""
    metadata = {
        "name": NAME,
        "namespace": NAMESPACE,
        "uid": UID,
        "generation": generation,
        "resourceVersion": "4711",
        "creationTimestamp": time(0),
        **({"labels": labels} if labels else {}),
        **({"deletionTimestamp": time(500), "finalizers": ["foregroundDeletion"]} if deleted else {}),
    }
    return {
        "apiVersion": "whisperfinetune.dev/v1alpha1",
        "kind": "WhisperFineTune",
        "metadata": metadata,
        "spec": with_changes(MINIMAL, changes or {}),
        "status": {"observedGeneration": -1} if status is None else status,
    }


def job(*conditions: dict[str, Any], uid: str = "job-1", owner: str = UID, **changes: Any) -> dict[str, Any]:
    """Return the run's Job; `changes` are dotted paths with two underscores for the dot."""
    made: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": CHILD,
            "namespace": NAMESPACE,
            "uid": uid,
            "creationTimestamp": time(1),
            "annotations": {"whisperfinetune.dev/failed-before": "0"},
            "ownerReferences": [
                {
                    "apiVersion": "whisperfinetune.dev/v1alpha1",
                    "kind": "WhisperFineTune",
                    "name": NAME,
                    "uid": owner,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "completionMode": "NonIndexed",
            "backoffLimit": 3,
            "suspend": False,
            "podReplacementPolicy": "Failed",
        },
        "status": {
            "startTime": time(1),
            "ready": 0,
            "terminating": 0,
            "uncountedTerminatedPods": {},
            **({"conditions": list(conditions)} if conditions else {}),
        },
    }
    changed: dict[str, Any] = with_changes(made, {path.replace("__", "."): value for path, value in changes.items()})
    return changed


def lease(partition: PoolPartition, *, uid: str = "lease-1", version: str = "50") -> dict[str, Any]:
    """Return the Lease of a partition that the run has."""
    made = partition_leases.build_lease(Run.from_object(run_object()), partition.lease_name, partition.id, at(0))
    return {**made, "metadata": {**made["metadata"], "uid": uid, "resourceVersion": version}}


def ipu_job(uid: str = "ipu-job-1", created: float = 1, **changes: Any) -> dict[str, Any]:
    """Return the run's IPUJob; `changes` are as in `job`."""
    metadata = {**job()["metadata"], "uid": uid, "creationTimestamp": time(created)}
    made = {"apiVersion": "graphcore.ai/v1alpha1", "kind": "IPUJob", "metadata": metadata, "spec": {"jobInstances": 1}}
    changed: dict[str, Any] = with_changes(made, {path.replace("__", "."): value for path, value in changes.items()})
    return changed


def complete(seconds: float) -> dict[str, Any]:
    """Return the condition of a Job that is done."""
    return {
        "type": "Complete",
        "status": "True",
        "reason": "CompletionsReached",
        "message": "Reached expected number of succeeded pods",
        "lastProbeTime": time(seconds),
        "lastTransitionTime": time(seconds),
    }


def job_failed(seconds: float, reason: str = "BackoffLimitExceeded", message: str = "") -> dict[str, Any]:
    """Return the condition of a Job that gave up."""
    return {
        "type": "Failed",
        "status": "True",
        "reason": reason,
        "message": message or "Job has reached the specified backoff limit",
        "lastProbeTime": time(seconds),
        "lastTransitionTime": time(seconds),
    }


def pod(
    created: float,
    status: dict[str, Any] | None = None,
    *,
    name: str | None = None,
    job_uid: str | None = "job-1",
    deleted: bool = False,
) -> dict[str, Any]:
    """Return a pod of the Job; without a status it waits for a node."""
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": CHILD,
        "uid": job_uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": name or f"{CHILD}-{int(created):05d}",
        "namespace": NAMESPACE,
        "uid": f"pod-{created}",
        "creationTimestamp": time(created),
        "labels": {"whisperfinetune.dev/run-uid": UID, "whisperfinetune.dev/run-name": NAME},
        **({"ownerReferences": [owner]} if job_uid else {}),
        **({"deletionTimestamp": time(created + 300), "deletionGracePeriodSeconds": 300} if deleted else {}),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status or {"phase": "Pending"}}


def _container(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "trainer", "image": "trainer:0.1.0", "restartCount": 0, "state": state, "lastState": {}}]


def running(created: float, started: float, **metadata: Any) -> dict[str, Any]:
    """Return a pod whose trainer runs."""
    state = {"running": {"startedAt": time(started)}}
    status = {"phase": "Running", "podIP": "10.244.0.7", "containerStatuses": _container(state)}
    return pod(created, status, **metadata)


def waiting(created: float, reason: str, message: str, **metadata: Any) -> dict[str, Any]:
    """Return a pod that the kubelet cannot start."""
    state = {"waiting": {"reason": reason, "message": message}}
    return pod(created, {"phase": "Pending", "containerStatuses": _container(state)}, **metadata)


def unschedulable(created: float, message: str) -> dict[str, Any]:
    """Return a pod that no node takes."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(created, {"phase": "Pending", "conditions": [condition]})


def ended(
    created: float,
    started: float,
    finished: float,
    exit_code: int,
    says: dict[str, Any] | str = "",
    *,
    reason: str | None = None,
    disrupted: bool = False,
    **metadata: Any,
) -> dict[str, Any]:
    """Return a pod whose trainer ended; `says` is its termination message."""
    message = says if isinstance(says, str) else json.dumps(says)
    terminated = {
        "exitCode": exit_code,
        "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        "startedAt": time(started),
        "finishedAt": time(finished),
        **({"message": message} if message else {}),
    }
    target = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    status = {
        "phase": "Succeeded" if exit_code == 0 else "Failed",
        "containerStatuses": _container({"terminated": terminated}),
        **({"conditions": [target]} if disrupted else {}),
    }
    return pod(created, status, **metadata)


def not_yet_over(ended_pod: dict[str, Any], *, beside: str | None = None, phase: str = "Running") -> dict[str, Any]:
    """Return the pod as the kubelet shows it once its trainer has ended; what runs `beside` it keeps it."""
    status = {**ended_pod["status"], "phase": phase}
    if beside:
        proxy = {"name": beside, "state": {"running": {"startedAt": time(5)}}}
        status["containerStatuses"] = [*status["containerStatuses"], proxy]
    return {**ended_pod, "status": status}


def failure(reason: str | None, message: str) -> dict[str, Any]:
    """Return what a trainer says at a bad end."""
    return {**ENDING, "message": message, **({"reason": reason} if reason else {})}


def progress(step: int, *, stage: str = "Training", **more: Any) -> TrainerReport:
    """Return what /progress answers at a step of 100."""
    made = {"step": step, "totalSteps": 100, "percent": step, "loss": "0.5000", "etaSeconds": 100 - step}
    return TrainerReport.model_validate({"uid": UID, "stage": stage, "progress": made, **more})


def world(
    run: dict[str, Any],
    seconds: float,
    *,
    job: dict[str, Any] | None = None,
    pods: tuple[dict[str, Any], ...] = (),
    report: TrainerReport | None = None,
    refusal: Refusal | None = None,
    leases: tuple[dict[str, Any], ...] = (),
    queue: PartitionQueue = EMPTY_QUEUE,
    changed: float | None = None,
    silent: float | None = None,
    obstacle: str | None = None,
    notice: QueueNotice | None = None,
) -> World:
    """Return the world around a run, so many seconds into the story.

    Its report `changed` then, and its pod has been `silent` since then.
    """
    since = None if changed is None else at(changed)
    silence = None if silent is None else Silence(at(silent), "no answer in time")
    hindrance = Refusal(obstacle, at(seconds)) if obstacle else None
    shown = World(Run.from_object(run), job, pods, report, refusal, at(seconds), leases, queue)
    return replace(shown, report_changed_at=since, silence=silence, obstacle=hindrance, queue_notice=notice)
