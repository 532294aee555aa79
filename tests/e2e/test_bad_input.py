"""Bad input on a real cluster: the status names it, it is not tried for ever, and mending it helps."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kubernetes import client

from e2e import run_folders
from e2e.faults import FINAL, REFUSED, WAITING, assert_named
from e2e.namespaces import make_claim
from e2e.runs import Runs, condition, state_of, succeeded, uid_of
from whisper_finetune_operator.runs import child_name

pytestmark = pytest.mark.cluster
#: All faults are looked for at once, and each trainer takes ten seconds of a core before it can find one.
SECONDS_FOR_ALL = 400
SECONDS_TO_GO_ON = 240
KILLED = 137


@pytest.fixture(scope="module")
def runs(make_runs: Callable[..., Runs], volume: Path, new_volume: Callable[..., Path]) -> Runs:
    """A namespace with all the faults, applied at once, and one run without any."""
    locked = new_volume("locked")
    locked.chmod(0o555)
    made = make_runs("bad-input", locked=locked, full=new_volume("full", megabytes=3))
    for name, fault in {**WAITING, **FINAL}.items():
        made.create(name, fault.changes)
    made.create("good")
    made.create("few-faults", {"dataset.source": "pvc://speech/one-of-each-fault"})
    return made


@pytest.mark.parametrize("name", FINAL)
def test_final_fault_is_named(runs: Runs, name: str) -> None:
    fault = FINAL[name]
    failed = runs.wait_for_state(name, "Failed", SECONDS_FOR_ALL)
    assert_named(failed, fault)
    assert succeeded(failed)["status"] == "False"
    assert condition(failed, "Stalled")["status"] == "True"
    pods = runs.pods(uid_of(failed))
    assert len([pod for pod in pods if not is_killed_without_reason(pod)]) == fault.pods
    assert failed["status"].get("attempts", {}).get("started", 0) == len(pods)


def is_killed_without_reason(pod: client.V1Pod) -> bool:
    """Return whether the trainer was killed and its node does not say why.

    A node reports a kill for memory as a mere error where it hears of the exit first. Such an attempt is made again.
    """
    ends = [status.state.terminated for status in pod.status.container_statuses or ()]
    return any(end is not None and (end.exit_code, end.reason) == (KILLED, "Error") for end in ends)


@pytest.mark.parametrize("name", WAITING)
def test_waiting_fault_is_named(runs: Runs, name: str) -> None:
    fault = WAITING[name]
    waiting = runs.wait_for_reason(name, fault.reason)
    assert_named(waiting, fault)
    assert state_of(waiting) == "Pending"
    assert succeeded(waiting)["status"] == "Unknown"
    assert condition(waiting, "Reconciling")["status"] == "True"
    assert len(runs.pods(uid_of(waiting))) == fault.pods


@pytest.mark.parametrize("name", REFUSED)
def test_fault_is_refused_by_the_api_server(runs: Runs, name: str) -> None:
    changes, says = REFUSED[name]
    with pytest.raises(client.ApiException) as refusal:
        runs.create(name, changes)
    assert says in str(refusal.value.body)


def test_good_run_beside_them_is_not_disturbed(runs: Runs) -> None:
    good = runs.wait_for_state("good", "Succeeded", SECONDS_FOR_ALL)
    assert good["status"]["attempts"]["started"] == 1


def test_few_faulty_clips_are_dropped_and_counted(runs: Runs) -> None:
    ended = runs.wait_for_state("few-faults", "Succeeded", SECONDS_FOR_ALL)
    assert ended["status"]["data"]["droppedClips"] == 6


def test_run_goes_on_when_its_claim_is_made(runs: Runs, new_volume: Callable[..., Path]) -> None:
    runs.wait_for_reason("no-claim", "VolumeNotFound")
    later = new_volume("later")
    make_claim(runs.core, runs.namespace, "later", later)
    ended = runs.wait_for_state("no-claim", "Succeeded", SECONDS_TO_GO_ON)
    run_folders.whole_model(later / "runs" / f"no-claim-{uid_of(ended)[:8]}", uid_of(ended))


def test_run_goes_on_when_its_secret_is_made(runs: Runs) -> None:
    runs.wait_for_reason("no-secret", "SecretNotFound")
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name="later"), string_data={"HF_TOKEN": "none"})
    runs.core.create_namespaced_secret(runs.namespace, secret)
    runs.wait_for_state("no-secret", "Succeeded", SECONDS_TO_GO_ON)


def test_run_goes_on_when_a_node_fits(runs: Runs, label_node: Callable[[str], None]) -> None:
    runs.wait_for_reason("no-node", "Unschedulable")
    label_node("whisperfinetune.dev/test-nowhere")
    runs.wait_for_state("no-node", "Succeeded", SECONDS_TO_GO_ON)


def test_run_goes_on_when_a_foreign_job_is_gone(runs: Runs) -> None:
    held = runs.create("name-conflict", {"suspend": True})
    name = child_name("name-conflict", uid_of(held))
    runs.batch.create_namespaced_job(runs.namespace, foreign_job(name))
    runs.change("name-conflict", {"suspend": False})
    waiting = runs.wait_for_reason("name-conflict", "NameConflict")
    assert name in succeeded(waiting)["message"]
    runs.batch.delete_namespaced_job(name, runs.namespace, propagation_policy="Background")
    runs.wait_for_state("name-conflict", "Succeeded", SECONDS_TO_GO_ON)


def foreign_job(name: str) -> client.V1Job:
    """A Job of somebody else that never starts a pod."""
    container = client.V1Container(name="idle", image="localhost/idle")
    pod = client.V1PodTemplateSpec(spec=client.V1PodSpec(containers=[container], restart_policy="Never"))
    return client.V1Job(metadata=client.V1ObjectMeta(name=name), spec=client.V1JobSpec(template=pod, suspend=True))


def test_run_goes_on_when_its_pod_is_allowed(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("refused")
    quota = client.V1ResourceQuota(
        metadata=client.V1ObjectMeta(name="no-pods"), spec=client.V1ResourceQuotaSpec(hard={"pods": "0"})
    )
    runs.core.create_namespaced_resource_quota(runs.namespace, quota)
    runs.create("refused-pod")
    waiting = runs.wait_for_reason("refused-pod", "PodRefused")
    assert "no-pods" in succeeded(waiting)["message"]
    runs.core.delete_namespaced_resource_quota("no-pods", runs.namespace)
    runs.wait_for_state("refused-pod", "Succeeded", SECONDS_TO_GO_ON)
