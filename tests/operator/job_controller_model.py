"""A model of the Job controller, the kubelet and a watch that lags, for thousands of histories in a few seconds.

It replaces services whose timing no test can control. The real ones run in the end-to-end tests.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import run_objects
from api_server_model import copied
from run_objects import DONE, START, complete, ended, job_failed, not_yet_over, running, time
from whisper_finetune_api.causes import EXIT_VERSIONS, FINAL_EXIT_CODES
from whisper_finetune_operator import next_steps
from whisper_finetune_operator.deciding import decisions
from whisper_finetune_operator.deciding.decisions import Decision
from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.workloads import pods
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.world import World

_BACK_OFF_SECONDS = 10


@dataclass
class Cluster:
    """What is so (job, pods), and what the operator has been told of it (seen_job, seen_pods)."""

    chance: random.Random
    seconds: int = 0
    spec: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] | None = None
    generation: int = 1
    job: KubernetesObject | None = None
    pods: list[KubernetesObject] = field(default_factory=list)
    counted: set[str] = field(default_factory=set)
    jobs_made: int = 0
    pods_made: int = 0
    seen_job: KubernetesObject | None = None
    seen_pods: list[KubernetesObject] = field(default_factory=list)
    #: For the test: how pods really ended, whether one went before the operator saw its end, the most at work at once.
    endings: list[int] = field(default_factory=list)
    missed: bool = False
    #: Pods whose trainers have ended and in which somebody's other container runs on: as they are once they end.
    outlasting: dict[str, KubernetesObject] = field(default_factory=dict)
    most_at_work: int = 0

    def at_work(self) -> list[KubernetesObject]:
        return [pod for pod in self.pods if not pods.read_pod(pod).ended]

    def tell_operator(self, *, all_of_it: bool = False) -> None:
        """Jobs and pods come by separate watches: either may lag."""
        if all_of_it or self.chance.random() < 0.7:
            self.seen_job = copied(self.job)
        if all_of_it or self.chance.random() < 0.7:
            self.seen_pods = copied(self.pods)

    # the Job controller

    def control_job(self) -> None:
        job = self.job
        if job and "deletionTimestamp" in job["metadata"]:
            self._collect_in_foreground()
        if self.job is None or job is None or "conditions" in job["status"] or "deletionTimestamp" in job["metadata"]:
            return
        own = [pod for pod in self.pods if pods.read_pod(pod).owner_uid == job["metadata"]["uid"]]
        if not job["spec"].get("suspend"):
            job["status"].setdefault("startTime", time(self.seconds))
        for pod in own:
            self._count(job, pod)
        if "conditions" in job["status"] or self._end_by_deadline(job, own):
            return
        newest_end = max((pods.read_pod(pod).finished_at or START for pod in own), default=START)
        backing_off = own and (run_objects.at(self.seconds) - newest_end).total_seconds() < _BACK_OFF_SECONDS
        if job["spec"].get("suspend"):
            let_go = [pod for pod in own if not pods.read_pod(pod).ended]
            # The controller takes its finalizer off before it deletes them: it counts no end of theirs.
            self.counted.update(pod["metadata"]["name"] for pod in let_go)
            self._delete(let_go)
            job["status"].pop("startTime", None)
        elif all(pods.read_pod(pod).ended for pod in own) and not backing_off:
            self.pods_made += 1
            self.pods.append(run_objects.pod(self.seconds, job_uid=job["metadata"]["uid"]))

    def _count(self, job: KubernetesObject, raw: KubernetesObject) -> None:
        pod = pods.read_pod(raw)
        if not pod.ended or pod.name in self.counted:
            return
        self.counted.add(pod.name)
        if pod.exit_code == 0:
            job["status"]["conditions"] = [complete(self.seconds)]
        elif pod.disrupted or pod.exit_code == 75:
            return
        elif pod.exit_code in (*FINAL_EXIT_CODES, EXIT_VERSIONS):
            message = f"Container trainer for pod speech/{pod.name} failed with exit code {pod.exit_code} matching"
            job["status"]["conditions"] = [job_failed(self.seconds, "PodFailurePolicy", message)]
        else:
            job["status"]["failed"] = job["status"].get("failed", 0) + 1
            if job["status"]["failed"] > job["spec"]["backoffLimit"]:
                job["status"]["conditions"] = [job_failed(self.seconds)]

    def _end_by_deadline(self, job: KubernetesObject, own: list[KubernetesObject]) -> bool:
        if "activeDeadlineSeconds" not in job["spec"] or job["spec"].get("suspend"):
            return False
        self._delete(own)
        if all(pods.read_pod(pod).ended for pod in own):
            job["status"]["conditions"] = [job_failed(self.seconds, "DeadlineExceeded")]
        return True

    def _collect_in_foreground(self) -> None:
        self._delete(self.pods)
        self.pods = [pod for pod in self.pods if not pods.read_pod(pod).ended]
        if not self.pods:
            self.job = None

    def _delete(self, own: list[KubernetesObject]) -> None:
        for pod in own:
            pod["metadata"].setdefault("deletionTimestamp", time(self.seconds + 300))

    def collect_orphans(self) -> None:
        """Pods of a Job that is gone are deleted, and go once they have ended."""
        owner = self.job["metadata"]["uid"] if self.job else None
        orphans = [pod for pod in self.pods if pods.read_pod(pod).owner_uid != owner]
        self._delete(orphans)
        gone = [pod for pod in orphans if pods.read_pod(pod).ended and self.chance.random() < 0.5]
        self.pods = [pod for pod in self.pods if pod not in gone]

    # the kubelet

    def run_pods(self, exit_codes: list[int]) -> None:
        for place, raw in enumerate(self.pods):
            pod = pods.read_pod(raw)
            if pod.ended:
                continue
            if pod.over:
                self._run_others_on(place, raw)
                continue
            started = round(((pod.started_at or START) - START).total_seconds())
            keep: dict[str, Any] = {"name": pod.name, "job_uid": pod.owner_uid, "deleted": pod.deleted}
            created = round((pod.created - START).total_seconds())
            if not pod.running and not pod.deleted:
                self.pods[place] = running(created, self.seconds, **keep)
            elif pod.deleted or self.chance.random() < 0.3:
                code = self.chance.choice([75, 137, 0] if pod.deleted else exit_codes)
                disrupted = code != 0 and self.chance.random() < 0.2
                self.endings.append(-1 if disrupted else code)
                says = DONE if code == 0 and self.chance.random() < 0.6 else "broken"
                start = started if pod.running else self.seconds
                reason = "OOMKilled" if code == 137 and not pod.deleted else None
                whole = ended(created, start, self.seconds, code, says, reason=reason, disrupted=disrupted, **keep)
                self.pods[place] = self._outlasted(pod, whole)

    def _outlasted(self, pod: Pod, whole: KubernetesObject) -> KubernetesObject:
        """Return the pod as its trainer left it: now and then with a container of somebody else's that runs on."""
        if pod.deleted or self.chance.random() < 0.8:
            return whole
        self.outlasting[pod.name] = whole
        return not_yet_over(whole, beside="istio-proxy")

    def _run_others_on(self, place: int, raw: KubernetesObject) -> None:
        """End the others with the pod, and seldom by themselves."""
        whole = self.outlasting[raw["metadata"]["name"]]
        if "deletionTimestamp" in raw["metadata"] or self.chance.random() < 0.02:
            self.pods[place] = {**whole, "metadata": raw["metadata"]}

    # the operator

    def reconcile(self, *, crash_after_status: bool = False) -> Decision:
        """Decide about what was told, write the status, and act; a stale view does not stale the status."""
        run = Run.from_object(run_objects.run_object(self.spec, status=self.status, generation=self.generation))
        shown = tuple(self.seen_pods)
        world = World(run, self.seen_job, shown, None, None, run_objects.at(self.seconds))
        decision = decisions.decide(world, run_objects.RUNTIMES)
        self.status = decision.status.to_json_object()
        for action in () if crash_after_status else decision.actions:
            self._act(action)
        self.most_at_work = max(self.most_at_work, len(self.at_work()))
        return decision

    def _act(self, action: next_steps.Action) -> None:
        if isinstance(action, next_steps.CreateWorkload):
            # 409: the name is taken; a look at the API server: an earlier pod is still at work.
            if self.job is None and not (action.check_pods_first and self.at_work()):
                self.jobs_made += 1
                self.job = copied(action.manifest)
                self.job["metadata"] |= {"uid": f"job-{self.jobs_made}", "creationTimestamp": time(self.seconds)}
                self.job["status"] = {}
            return
        if self.job is None or isinstance(
            action, next_steps.ReadRefusal | next_steps.ReadObstacle | next_steps.ReadQueue
        ):
            return
        if self.job["metadata"]["uid"] != action.uid:
            return
        if isinstance(action, next_steps.DeleteWorkload):
            self.job["metadata"]["deletionTimestamp"] = time(self.seconds)
        elif isinstance(action, next_steps.EndWorkload):
            self.job["spec"]["activeDeadlineSeconds"] = 1
        elif isinstance(action, next_steps.AllowRetries):
            self.job["spec"]["backoffLimit"] = action.backoff_limit
        else:
            self.job["spec"]["ttlSecondsAfterFinished"] = action.seconds
