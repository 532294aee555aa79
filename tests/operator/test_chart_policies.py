"""The chart's admission policies on a real API server: what they admit, and what they refuse."""

import copy
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

import run_objects
from chart_release import NAMESPACE, RELEASE, render
from cluster.programs import binaries
from repository import ROOT
from specs import MINIMAL, with_changes
from whisper_finetune_api import v1alpha1

pytestmark = pytest.mark.apiserver
TEAM = "policed"
NOTHING = "may use the claims [] alone"
EXAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "examples" / "runtimes.yaml").read_text(encoding="utf-8"))
MODEST = {"defaultRuntime": "cpu", "runtimes": EXAMPLE["runtimes"][:1]}
GOLDEN = sorted((ROOT / "tests" / "golden").glob("job-*.yaml"))
MINIMAL_JOB = run_objects.golden_job(ROOT / "tests" / "golden" / "job-minimal.yaml")
ONLY_RUNS = "workloads of WhisperFineTunes alone"
LIMITS = {
    "whisperfinetune.dev/allowed-secrets": "hub\nstore",
    "whisperfinetune.dev/allowed-claims": "speech",
    "whisperfinetune.dev/allowed-sources": "openai s3://open/",
    "whisperfinetune.dev/allowed-outputs": "pvc://speech/runs s3://models/team",
}


def kubectl(kubeconfig: Path, command: str, objects: list[dict[str, Any]]) -> None:
    program = [str(binaries.program("kubectl")), f"--kubeconfig={kubeconfig}", command, "--filename=-"]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    ran = subprocess.run(program, input=text, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def policies(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for (kind, _), each in render(values).items() if kind.startswith("ValidatingAdmissionPolicy")]


def refusal(request: Callable[[], Any]) -> str:
    """What the API server says to a request; empty where it takes it."""
    try:
        request()
    except client.ApiException as error:
        if error.status not in {403, 422}:
            raise
        return str(json.loads(error.body)["message"])
    return ""


def wait_until(request: Callable[[], Any], *, is_told: Callable[[str], bool], seconds: float = 60) -> None:
    """A policy works from some moment after it was made, and for some moments after it was deleted."""
    deadline = time.monotonic() + seconds
    while not is_told(said := refusal(request)):
        assert time.monotonic() < deadline, f"after {seconds} s still: {said or 'taken'}"
        time.sleep(0.2)


@contextmanager
def enforced(kubeconfig: Path, made: list[dict[str, Any]], request: Callable[[], Any], message: str) -> Iterator[None]:
    """Have the policies, which refuse the request with that message, for as long as the block lasts."""
    kubectl(kubeconfig, "apply", made)
    wait_until(request, is_told=lambda said: message in said)
    yield
    kubectl(kubeconfig, "delete", made)
    wait_until(request, is_told=lambda said: said == "")


@pytest.fixture(scope="module")
def team(api: client.ApiClient, install_crd: None) -> Iterator[str]:
    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": TEAM}})
    yield TEAM
    core.delete_namespace(TEAM)


@pytest.fixture(scope="module")
def operator(control_plane: Path) -> Iterator[client.BatchV1Api]:
    """The operator's ServiceAccount, with every right: what stops it is the policy."""
    with config.new_client_from_config(str(control_plane)) as made:
        made.set_default_header("Impersonate-User", f"system:serviceaccount:{NAMESPACE}:{RELEASE}")  # type: ignore[no-untyped-call]
        made.set_default_header("Impersonate-Group", "system:masters")  # type: ignore[no-untyped-call]
        yield client.BatchV1Api(made)


def job(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The least run's Job with dotted paths set, or removed where the value is None; `0` is the only container."""
    made = copy.deepcopy(MINIMAL_JOB)
    made["metadata"]["namespace"] = TEAM
    spec = made["spec"]["template"]["spec"]
    for path, value in (changes or {}).items():
        node = made if path.startswith("metadata") else spec["containers"][0] if path.startswith("0.") else spec
        *parents, last = path.removeprefix("0.").split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
        if value is None:
            del node[last]
    return made


class TestOperator:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def policed(cls, control_plane: Path, team: str, operator: client.BatchV1Api) -> Iterator[None]:
        made = policies({**MODEST, "admissionPolicies": {"operator": True}})
        foreign = job({"metadata.ownerReferences": None})
        request = partial(operator.create_namespaced_job, team, foreign, dry_run="All")
        with enforced(control_plane, made, request, ONLY_RUNS):
            yield

    def test_a_runs_job_is_made(self, operator: client.BatchV1Api, team: str) -> None:
        assert refusal(lambda: operator.create_namespaced_job(team, job(), dry_run="All")) == ""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"metadata.ownerReferences": []}, ONLY_RUNS),
            ({"automountServiceAccountToken": True}, "no token of the API server"),
            ({"serviceAccountName": "deployer"}, "no ServiceAccount but"),
            ({"0.image": "registry.example.com/another:1"}, "no runtime has this image"),
            ({"initContainers": [{"name": "a", "image": "another:1"}]}, "no runtime has this image"),
            ({"hostNetwork": True}, "shares this part of its host"),
            ({"hostPID": True}, "shares this part of its host"),
            ({"hostIPC": True}, "shares this part of its host"),
            ({"volumes": [{"name": "claim-0", "hostPath": {"path": "/etc"}}]}, "no runtime has this path"),
            (
                {"volumes": [{"name": "claim-0", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
                "no token of the API server in a volume",
            ),
            ({"0.securityContext.capabilities.add": ["SYS_ADMIN"]}, "no runtime has these rights"),
            ({"0.securityContext": {"privileged": True}}, "no runtime has these rights"),
            ({"0.securityContext": None}, "no runtime has these rights"),
            ({"0.securityContext.runAsNonRoot": False}, "no runtime runs as root"),
            ({"securityContext": {"runAsUser": 0}}, "no runtime runs as root"),
        ],
        ids=str,
    )
    def test_nothing_else_is(
        self, operator: client.BatchV1Api, team: str, changes: dict[str, Any], message: str
    ) -> None:
        changed = job(changes)
        if "volumes" in changes:
            changed["spec"]["template"]["spec"]["volumes"] += MINIMAL_JOB["spec"]["template"]["spec"]["volumes"][1:]
        assert message in refusal(lambda: operator.create_namespaced_job(team, changed, dry_run="All"))

    def test_jobs_of_others_are_neither_changed_nor_deleted(
        self, api: client.ApiClient, operator: client.BatchV1Api, team: str
    ) -> None:
        foreign = job({"metadata.ownerReferences": None, "metadata.name": "foreign"})
        foreign["spec"]["suspend"] = True
        client.BatchV1Api(api).create_namespaced_job(team, foreign)
        adopted = {"metadata": {"ownerReferences": MINIMAL_JOB["metadata"]["ownerReferences"]}}
        for change in (adopted, {"spec": {"suspend": False}}):
            said = refusal(lambda change=change: operator.patch_namespaced_job("foreign", team, change, dry_run="All"))
            assert ONLY_RUNS in said
        said = refusal(lambda: operator.delete_namespaced_job("foreign", team, dry_run="All"))
        assert ONLY_RUNS in said
        client.BatchV1Api(api).delete_namespaced_job("foreign", team)

    def test_what_earlier_runtimes_made_is_still_ended(
        self, api: client.ApiClient, operator: client.BatchV1Api, team: str
    ) -> None:
        owner = make_run(api, {}, dry_run=False)["metadata"]
        old = job({"0.image": "registry.example.com/another:1", "hostNetwork": True, "metadata.name": "old"})
        # What has an owner that is not there is deleted by the garbage collector.
        old["metadata"]["ownerReferences"][0] |= {"name": owner["name"], "uid": owner["uid"]}
        client.BatchV1Api(api).create_namespaced_job(team, old)
        for spec in ({"activeDeadlineSeconds": 1}, {"ttlSecondsAfterFinished": 60}, {"backoffLimit": 2}):
            assert refusal(lambda spec=spec: operator.patch_namespaced_job("old", team, {"spec": spec})) == ""
        assert refusal(lambda: operator.delete_namespaced_job("old", team)) == ""

    def test_others_are_not_held_to_it(self, api: client.ApiClient, team: str) -> None:
        foreign = job({"metadata.ownerReferences": None, "0.image": "another:1"})
        assert refusal(lambda: client.BatchV1Api(api).create_namespaced_job(team, foreign, dry_run="All")) == ""


class TestOperatorWithEveryRuntime:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def policed(cls, control_plane: Path, team: str, operator: client.BatchV1Api) -> Iterator[None]:
        rich = {**EXAMPLE["runtimes"][0], "name": "rich", "image": "trainer:1"}
        offered = [*EXAMPLE["runtimes"], {**rich, "podTemplate": run_objects.RICHEST_POD_TEMPLATE}]
        made = policies({**EXAMPLE, "runtimes": offered, "admissionPolicies": {"operator": True}})
        assert len(made) == 4, "of Jobs and of IPUJobs"
        foreign = job({"metadata.ownerReferences": None})
        request = partial(operator.create_namespaced_job, team, foreign, dry_run="All")
        with enforced(control_plane, made, request, ONLY_RUNS):
            yield

    @pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
    def test_every_job_that_the_operator_makes_passes(
        self, operator: client.BatchV1Api, team: str, golden: Path
    ) -> None:
        made = run_objects.golden_job(golden)
        made["metadata"]["namespace"] = team
        assert refusal(lambda: operator.create_namespaced_job(team, made, dry_run="All")) == ""


def make_run(api: client.ApiClient, changes: dict[str, Any], *, dry_run: bool = True) -> dict[str, Any]:
    version = f"{v1alpha1.GROUP}/{v1alpha1.VERSION}"
    body = {"apiVersion": version, "kind": v1alpha1.KIND, "metadata": {"generateName": "italian-"}}
    spec = with_changes(MINIMAL, changes)
    place = (v1alpha1.GROUP, v1alpha1.VERSION, TEAM, v1alpha1.PLURAL)
    options = {"dry_run": "All"} if dry_run else {}
    made: dict[str, Any] = client.CustomObjectsApi(api).create_namespaced_custom_object(
        *place, {**body, "spec": spec}, **options
    )
    return made


def limit(api: client.ApiClient, annotations: dict[str, str | None]) -> None:
    client.CoreV1Api(api).patch_namespace(TEAM, {"metadata": {"annotations": annotations}})


@pytest.fixture
def limits(api: client.ApiClient) -> Iterator[None]:
    """The namespace says what its runs may name."""
    limit(api, dict(LIMITS))
    yield
    limit(api, dict.fromkeys(LIMITS))


class TestRuns:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def policed(cls, control_plane: Path, api: client.ApiClient, team: str) -> Iterator[None]:
        made = policies({"watchNamespace": team, "admissionPolicies": {"runs": {"enabled": True}}})
        with enforced(control_plane, made, partial(make_run, api, {}), NOTHING):
            yield

    def test_without_limits_there_are_no_runs(self, api: client.ApiClient) -> None:
        assert NOTHING in refusal(lambda: make_run(api, {}))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({}, ""),
            ({"model": "pvc://speech/model"}, ""),
            ({"dataset.source": "s3://open/italian"}, ""),
            ({"output.uri": "s3://models/team/runs"}, ""),
            ({"output.uri": "s3://models/team"}, ""),
            ({"secretRefs": [{"name": "hub", "keys": ["HF_TOKEN"]}, {"name": "store", "keys": ["HF_TOKEN"]}]}, ""),
            ({"secretRefs": [{"name": "admin", "keys": ["HF_TOKEN"]}]}, "use the Secrets [hub, store] alone"),
            ({"model": "pvc://private/model"}, "use the claims [speech] alone"),
            ({"dataset.source": "pvc://private"}, "use the claims [speech] alone"),
            ({"output.uri": "pvc://private/runs"}, "use the claims [speech] alone"),
            ({"evaluations": [{"name": "radio", "source": "pvc://speech/radio"}]}, ""),
            ({"evaluations": [{"name": "radio", "source": "pvc://private"}]}, "use the claims [speech] alone"),
            ({"evaluations": [{"name": "radio", "source": "another/speech"}]}, "read from [openai, s3://open/]"),
            ({"model": "another/whisper"}, "read from [openai, s3://open/]"),
            ({"model": "openai-but-not/whisper"}, "read from [openai, s3://open/]"),
            ({"dataset.source": "s3://open-but-not/italian"}, "read from [openai, s3://open/]"),
            ({"dataset.source": "hf://openai/whisper"}, "read from [openai, s3://open/]"),
            ({"output.uri": "pvc://speech/model"}, "write to [pvc://speech/runs, s3://models/team]"),
            ({"output.uri": "pvc://speech/runs-of-others"}, "write to [pvc://speech/runs, s3://models/team]"),
            ({"output.uri": "hf://another/model"}, "write to [pvc://speech/runs, s3://models/team]"),
        ],
        ids=str,
    )
    @pytest.mark.usefixtures("limits")
    def test_a_run_names_what_is_allowed(self, api: client.ApiClient, changes: dict[str, Any], message: str) -> None:
        wait_until(partial(make_run, api, changes), is_told=lambda said: message in said if message else said == "")

    @pytest.mark.usefixtures("limits")
    def test_a_refusal_names_the_annotation_and_the_namespace(self, api: client.ApiClient) -> None:
        told = f"by the annotation whisperfinetune.dev/allowed-claims of the Namespace {TEAM}"
        wait_until(partial(make_run, api, {"model": "pvc://private/model"}), is_told=lambda said: told in said)


class TestRunsWhereLimitsAreNotRequired:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def policed(cls, control_plane: Path, api: client.ApiClient, team: str) -> Iterator[None]:
        values = {"watchNamespace": team, "admissionPolicies": {"runs": {"enabled": True, "required": False}}}
        limit(api, {"whisperfinetune.dev/allowed-secrets": "hub"})
        with enforced(control_plane, policies(values), partial(make_run, api, {}), NOTHING):
            yield

    def test_a_namespace_without_any_is_free(self, api: client.ApiClient) -> None:
        limit(api, {"whisperfinetune.dev/allowed-secrets": None})
        wait_until(partial(make_run, api, {"model": "pvc://private/model"}), is_told=lambda said: said == "")

    def test_with_one_the_others_allow_nothing(self, api: client.ApiClient) -> None:
        limit(api, {"whisperfinetune.dev/allowed-secrets": "hub"})
        wait_until(partial(make_run, api, {}), is_told=lambda said: NOTHING in said)
        limit(api, {"whisperfinetune.dev/allowed-secrets": None})
