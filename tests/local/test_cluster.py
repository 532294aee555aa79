"""What the local cluster's program decides, without a cluster."""

import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from cluster import kinds
from cluster.clusters import kind_cluster, preparation, simulated_nodes
from cluster.clusters.current_cluster import require_consent
from cluster.components import component_logs
from cluster.components.addresses import CHOICES, FOR_BENCHMARKS, ClusterAddresses, choose_addresses
from cluster.components.cluster_plan import ClusterPlan, plan_file, read_plan
from cluster.components.credentials import kubeconfig
from cluster.faults import ClusterError
from cluster.folders import ClusterFolders, require_free_disk
from cluster.host.control_groups import controllers_to_enable, hierarchies, remove_tree
from cluster.host.host_network import interfaces, routed_networks
from cluster.host.isolation import INSIDE, belongs_to
from cluster.host.processes import end_processes, processes_where
from cluster.programs import binaries, debian_packages
from cluster.programs.go_toolchain import parse_version
from cluster.programs.image_archive import write_image_archive
from repository import ROOT

PROGRAM = ROOT / "local" / "cluster"


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ClusterFolders:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = ClusterFolders("unit")
    made.state.mkdir(parents=True)
    return made


def test_a_name_always_gets_the_same_addresses() -> None:
    assert choose_addresses("demo", []) == choose_addresses("demo", [])
    assert choose_addresses("demo", []) != choose_addresses("test", [])


def test_addresses_of_a_choice() -> None:
    addresses = ClusterAddresses(48)
    assert (addresses.host, addresses.node) == ("10.243.48.1", "10.243.48.2")
    assert (addresses.pods, addresses.api_server) == (IPv4Network("10.244.48.0/24"), "https://10.243.48.2:6443")
    assert len(ClusterAddresses(CHOICES - 1).host_interface) <= 15
    assert ClusterAddresses(CHOICES - 1).simulated_pods.subnet_of(FOR_BENCHMARKS)


@pytest.mark.parametrize("taken", ["10.243.48.0/30", "10.244.48.0/24", "10.244.48.128/25", "10.243.48.0/21"])
def test_addresses_in_use_are_passed_over(taken: str) -> None:
    assert choose_addresses("demo", []).choice == 48
    chosen = choose_addresses("demo", [IPv4Network(taken)])
    assert chosen.choice > 48
    assert not chosen.overlaps([IPv4Network(taken)])


def test_a_host_without_free_addresses_is_said_so() -> None:
    with pytest.raises(ClusterError, match="no free addresses for cluster 'demo'"):
        choose_addresses("demo", [IPv4Network("10.0.0.0/8")])


def test_routes_of_the_host() -> None:
    routes = [{"dst": "default"}, {"dst": "10.1.0.0/16"}, {"dst": "192.0.2.7"}, {"dst": "fe80::/64"}, {}]
    assert routed_networks(json.dumps(routes)) == [IPv4Network("10.1.0.0/16"), IPv4Network("192.0.2.7/32")]


def test_interfaces_of_the_host() -> None:
    assert interfaces('[{"ifname": "wft-host-1"}, {}]') == {"wft-host-1"}
    assert interfaces("") == set()


def test_a_plan_is_read_as_it_was_written(folders: ClusterFolders) -> None:
    plan = ClusterPlan(folders, ClusterAddresses(7), Path("/programs"), Path("/pause.tar"), with_node=True)
    plan.write()
    assert read_plan(folders) == plan


def test_a_plan_cut_off_in_writing_is_none(folders: ClusterFolders) -> None:
    assert read_plan(folders) is None
    plan_file(folders).write_text('{"name": "un')
    assert read_plan(folders) is None


def test_only_processes_of_the_own_plan_belong_to_a_cluster() -> None:
    mine, other = Path("/state/mine/plan.json"), Path("/state/other/plan.json")
    held = ["unshare", "--net", "--fork", sys.executable, str(INSIDE), str(mine)]
    assert belongs_to(held, mine)
    assert belongs_to(held[-3:], mine)
    assert belongs_to([sys.executable, "/another/checkout/local/cluster/components/inside.py", str(mine)], mine)
    assert not belongs_to(held, other)
    assert not belongs_to(["tail", "-f", str(mine)], mine)
    assert not belongs_to([str(mine)], mine)
    assert not belongs_to([], mine)


@contextmanager
def sleeping(seconds: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a sleep; the kernel shows a command line a little later than it has begun the program."""
    with subprocess.Popen(["sleep", seconds]) as process:
        try:
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
                time.sleep(0.001)
            yield process
        finally:
            process.kill()


def test_processes_are_found_by_their_command_line_and_ended() -> None:
    with sleeping("600.125") as mine, sleeping("600.25") as other:
        assert processes_where(lambda command: command == ["sleep", "600.125"]) == [mine.pid]
        end_processes(lambda command: command == ["sleep", "600.125"])
        assert mine.wait() == -9
        assert other.poll() is None


def test_cgroup_hierarchies_of_both_versions() -> None:
    mounts = (
        "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
        "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    )
    assert hierarchies(mounts) == [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/unified")]


def test_controllers_that_the_kubelet_needs_are_enabled_where_they_are_not() -> None:
    assert controllers_to_enable("cpuset cpu io memory hugetlb pids rdma", "cpu memory") == "+cpuset +io +hugetlb +pids"
    assert controllers_to_enable("", "") == ""


def test_a_cgroup_is_removed_with_those_in_it(tmp_path: Path) -> None:
    (tmp_path / "parent/pods/one").mkdir(parents=True)
    assert remove_tree(tmp_path / "parent")
    assert not (tmp_path / "parent").exists()
    assert remove_tree(tmp_path / "parent")


def test_a_cgroup_in_use_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "parent/pods").mkdir(parents=True)
    (tmp_path / "parent/pods/in-use").touch()
    assert not remove_tree(tmp_path / "parent")


def test_a_kubeconfig_needs_no_other_file() -> None:
    assert kubeconfig("demo", "https://10.243.48.2:6443", "certificate", "token") == {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "demo",
        "clusters": [
            {
                "name": "demo",
                "cluster": {"server": "https://10.243.48.2:6443", "certificate-authority-data": "Y2VydGlmaWNhdGU="},
            }
        ],
        "users": [{"name": "demo", "user": {"token": "token"}}],
        "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "demo"}}],
    }


@pytest.mark.parametrize(
    ("asked", "started_as", "kind"),
    [("", "", "compiled"), ("kind", "", "kind"), ("", "current", "current"), ("kind", "kind", "kind")],
)
def test_the_kind_asked_for_or_started_is_used(asked: str, started_as: str, kind: str) -> None:
    assert kinds.choose_kind(asked, started_as, starting=False) == kind


def test_a_cluster_does_not_change_its_kind() -> None:
    with pytest.raises(ClusterError, match="started with CLUSTER=compiled, not kind"):
        kinds.choose_kind("kind", "compiled", starting=True)


def test_somebodys_cluster_is_used_only_when_its_context_is_named() -> None:
    require_consent("production", "production")
    with pytest.raises(ClusterError, match="set CLUSTER_CONFIRM=production"):
        require_consent("production", "staging")


def test_the_node_image_of_kind_is_found_in_its_source() -> None:
    assert (
        kind_cluster.node_image('package defaults\n\nconst Image = "some/node:v1@sha256:00"\n')
        == "some/node:v1@sha256:00"
    )


def test_missing_packages_are_named_once() -> None:
    programs = {"sh": "dash", "no-such-program": "some-package", "/no/such/file": "some-package"}
    assert debian_packages.missing_packages(programs) == ["some-package"]


@pytest.mark.parametrize(("output", "version"), [("go version go1.26.8 linux/amd64", (1, 26)), ("no", (0, 0))])
def test_version_of_go(output: str, version: tuple[int, int]) -> None:
    assert parse_version(output) == version


@pytest.mark.parametrize("module", binaries.MODULES, ids=lambda module: module.folder.name)
def test_every_program_is_one_of_its_module(module: binaries.GoModule) -> None:
    go_mod = (module.folder / "go.mod").read_text()
    for package in module.programs.values():
        assert package in go_mod


@pytest.mark.parametrize(("asked", "version"), [("", "v1.36."), ("newest", "v1.36."), ("oldest", "v1.31.")])
def test_the_kubernetes_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, asked: str, version: str) -> None:
    monkeypatch.setenv("KUBERNETES", asked)
    assert preparation.kubernetes(with_node=False).version.startswith(version)


def test_the_oldest_kubernetes_is_the_oldest_that_the_chart_takes() -> None:
    chart = yaml.safe_load((ROOT / "charts/whisper-finetune-operator/Chart.yaml").read_text(encoding="utf-8"))
    oldest = binaries.OLDEST_KUBERNETES.version.removeprefix("v")
    assert chart["kubeVersion"] == f">={oldest}-0"


@pytest.mark.parametrize(("asked", "with_node"), [("oldest", True), ("1.31", False)])
def test_a_kubernetes_that_cannot_be_had_is_refused(
    monkeypatch: pytest.MonkeyPatch, asked: str, *, with_node: bool
) -> None:
    monkeypatch.setenv("KUBERNETES", asked)
    with pytest.raises(ClusterError, match="oldest"):
        preparation.kubernetes(with_node=with_node)


def test_the_cache_of_programs_is_another_one_when_their_module_changes(
    tmp_path: Path, folders: ClusterFolders
) -> None:
    del folders
    source = tmp_path / "go-some"
    source.mkdir()
    (source / "go.mod").write_text("require example.org/some v1.2.3\n")
    module = binaries.GoModule(source, "example.org/some", {})
    before = module.cached
    (source / "go.sum").write_text("changed")
    assert module.version == "v1.2.3"
    assert module.cached != before


@pytest.mark.parametrize(
    ("package", "name"), [("go.etcd.io/etcd/server/v3", "server"), ("k8s.io/cmd/kubelet", "kubelet")]
)
def test_the_file_that_go_builds(package: str, name: str) -> None:
    assert binaries.built_name(package) == name


def test_an_image_archive_names_its_image_and_holds_its_blobs(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/true")
    write_image_archive(tmp_path / "image.tar", "localhost/some:1", {"program": tmp_path / "program"}, "/program")
    with tarfile.open(tmp_path / "image.tar") as archive:
        index = json.loads((archive.extractfile("index.json") or pytest.fail("no index")).read())
        names = archive.getnames()
    (manifest,) = index["manifests"]
    assert manifest["annotations"]["org.opencontainers.image.ref.name"] == "localhost/some:1"
    assert f"blobs/sha256/{manifest['digest'].removeprefix('sha256:')}" in names
    assert len(names) == 5  # layout, index, layer, configuration, manifest


def test_a_termination_message_is_whole_in_the_stages(tmp_path: Path) -> None:
    for name in binaries.KWOK.files:
        (tmp_path / name).write_text("kind: Stage\n")
    message = '{"wer": "21.60", "quote": "it\'s", "line": "a\\nb"}'
    stages = list(yaml.safe_load_all(simulated_nodes.stages(tmp_path, simulated_nodes.succeeding_pods(message))))
    succeeds = next(stage for stage in stages if stage.get("metadata", {}).get("name") == "pod-succeeds")
    assert f"message: {json.dumps(message)}\n" in succeeds["spec"]["next"]["statusTemplate"]


def test_a_termination_message_is_no_template() -> None:
    assert simulated_nodes.quoted("a {{b}}") == '"a {{ "{{" }}b}}"'


def test_logs_of_one_component_and_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etcd.log").write_text("one\ntwo\nthree\nfour\n")
    component_logs.show_logs(tmp_path, "etcd")
    assert capsys.readouterr().out == "one\ntwo\nthree\nfour\n"
    component_logs.show_logs(tmp_path, "")
    assert capsys.readouterr().out == f"==> etcd ({tmp_path}/etcd.log)\ntwo\nthree\nfour\n"
    with pytest.raises(ClusterError, match="no component 'kubelet': there are etcd"):
        component_logs.show_logs(tmp_path, "kubelet")


def test_too_little_disk_is_said_before_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="a cluster needs 999999 GB of free disk"):
        require_free_disk(tmp_path, 999_999, "a cluster")


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["up", "--name", "No_Name"], {}, "error: the cluster name 'No_Name' does not fit"),
        (["up"], {"CLUSTER": "minikube"}, "error: CLUSTER=minikube is not one of compiled, kind and current"),
        (["kubeconfig", "--name", "unit"], {}, "error: cluster 'unit' is down: `up` starts it"),
        (["load", "--name", "unit", __file__], {}, "error: cluster 'unit' is down: `up` starts it"),
        (["load", "--name", "unit", "/no/such/file"], {}, "there is no file /no/such/file"),
        (["logs", "--name", "unit"], {}, "error: no logs in"),
        (["bin", "no-such-program"], {}, "error: no program 'no-such-program': there are etcd, helm"),
        (["load", "--name", "unit", __file__], {"CLUSTER": "current"}, "error: cannot load"),
        (["volume", "--name", "unit", "speech"], {"CLUSTER": "current"}, "error: volume 'speech' cannot be"),
        (["up", "--name", "unit"], {"CLUSTER": "kind", "PATH": "/none"}, "needs a Docker engine (no `docker` on PATH)"),
    ],
)
def test_wrong_use_gets_one_clear_line(
    arguments: list[str], environment: dict[str, str], message: str, folders: ClusterFolders
) -> None:
    del folders
    ran = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert ran.returncode != 0
    assert message in ran.stderr.splitlines()[-1]
    assert ran.stdout == ""
