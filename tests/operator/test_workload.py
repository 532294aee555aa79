"""The Job as whole objects: tests/golden has what each spec becomes."""

import json
from typing import Any

import pytest
import yaml

import run_objects
from golden_files import check_golden_objects
from repository import ROOT
from run_objects import RUNTIMES, run_object
from whisper_finetune_api.run import CONFIG_ENV, TrainerConfig
from whisper_finetune_operator.next_steps import Phase, Pinned
from whisper_finetune_operator.planning import manifest, plan, runtimes
from whisper_finetune_operator.planning.runtimes import Runtime, Runtimes
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.workloads import job_kind

EXAMPLES = {path.stem: path for path in (ROOT / "docs" / "examples").glob("*.yaml") if path.stem != "runtimes"}
GOLDEN = {
    "job-minimal": ("minimal", "cpu"),
    "job-decoder-with-checkpoints": ("decoder-with-checkpoints", "cpu"),
    "job-private-data": ("private-data", "gpu"),
    "job-on-a-partition": ("catalan-on-ipus", "pod16"),
    "job-on-cards": ("catalan-on-ipus", "c600"),
    "ipujob": ("catalan-on-ipus", "eidf"),
}


def example(name: str) -> Run:
    """Return a sample object as the API server would store it."""
    loaded = yaml.safe_load(EXAMPLES[name].read_text(encoding="utf-8"))
    stored = run_object()
    metadata = {**stored["metadata"], **loaded["metadata"]}
    return Run.from_object({**stored, **loaded, "metadata": metadata})


def built(run: Run, *, failed_before: int = 0, offered: Runtimes = RUNTIMES) -> dict[str, Any]:
    spec = plan.read_spec(run)
    assert not isinstance(spec, Phase)
    planned = plan.make_plan(run, spec, Pinned(offered.default_runtime), offered)
    assert not isinstance(planned, Phase)
    pool = planned.runtime.partitions
    return manifest.build_workload(planned.on(pool.members[1]) if pool else planned, failed_before)


def on(runtime: dict[str, Any]) -> dict[str, Any]:
    """Return the pod's spec of the least run on one runtime."""
    whole = Runtime.model_validate({"name": "one", "accelerator": "cpu", "image": "trainer:1", **runtime})
    offered = Runtimes(default_runtime="one", runtimes=(whole,))
    spec: dict[str, Any] = built(example("minimal"), offered=offered)["spec"]["template"]["spec"]
    return spec


def environment(pod_spec: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in pod_spec["containers"][0]["env"]}


def readable(job: dict[str, Any]) -> dict[str, Any]:
    """Return a Job with the trainer's configuration parsed, as it stands in tests/golden."""
    parts = job["spec"]["workers"] if job["kind"] == "IPUJob" else job["spec"]
    for variable in parts["template"]["spec"]["containers"][0]["env"]:
        if variable["name"] == CONFIG_ENV:
            variable["value"] = json.loads(variable["value"])
    return job


@pytest.mark.parametrize("golden", GOLDEN)
def test_the_job_is_the_golden_one(golden: str) -> None:
    name, runtime = GOLDEN[golden]
    offered = RUNTIMES.model_copy(update={"default_runtime": runtime})
    check_golden_objects(f"{golden}.yaml", readable(built(example(name), offered=offered)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_trainer_reads_what_the_job_tells_it(name: str) -> None:
    run = example(name)
    offered = RUNTIMES.model_copy(update={"default_runtime": "pod16" if "ipus" in run.spec else "cpu"})
    job = built(run, offered=offered)
    told = TrainerConfig.model_validate_json(environment(job["spec"]["template"]["spec"])[CONFIG_ENV])
    assert (told.name, told.uid) == (run.name, run.uid)
    assert told.spec == plan.read_spec(run)


@pytest.mark.parametrize(("failed_before", "limit"), [(0, 3), (2, 1), (3, 0), (9, 0)])
def test_earlier_failures_are_taken_from_the_retries(failed_before: int, limit: int) -> None:
    job = built(example("minimal"), failed_before=failed_before)
    assert job["spec"]["backoffLimit"] == limit
    assert job["metadata"]["annotations"]["whisperfinetune.dev/failed-before"] == str(failed_before)


@pytest.mark.parametrize(
    ("annotation", "failed_before"), [("2", 2), ("", 0), ("many", 0), ("-1", 0), ("²", 0), ("9" * 5000, 0)]
)
def test_what_anybody_may_write_on_a_job_is_read_where_it_is_a_number(annotation: str, failed_before: int) -> None:
    made = run_objects.job(metadata__annotations={"whisperfinetune.dev/failed-before": annotation})
    assert job_kind.read_job(made).failed_before == failed_before


def test_no_value_of_a_secret_can_reach_the_job_and_no_secret_is_taken_whole() -> None:
    text = json.dumps(built(example("private-data")))
    assert "envFrom" not in text
    assert text.count('"optional": false') == 4


def test_a_secrets_key_goes_before_the_admins_environment_and_that_before_the_operators() -> None:
    loaded = environment(on({"env": {"HOME": "/home/trainer", "TZ": "UTC"}}))
    assert (loaded["HOME"], loaded["TZ"]) == ("/home/trainer", "UTC")
    admin = RUNTIMES.model_copy(
        update={"runtimes": (RUNTIMES.runtimes[0].model_copy(update={"env": {"HF_TOKEN": "the admin's"}}),)}
    )
    run = example("private-data")
    told = environment(built(run, offered=admin)["spec"]["template"]["spec"])
    assert told["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "HF_TOKEN", "optional": False}}


def test_threads_follow_the_limit_of_cores() -> None:
    assert environment(on({"resources": {"limits": {"cpu": "3500m"}}}))["OMP_NUM_THREADS"] == "3"
    assert environment(on({"resources": {"limits": {"cpu": "500m"}}}))["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in environment(on({}))


def test_a_runtime_may_ask_for_the_host() -> None:
    spec = on({"hostNetwork": True, "hostIPC": True, "imagePullPolicy": "Always", "imagePullSecrets": ["pull"]})
    assert (spec["hostNetwork"], spec["hostIPC"], spec["dnsPolicy"]) == (True, True, "ClusterFirstWithHostNet")
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    assert "ports" not in spec["containers"][0]


@pytest.mark.parametrize(
    ("runtime", "size"),
    [({}, "469Mi"), ({"sharedMemory": "2Gi"}, "2Gi"), ({"hostIPC": True}, None)],
    ids=["of the loader", "the admin's", "the host's"],
)
def test_shared_memory_is_the_admins_to_say_else_what_the_loader_needs(
    runtime: dict[str, Any], size: str | None
) -> None:
    cards = {"accelerator": "ipu", "resource": "c600.graphcore.ai/ipu", **runtime}
    whole = Runtime.model_validate({"name": "one", "image": "trainer:1", **cards})
    offered = Runtimes(default_runtime="one", runtimes=(whole,))
    made = built(example("catalan-on-ipus"), offered=offered)
    volumes = {each["name"]: each for each in made["spec"]["template"]["spec"]["volumes"]}
    found = volumes.get("shared-memory", {"emptyDir": {}})["emptyDir"].get("sizeLimit")
    assert found == size


@pytest.mark.parametrize(
    ("security", "container"),
    [
        ({"privileged": True}, {"privileged": True, "readOnlyRootFilesystem": True}),
        (
            {"capabilities": ["IPC_LOCK"], "readOnlyRoot": False},
            {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]},
                "readOnlyRootFilesystem": False,
            },
        ),
    ],
)
def test_a_runtime_may_loosen_what_a_container_may(security: dict[str, Any], container: dict[str, Any]) -> None:
    assert on({"security": security})["containers"][0]["securityContext"] == container


def test_a_runtime_may_run_as_root_and_without_a_group_of_files() -> None:
    assert on({"security": {"runAsUser": 0, "fsGroup": None}})["securityContext"] == {
        "runAsNonRoot": False,
        "runAsUser": 0,
        "runAsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_caches_are_mounted_where_the_libraries_look() -> None:
    spec = on({"modelCache": {"hostPath": {"path": "/hub"}}})
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    told = environment(spec)
    assert told["HF_HOME"] == mounts["model-cache"]
    assert {"name": "model-cache", "hostPath": {"path": "/hub"}} in spec["volumes"]


def test_the_example_runtimes_are_the_ones_the_tests_use() -> None:
    assert runtimes.load_runtimes(ROOT / "docs" / "examples" / "runtimes.yaml") == RUNTIMES


DISKS: dict[str, tuple[dict[str, Any], str, str]] = {
    "by itself": ({}, "13Gi", "13Gi"),
    "more scratch": ({"scratchLimit": "1500Mi"}, "4572Mi", "4572Mi"),
    "the admin's limit": ({"resources": {"limits": {"ephemeral-storage": "5Gi"}}}, "5Gi", "5Gi"),
    "the admin's request": ({"resources": {"requests": {"ephemeral-storage": "1Gi"}}}, "1Gi", "13Gi"),
    "a request above what it may write": (
        {"resources": {"requests": {"ephemeral-storage": "20Gi"}}},
        "20Gi",
        "20Gi",
    ),
    "a cache that ends with the pod": ({"modelCache": {"emptyDir": {"sizeLimit": "4Gi"}}}, "17Gi", "17Gi"),
    "one without a limit": ({"executableCache": {"emptyDir": {}}}, "23Gi", "23Gi"),
    "one whose limit is not said": ({"modelCache": {"emptyDir": {"sizeLimit": None}}}, "23Gi", "23Gi"),
    "one of a number": ({"modelCache": {"emptyDir": {"sizeLimit": 4294967296}}}, "17Gi", "17Gi"),
    "one in memory": ({"modelCache": {"emptyDir": {"medium": "Memory"}}}, "13Gi", "13Gi"),
    "one on a claim": ({"modelCache": {"persistentVolumeClaim": {"claimName": "hub"}}}, "13Gi", "13Gi"),
}


@pytest.mark.parametrize(("runtime", "request_", "limit"), DISKS.values(), ids=DISKS)
def test_a_pod_cannot_fill_its_nodes_disk(runtime: dict[str, Any], request_: str, limit: str) -> None:
    pod = on(runtime)
    resources = pod["containers"][0]["resources"]
    assert (resources["requests"]["ephemeral-storage"], resources["limits"]["ephemeral-storage"]) == (request_, limit)
    on_disk = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] in ("scratch", "tmp")]
    assert all("sizeLimit" in volume for volume in on_disk)
    assert len(on_disk) == 2


def test_a_bundle_of_authorities_is_where_the_libraries_look() -> None:
    pod = on({"caBundle": {"configMap": "company-ca", "key": "bundle.pem"}})
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "ca-bundle"]
    items = [{"key": "bundle.pem", "path": "ca-bundle.crt"}]
    assert volume == {"name": "ca-bundle", "configMap": {"name": "company-ca", "items": items}}
    (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "ca-bundle"]
    assert mount == {"name": "ca-bundle", "mountPath": "/certificates", "readOnly": True}
    found = {name: environment(pod)[name] for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")}
    assert set(found.values()) == {"/certificates/ca-bundle.crt"}


def test_without_a_bundle_the_images_own_authorities_are_trusted() -> None:
    assert not {"AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"} & set(environment(on({})))
