"""The operator's view of the cluster: runs, Jobs and pods as the watches and the operator's own writes left them."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from whisper_finetune_api.run import CONFIG_ENV, TrainerReport
from whisper_finetune_api.v1alpha1 import GROUP, UID_LABEL
from whisper_finetune_operator.names import child_name
from whisper_finetune_operator.world import KubernetesObject, Refusal, Run, World

#: Deleted objects that are remembered, so that a late answer to an own write brings none of them back.
REMEMBERED_DELETIONS = 10_000


class Store:
    """Looks up everything of a run by its UID. Of two versions of an object the newer one stays, whoever brought it."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._jobs: dict[tuple[str, str], KubernetesObject] = {}
        self._pods: defaultdict[str, dict[str, KubernetesObject]] = defaultdict(dict)
        #: Pods that ended and are gone, until their end was decided upon.
        self._departed: set[str] = set()
        self._reports: dict[str, tuple[str, TrainerReport]] = {}
        self._refusals: dict[str, Refusal] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def run(self, uid: str) -> Run | None:
        return self._runs.get(uid)

    def runs(self) -> Iterator[Run]:
        """Yield every run; the store must not change meanwhile."""
        return iter(self._runs.values())

    def pods(self) -> Iterator[tuple[str, KubernetesObject]]:
        """Yield every pod after its run's UID; the store must not change meanwhile."""
        return ((run_uid, pod) for run_uid, pods in self._pods.items() for pod in pods.values())

    def world(self, run: Run, now: datetime) -> World:
        """Return all that is known of the run."""
        pods = self.pods_of(run)
        pod_uid, report = self._reports.get(run.uid, ("", None))
        return World(
            run=run,
            job=self.job_of(run),
            pods=pods,
            report=report if pods and pods[-1]["metadata"]["uid"] == pod_uid else None,
            refusal=self._refusals.get(run.uid),
            now=now,
        )

    def job_of(self, run: Run) -> KubernetesObject | None:
        """Return the Job under the name of the run's child, whoever owns it."""
        return self._jobs.get((run.namespace, child_name(run.name, run.uid)))

    def pods_of(self, run: Run) -> tuple[KubernetesObject, ...]:
        """Return the pods labelled with the run's UID, oldest first."""
        pods = [pod for pod in self._pods.get(run.uid, {}).values() if pod["metadata"]["namespace"] == run.namespace]
        return tuple(sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])))

    def put_run(self, run: Mapping[str, Any]) -> Run | None:
        """Keep the run; return it where it is news."""
        metadata = run["metadata"]
        known = self._runs.get(metadata["uid"])
        if not self._is_news(metadata, known.resource_version if known else None):
            return None
        self._runs[metadata["uid"]] = read = Run.from_object(run)
        return read

    def put_job(self, job: Mapping[str, Any]) -> bool:
        """Keep the Job; say whether it is news."""
        metadata = job["metadata"]
        known = self._jobs.get(place_of(job))
        same = known is not None and known["metadata"]["uid"] == metadata["uid"]
        if not self._is_news(metadata, known["metadata"]["resourceVersion"] if known and same else None):
            return False
        self._jobs[place_of(job)] = slim_job(job)
        return True

    def put_pod(self, pod: Mapping[str, Any]) -> bool:
        """Keep the pod; say whether it is news."""
        metadata = pod["metadata"]
        known = self._pods.get(run_uid_of(pod), {}).get(metadata["uid"])
        if not self._is_news(metadata, known["metadata"]["resourceVersion"] if known else None):
            return False
        self._pods[run_uid_of(pod)][metadata["uid"]] = slim_pod(pod)
        return True

    def keep_report(self, run_uid: str, pod_uid: str, report: TrainerReport) -> None:
        """Keep the newest answer of a run's pod."""
        if run_uid in self._runs:
            self._reports[run_uid] = (pod_uid, report)

    def keep_refusal(self, run_uid: str, refusal: Refusal | None) -> None:
        """Keep why the run's Job or pod cannot be made; None: nothing stands against it."""
        if refusal is None:
            self._refusals.pop(run_uid, None)
        elif run_uid in self._runs:
            self._refusals[run_uid] = refusal

    def refusal_of(self, run_uid: str) -> Refusal | None:
        return self._refusals.get(run_uid)

    def forget_run(self, uid: str) -> None:
        self._remember_deletion(uid)
        for kept in (self._runs, self._reports, self._refusals):
            kept.pop(uid, None)
        self.drop_departed(list(self._pods.get(uid, {}).values()))

    def forget_job(self, job: Mapping[str, Any]) -> None:
        self._remember_deletion(uid_of(job))
        known = self._jobs.get(place_of(job))
        if known is not None and uid_of(known) == uid_of(job):
            del self._jobs[place_of(job)]

    def forget_pod(self, pod: Mapping[str, Any]) -> None:
        """Forget a deleted pod, given as it was last seen; one that ended stays until its end was decided upon."""
        self._remember_deletion(uid_of(pod))
        if has_ended(pod) and run_uid_of(pod) in self._runs:
            self._pods[run_uid_of(pod)][uid_of(pod)] = slim_pod(pod)
            self._departed.add(uid_of(pod))
        else:
            self._drop_pod(pod)

    def drop_departed(self, pods: Iterable[KubernetesObject]) -> None:
        """Drop those of the pods that are gone: what their end meant is in the run's status."""
        for pod in pods:
            if uid_of(pod) in self._departed:
                self._drop_pod(pod)

    def _drop_pod(self, pod: Mapping[str, Any]) -> None:
        self._departed.discard(uid_of(pod))
        pods = self._pods[run_uid_of(pod)]
        pods.pop(uid_of(pod), None)
        if not pods:
            del self._pods[run_uid_of(pod)]

    def jobs(self) -> Iterator[KubernetesObject]:
        """Yield every Job; the store must not change meanwhile."""
        return iter(self._jobs.values())

    def _is_news(self, metadata: Mapping[str, Any], known_version: str | None) -> bool:
        if metadata["uid"] in self._deleted:
            return False
        return known_version is None or int(metadata["resourceVersion"]) > int(known_version)

    def _remember_deletion(self, uid: str) -> None:
        self._deleted[uid] = None
        if len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)


def run_uid_of(child: Mapping[str, Any]) -> str:
    """Return the UID of the run that a Job or pod says it belongs to; empty where it says none."""
    uid: str = (child["metadata"].get("labels") or {}).get(UID_LABEL, "")
    return uid


def uid_of(child: Mapping[str, Any]) -> str:
    uid: str = child["metadata"]["uid"]
    return uid


def place_of(child: Mapping[str, Any]) -> tuple[str, str]:
    return child["metadata"]["namespace"], child["metadata"]["name"]


def slim_job(job: Mapping[str, Any]) -> KubernetesObject:
    """Return the Job without what no decision reads: thousands of them stay in memory."""
    spec = {key: value for key, value in job["spec"].items() if key != "template"}
    return {"metadata": _slim_metadata(job), "spec": spec, "status": job.get("status") or {}}


def slim_pod(pod: Mapping[str, Any]) -> KubernetesObject:
    """Return the pod with its status, and of its spec only the trainer's configuration while it may run."""
    status = pod.get("status") or {}
    containers = [] if has_ended(pod) else [_slim_container(container) for container in pod["spec"]["containers"]]
    return {"metadata": _slim_metadata(pod), "spec": {"containers": containers}, "status": status}


def has_ended(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _slim_container(container: Mapping[str, Any]) -> KubernetesObject:
    configuration = [variable for variable in container.get("env") or () if variable["name"] == CONFIG_ENV]
    return {"name": container["name"], "env": configuration}


def _slim_metadata(child: Mapping[str, Any]) -> KubernetesObject:
    slim = {key: value for key, value in child["metadata"].items() if key not in ("managedFields", "annotations")}
    annotations = child["metadata"].get("annotations") or {}
    own = {key: value for key, value in annotations.items() if key.startswith(f"{GROUP}/")}
    return {**slim, "annotations": own} if own else slim
