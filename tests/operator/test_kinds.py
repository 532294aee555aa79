"""Kinds of workload: what differs between them is in their own objects. A third kind goes through a whole story."""

import ast
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from api_server_model import Server, container
from replica_model import NAMESPACE, Replica
from repository import ROOT
from run_objects import DONE, time
from specs import MINIMAL
from third_kind import TRAINING
from whisper_finetune_api.causes import EXIT_STOPPED
from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.api import preflight
from whisper_finetune_operator.api.errors import NotFoundError
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, uid_of
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind, WorkloadOrder

OPERATOR = ROOT / "operator" / "whisper_finetune_operator"


def test_the_name_of_a_kind_stands_in_its_own_module_alone() -> None:
    found = {
        (path.name, node.value)
        for path in OPERATOR.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in KINDS
    }
    assert found == {("job_kind.py", "Job"), ("ipu_job_kind.py", "IPUJob")}


@pytest.mark.parametrize("kind", [*KINDS.values(), TRAINING], ids=lambda kind: kind.name)
def test_a_kind_says_where_the_template_of_its_pod_stands(kind: WorkloadKind) -> None:
    template: KubernetesObject = {"spec": {"containers": []}}
    order = WorkloadOrder({}, "third", {}, {}, template, retries=0, failed_before=0, ipus=4, partition=None)
    found = kind.build(order)
    for field in kind.pod_template_path.split("."):
        found = found[field]
    assert found is template


class Stage:
    """A run as the third kind: the operator on a model of the API server; its controller and kubelet are the test."""

    def __init__(self) -> None:
        self.server = Server(random.Random(1))  # noqa: S311 (no secret)
        offered = {"name": "third", "accelerator": "cpu", "image": "trainer:1", "workload": TRAINING.name}
        runtimes = Runtimes.model_validate({"defaultRuntime": "third", "runtimes": [offered]})
        self.replica = Replica(self.server, runtimes)
        metadata = {"name": "one", "namespace": NAMESPACE, "creationTimestamp": time(1)}
        self.run = self.server.put("whisperfinetunes", {"metadata": metadata, "spec": {**MINIMAL}, "status": {}})

    @property
    def trainings(self) -> list[KubernetesObject]:
        return self.server.of(TRAINING.plural)

    @property
    def told(self) -> tuple[str, str]:
        """State and reason."""
        (summary,) = [each for each in self.run["status"]["conditions"] if each["type"] == "Succeeded"]
        return self.run["status"]["state"], summary["reason"]

    async def look(self, **spec: Any) -> None:
        self.run["spec"] |= spec
        self.server.changed(self.run)
        store = self.replica.store
        self.replica.see(what=("pods", "whisperfinetunes"))
        for each in self.trainings:
            store.put_workload(TRAINING.name, each)
        for known in [
            each for each in store.workloads(TRAINING.name) if uid_of(each) not in map(uid_of, self.trainings)
        ]:
            store.forget_workload(TRAINING.name, known)
        await self.replica.look(uid_of(self.run))

    def make_pod(self) -> KubernetesObject:
        """Return a pod at work of the newest workload."""
        training = self.trainings[-1]
        template = training["spec"]["template"]
        owner = {"kind": TRAINING.name, "controller": True} | {
            key: training["metadata"][key] for key in ("name", "uid")
        }
        metadata = {"name": f"of-{owner['uid']}", "namespace": NAMESPACE, "ownerReferences": [owner]}
        status = {"phase": "Running", **container({"running": {"startedAt": time(1)}})}
        body = {"metadata": {**metadata, **template["metadata"]}, "spec": template["spec"], "status": status}
        return self.server.put("pods", body)

    def end(self, pod: KubernetesObject, code: int) -> None:
        says = {**DONE, "uid": pod["metadata"]["labels"][UID_LABEL]} if code == 0 else {"message": "no luck"}
        ended = {"exitCode": code, "message": json.dumps(says), "startedAt": time(1), "finishedAt": time(2)}
        pod["status"] = {"phase": "Failed" if code else "Succeeded", **container({"terminated": ended})}
        self.server.changed(pod)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setitem(KINDS, TRAINING.name, TRAINING)
    return Stage()


async def test_a_run_of_a_third_kind_is_created_runs_and_succeeds(stage: Stage) -> None:
    await stage.look()
    (training,) = stage.trainings
    assert training["kind"] == TRAINING.name
    assert stage.told == ("Pending", "Pending")
    pod = stage.make_pod()
    await stage.look()
    assert stage.told == ("Preparing", "Preparing")
    stage.end(pod, 0)
    await stage.look()
    assert stage.told == ("Succeeded", "Succeeded")
    assert stage.trainings == [training], "it has no TTL"
    await stage.look(ttlSecondsAfterFinished=0)
    assert not stage.trainings


async def test_a_run_of_a_third_kind_is_tried_again_and_fails(stage: Stage) -> None:
    await stage.look(retries=1)
    for _ in range(2):
        stage.end(stage.make_pod(), 1)
        await stage.look()
        await stage.look()
    assert stage.told == ("Failed", "RetriesExhausted")
    assert stage.run["status"]["attempts"]["failed"] == 2
    assert len(stage.trainings) == 1, "the last one stays to be read"


async def test_a_run_of_a_third_kind_is_suspended_and_resumed(stage: Stage) -> None:
    await stage.look()
    pod = stage.make_pod()
    await stage.look(suspend=True)
    assert not stage.trainings
    assert stage.told == ("Preparing", "Suspending")
    stage.end(pod, EXIT_STOPPED)
    await stage.look()
    assert stage.told == ("Suspended", "Suspended")
    await stage.look(suspend=False)
    assert len(stage.trainings) == 1
    assert stage.told[0] == "Pending"


async def test_a_cluster_that_does_not_know_the_kind_is_told_what_to_install(stage: Stage) -> None:
    async def create(*_: Any) -> KubernetesObject:
        raise NotFoundError("the server could not find the requested resource")

    stage.replica.door.create = create
    await stage.look()
    (summary,) = [each for each in stage.run["status"]["conditions"] if each["type"] == "Succeeded"]
    assert summary["reason"] == "PodRefused"
    assert (
        "it does not know Training of trainings.example.org/v1; install the operator of trainings" in summary["message"]
    )


def test_the_operator_needs_rights_to_a_third_kind_where_a_runtime_makes_some(stage: Stage) -> None:
    rights = set(map(str, preflight.needed_rights(NAMESPACE, None, NAMESPACE, added=(TRAINING,))))
    without = set(map(str, preflight.needed_rights(NAMESPACE, None, NAMESPACE)))
    verbs = ("get", "list", "watch", "create", "patch", "delete")
    assert rights - without == {f"{verb} trainings in {NAMESPACE}" for verb in verbs}
