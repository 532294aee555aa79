"""The local cluster itself: started with a node, used, killed, started again, and ended."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, watch

from cluster.components.cluster_plan import cgroup_name, plan_file, read_plan
from cluster.folders import ClusterFolders
from cluster.host.control_groups import hierarchies
from cluster.host.isolation import find_isolation
from cluster.host.processes import processes_where
from cluster.programs import binaries
from cluster.programs.image_archive import write_image_archive
from repository import ROOT

pytestmark = pytest.mark.cluster

PROGRAM = ROOT / "local" / "cluster"
FOLDERS = ClusterFolders("life")
IMAGE = "localhost/probe:1"
SIMULATED: dict[str, Any] = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
}
RESTRICTED = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
LOCKED = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
LIMITS = {"memory": "64Mi", "cpu": "500m"}


def cluster(*arguments: str) -> str:
    command = [sys.executable, str(PROGRAM), *arguments, "--name", FOLDERS.name]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"CLUSTER": "compiled"}
    ).stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("image") / "probe.tar"
    write_image_archive(made, IMAGE, {"probe": binaries.program("probe")}, "/probe")
    return made


@pytest.fixture(scope="module")
def up(archive: Path) -> Iterator[None]:
    cluster("down", "--purge")
    cluster("up")
    cluster("load", str(archive))
    yield
    cluster("down", "--purge")


@pytest.fixture
def api(up: None) -> Iterator[Any]:
    del up
    with connected() as made:
        yield made


def connected() -> Any:
    """Return the official client, which has no types to speak of."""
    connect: Any = config.new_client_from_config
    return connect(cluster("kubeconfig").strip())


def core_v1(api: Any) -> Any:
    return client.CoreV1Api(api)


def batch_v1(api: Any) -> Any:
    return client.BatchV1Api(api)


def events(*listing: Any, **selected: Any) -> Iterator[Any]:
    """The objects of a watch, for at most a minute."""
    make_watch: Any = watch.Watch
    return (event["object"] for event in make_watch().stream(*listing, timeout_seconds=60, **selected))


def pod(name: str, *arguments: str, volume: dict[str, Any] | None = None, **spec: object) -> dict[str, Any]:
    container = {
        "name": "probe",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "securityContext": LOCKED,
        "resources": {"limits": LIMITS},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}] if volume else [],
    }
    return {
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": RESTRICTED,
            "containers": [container],
            "volumes": [{"name": "data", **volume}] if volume else [],
            **spec,
        },
    }


def run_pod(api: Any, body: dict[str, Any], until: Callable[[Any], bool]) -> Any:
    """Create the pod and return it as it is when `until` holds."""
    core_v1(api).create_namespaced_pod("default", body)
    named = f"metadata.name={body['metadata']['name']}"
    seen = events(core_v1(api).list_namespaced_pod, "default", field_selector=named)
    return next(made for made in seen if until(made))


def has_ended(pod: Any) -> bool:
    return pod.status.phase in {"Succeeded", "Failed"}


def ending(pod: Any) -> Any:
    return pod.status.container_statuses[0].state.terminated


def processes_of_the_cluster() -> list[int]:
    """All that name the cluster's state folder, such as `--config=STATE/...`, and what runs in its pods."""
    state = f"{FOLDERS.state}/"
    return processes_where(lambda command: command[:1] == ["/probe"] or any(state in argument for argument in command))


def left_on_the_host() -> dict[str, list[str]]:
    """Mounts, interfaces, routes, namespaces and cgroups of the cluster."""
    links = subprocess.run(["ip", "-json", "link"], check=True, capture_output=True, text=True).stdout
    routes = subprocess.run(["ip", "route"], check=True, capture_output=True, text=True).stdout
    named = subprocess.run(["ip", "netns"], check=True, capture_output=True, text=True).stdout
    groups = [root / cgroup_name(FOLDERS.name) for root in hierarchies(Path("/proc/mounts").read_text())]
    return {
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if str(FOLDERS.state) in line],
        "interfaces": [link["ifname"] for link in json.loads(links) if link["ifname"] in interfaces_of_the_cluster()],
        "routes": [
            line for line in routes.splitlines() if any(name in line.split() for name in interfaces_of_the_cluster())
        ],
        "namespaces": [line for line in named.splitlines() if FOLDERS.name in line.split()],
        "cgroups": [str(group) for group in groups if group.exists()],
    }


INTERFACES: set[str] = set()


def interfaces_of_the_cluster() -> set[str]:
    """Those that a plan ever named, as `down` removes the plan."""
    plan = read_plan(FOLDERS)
    if plan:
        INTERFACES.update({plan.addresses.host_interface, plan.addresses.node_interface})
    return INTERFACES


def test_a_job_asks_the_api_with_its_own_token(api: Any) -> None:
    template = pod("own-token", "api", "/api/v1/namespaces/default/pods")
    job = {"metadata": {"name": "own-token"}, "spec": {"backoffLimit": 0, "template": {"spec": template["spec"]}}}
    jobs, core = batch_v1(api), core_v1(api)
    jobs.create_namespaced_job("default", job)
    seen = events(jobs.list_namespaced_job, "default", field_selector="metadata.name=own-token")
    assert next(made.status for made in seen if made.status.completion_time).succeeded == 1
    (made,) = core.list_namespaced_pod("default", label_selector="job-name=own-token").items
    # RBAC: the account is known and has no rights.
    assert ending(made).message.startswith("403 ")
    assert "system:serviceaccount:default:default" in ending(made).message
    assert "403 " in core.read_namespaced_pod_log(made.metadata.name, "default")


def test_a_memory_limit_is_enforced(api: Any) -> None:
    assert ending(run_pod(api, pod("memory", "memory", "200"), has_ended)).reason == "OOMKilled"
    assert ending(run_pod(api, pod("less-memory", "memory", "20"), has_ended)).message == "held 20 MiB"


def test_a_pod_can_be_reached_from_the_host_and_by_a_service(api: Any) -> None:
    serving = pod("serving", "serve", "8080")
    serving["metadata"]["labels"] = {"app": "serving"}
    serving["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    address = run_pod(api, serving, is_ready).status.pod_ip
    assert read_url(f"http://{address}:8080/") == "served"
    service = {
        "metadata": {"name": "serving"},
        "spec": {"selector": {"app": "serving"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    virtual = core_v1(api).create_namespaced_service("default", service).spec.cluster_ip
    asking = run_pod(api, pod("asking", "get", f"http://{virtual}/"), has_ended)
    assert ending(asking).message == "200 served"


def is_ready(made: client.V1Pod) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in made.status.conditions or ())


def read_url(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def test_a_volume_outlives_the_pod_that_wrote_it(api: Any) -> None:
    folder = Path(cluster("volume", "written").strip())
    volume = {"hostPath": {"path": str(folder), "type": "Directory"}}
    assert ending(run_pod(api, pod("writing", "write", "/data/file", volume=volume), has_ended)).message == "written"
    assert (folder / "file").read_text() == "a line\n"


def test_simulated_pods_succeed_with_the_message_and_real_ones_are_left_alone(api: Any, tmp_path: Path) -> None:
    message = tmp_path / "message.json"
    message.write_text('{"result": {"wer": "21.60"}, "brackets": "{{ }}"}')
    cluster("kwok", "--termination-message", str(message))
    simulated = run_pod(api, pod("simulated", "memory", "200", **SIMULATED), has_ended)
    assert (simulated.spec.node_name, simulated.status.phase) == ("kwok-0", "Succeeded")
    with pytest.raises(urllib.error.URLError, match="No route to host"):  # at once, and by no way out of this host
        read_url(f"http://{simulated.status.pod_ip}/")
    assert (ending(simulated).exit_code, ending(simulated).message) == (0, message.read_text())
    real = run_pod(api, pod("real", "memory", "20"), has_ended)
    assert (real.spec.node_name, ending(real).message) == ("local", "held 20 MiB")


def test_a_simulated_node_that_is_started_anew_does_not_wait_for_the_lease_of_the_one_before(
    api: Any, tmp_path: Path
) -> None:
    message = tmp_path / "message.json"
    message.write_text("{}")
    cluster("kwok", "--termination-message", str(message))
    leases = client.CoordinationV1Api(api)
    # Without its owner it is not deleted with the node, as when the garbage collector comes late.
    leases.patch_namespaced_lease("kwok-0", "kube-node-lease", {"metadata": {"ownerReferences": None}})
    before = leases.read_namespaced_lease("kwok-0", "kube-node-lease").metadata.uid
    cluster("kwok", "--termination-message", str(message))
    assert leases.read_namespaced_lease("kwok-0", "kube-node-lease").metadata.uid != before


def test_up_on_an_up_cluster_changes_nothing(api: Any) -> None:
    before = core_v1(api).read_namespace("kube-system").metadata.uid
    cluster("up")
    assert core_v1(api).read_namespace("kube-system").metadata.uid == before


def test_killing_the_one_process_ends_everything_and_up_starts_anew(api: Any, archive: Path) -> None:
    del archive
    run_pod(api, pod("running", "serve", "8081"), lambda made: made.status.phase == "Running")
    interfaces_of_the_cluster()
    isolation = find_isolation(plan_file(FOLDERS))
    assert isolation
    assert processes_where(lambda command: command == ["/probe", "serve", "8081"])
    handle = os.pidfd_open(isolation.pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    wait_until(lambda: not processes_of_the_cluster() and not left_on_the_host()["interfaces"])
    assert {what: left for what, left in left_on_the_host().items() if left and what != "cgroups"} == {}
    assert subprocess.run([sys.executable, str(PROGRAM), "status", "--name", FOLDERS.name], check=False).returncode == 1

    cluster("up")
    with connected() as anew:
        # The image is there still, the old cluster's objects are not.
        assert ending(run_pod(anew, pod("running", "memory", "20"), has_ended)).message == "held 20 MiB"


def test_down_leaves_nothing(up: None) -> None:
    del up
    interfaces_of_the_cluster()
    cluster("down", "--purge")
    assert processes_of_the_cluster() == []
    assert {what: left for what, left in left_on_the_host().items() if left} == {}
    assert not FOLDERS.state.exists()
    cluster("down")


def wait_until(holds: Callable[[], bool]) -> None:
    """Ask again and again; the test's own time limit ends it."""
    while not holds():
        os.sched_yield()
