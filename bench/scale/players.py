"""Users, the Job controller, a quota and the kubelet. All that they do is done at once, on the double's objects."""

import itertools
import time
from collections.abc import Callable

from scale.situations import ENDING, SPEC, Situation

from api_server_double.server import EVENTS, JOBS, PODS, RUNS
from api_server_double.stored_objects import KubernetesObject, StoredObjects
from whisper_finetune_api.v1alpha1 import GROUP, KIND, VERSION

_REFUSED = (
    'Error creating: pods "{job}-" is forbidden: exceeded quota: speech, requested: pods=1, used: pods=20, '
    "limited: pods=20"
)
#: What is refused has been for so long, so that it is tried as seldom as it ever is.
_SINCE_SECONDS = -7200.0


def moment(seconds: float = 0.0) -> str:
    """Return the time so many seconds from now, as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


class Players:
    """Everybody but the operator."""

    def __init__(self, objects: StoredObjects, situation: Situation) -> None:
        self.objects = objects
        #: What becomes of the next Job.
        self.job = situation.job
        self._situation = situation
        self._numbers = itertools.count()
        #: Pods whose trainer runs, and Jobs that a quota keeps from having one, the oldest first.
        self._at_work: dict[tuple[str, str], None] = {}
        self._refused: dict[tuple[str, str], None] = {}
        self._fates: dict[str, Callable[[KubernetesObject], None]] = {
            "runs": self._begin_pod,
            "ends": self._begin_and_end_pod,
            "is refused": self._refuse_pod,
        }

    def see_write(self, plural: str, written: KubernetesObject) -> None:
        """Control a Job as soon as it may have a pod."""
        if plural == JOBS and not written["spec"].get("suspend") and not written["status"].get("startTime"):
            self._fates[self.job](written)

    def create_run(self) -> bool:
        """Create the next run. It is younger than all others. Each of these returns whether there was a way to."""
        number = next(self._numbers)
        metadata = {
            "name": f"run-{number:06d}",
            "namespace": f"speech-{number % self._situation.namespaces:02d}",
            "creationTimestamp": moment(_SINCE_SECONDS),
        }
        head = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata}
        self.objects.put(RUNS, {**head, "spec": {**SPEC, **self._situation.spec}, "status": {}})
        return True

    def end_run(self) -> bool:
        """Let the oldest trainer succeed, and its Job be complete."""
        if not self._at_work:
            return False
        key = next(iter(self._at_work))
        self._end_pod(key)
        return True

    def admit_pod(self) -> bool:
        """Let the quota have room for the pod of the oldest Job that it refused."""
        if not self._refused:
            return False
        key = next(iter(self._refused))
        del self._refused[key]
        self._begin_pod(self.objects.get(JOBS, key))
        return True

    def touch_pod(self) -> bool:
        """Let the kubelet say of a pod what changes nothing for its run."""
        if not self._at_work:
            return False
        key = next(iter(self._at_work))
        self._at_work[key] = self._at_work.pop(key)
        pod = self.objects.get(PODS, key)
        said = {"type": "Ready", "status": "True", "lastProbeTime": pod["metadata"]["resourceVersion"]}
        self.objects.change(PODS, pod, status={**pod["status"], "conditions": [said]})
        return True

    def delete_run(self) -> bool:
        """Delete the oldest run, as a user does, and its Job and pod, as the garbage collector does."""
        run = next(iter(self.objects.collection(RUNS).objects.values()), None)
        if run is None:
            return False
        job = (run["metadata"]["namespace"], run["status"]["jobName"])
        self.objects.remove(RUNS, run)
        self.objects.remove(PODS, self.objects.get(PODS, _pod_of(job)))
        self.objects.remove(JOBS, self.objects.get(JOBS, job))
        return True

    def _begin_pod(self, job: KubernetesObject) -> None:
        self._start(job)
        metadata, template = job["metadata"], job["spec"]["template"]
        key = _pod_of((metadata["namespace"], metadata["name"]))
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        fields = {
            "namespace": key[0],
            "name": key[1],
            "labels": template["metadata"]["labels"],
            "creationTimestamp": moment(),
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        }
        spec = {**template["spec"], "nodeName": "node-1"}
        status = _pod_status("Running", {"running": {"startedAt": moment()}})
        self.objects.put(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": fields, "spec": spec, "status": status})
        self._at_work[key] = None

    def _end_pod(self, key: tuple[str, str]) -> None:
        del self._at_work[key]
        pod = self.objects.get(PODS, key)
        says = {"exitCode": 0, "message": ENDING, "startedAt": moment(), "finishedAt": moment()}
        self.objects.change(PODS, pod, status=_pod_status("Succeeded", {"terminated": says}))
        job = self.objects.get(JOBS, (key[0], pod["metadata"]["ownerReferences"][0]["name"]))
        done = {"type": "Complete", "status": "True", "lastTransitionTime": moment()}
        self.objects.change(JOBS, job, status={**job["status"], "active": 0, "succeeded": 1, "conditions": [done]})

    def _begin_and_end_pod(self, job: KubernetesObject) -> None:
        self._begin_pod(job)
        self._end_pod(_pod_of((job["metadata"]["namespace"], job["metadata"]["name"])))

    def _refuse_pod(self, job: KubernetesObject) -> None:
        """Say in an Event of the Job that a quota keeps it from having its pod."""
        self._start(job)
        metadata = job["metadata"]
        key = metadata["namespace"], metadata["name"]
        fields = {"namespace": key[0], "name": f"{key[1]}.17f", "creationTimestamp": moment(_SINCE_SECONDS)}
        self._refused[key] = None
        self.objects.put(
            EVENTS,
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": fields,
                "type": "Warning",
                "reason": "FailedCreate",
                "message": _REFUSED.format(job=key[1]),
                "involvedObject": {"kind": "Job", "namespace": key[0], "name": key[1], "uid": metadata["uid"]},
                "firstTimestamp": moment(_SINCE_SECONDS),
                "lastTimestamp": moment(),
            },
        )

    def _start(self, job: KubernetesObject) -> None:
        self.objects.change(JOBS, job, status={"startTime": moment(), "active": 1})


def _pod_of(job: tuple[str, str]) -> tuple[str, str]:
    return job[0], f"{job[1]}-x7k2p"


def _pod_status(phase: str, state: KubernetesObject) -> KubernetesObject:
    # Without an address, so that nobody is asked for progress: that is counted by the number of trainers alone.
    trainer = {"name": "trainer", "image": "localhost/none:1", "restartCount": 0, "state": state}
    return {"phase": phase, "startTime": moment(), "containerStatuses": [trainer]}
