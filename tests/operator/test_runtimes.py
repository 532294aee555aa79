"""The admin's runtimes file: what it may say, and the one line about a wrong one."""

from pathlib import Path

import pytest

from repository import ROOT
from whisper_finetune_operator.planning import quantities, runtimes
from whisper_finetune_operator.planning.runtimes import RuntimesError

EXAMPLE = ROOT / "docs" / "examples" / "runtimes.yaml"
CPU = "runtimes: [{name: cpu, accelerator: cpu, image: trainer"


def test_the_example_offers_every_kind() -> None:
    loaded = runtimes.load_runtimes(EXAMPLE)
    assert [runtime.name for runtime in loaded.runtimes] == ["cpu", "gpu", "pod16", "eidf", "c600"]
    cpu = loaded.named("cpu")
    assert cpu is not None
    assert cpu.resources.requests == {"cpu": "2", "memory": "4Gi"}
    assert cpu.grace_seconds == 300
    assert loaded.named("tpu") is None


def test_a_runtime_is_open_to_all_namespaces_or_to_those_it_names() -> None:
    loaded = runtimes.load_runtimes(EXAMPLE)
    assert [runtime.name for runtime in loaded.runtimes if runtime.open_to("elsewhere")] == [
        "cpu",
        "c600",
    ]


RIGHTS = {
    "hostNetwork": "hostNetwork: true",
    "hostIPC": "hostIPC: true",
    "privileged": "security: {privileged: true}",
    "root": "security: {runAsUser: 0}",
    "capabilities": "security: {capabilities: [IPC_LOCK]}",
    "models on the host": "modelCache: {hostPath: {path: /hub}}",
    "programs on the host": "executableCache: {hostPath: {path: /programs}}",
}


@pytest.mark.parametrize("right", RIGHTS.values(), ids=RIGHTS)
def test_a_runtime_with_rights_on_the_node_names_its_namespaces(tmp_path: Path, right: str) -> None:
    file = tmp_path / "runtimes.yaml"
    file.write_text(f"{CPU}, {right}}}]", encoding="utf-8")
    with pytest.raises(RuntimesError, match=r"rights on the node: cpu \(.*name the namespaces .* or write .*for all"):
        runtimes.load_runtimes(file)
    for namespaces, is_open in (("speech", True), ("'*'", True), ("other", False)):
        file.write_text(f"{CPU}, {right}, namespaces: [{namespaces}]}}]", encoding="utf-8")
        assert runtimes.load_runtimes(file).runtimes[0].open_to("speech") is is_open


def test_a_runtime_without_rights_on_the_node_is_open_to_all(tmp_path: Path) -> None:
    file = tmp_path / "runtimes.yaml"
    file.write_text(f"{CPU}, modelCache: {{persistentVolumeClaim: {{claimName: hub}}}}}}]", encoding="utf-8")
    assert runtimes.load_runtimes(file).runtimes[0].open_to("anywhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("runtimes: [", "is not YAML: while parsing", id="no YAML"),
        pytest.param("", "Input should be a valid dictionary", id="empty"),
        pytest.param("runtimes: []", "runtimes: Tuple should have at least 1 item", id="none"),
        pytest.param("runtimes: [{name: cpu, accelerator: cpu}]", "runtimes.0.image: Field required", id="no image"),
        pytest.param(f"{CPU}, accelerator: tpu}}]", "runtimes.0.accelerator: Input should be 'ipu'", id="unknown kind"),
        pytest.param(f"{CPU}, colour: red}}]", "runtimes.0.colour: Extra inputs are not permitted", id="unknown field"),
        pytest.param(f"{CPU}, scratchLimit: lots}}]", "runtimes.0.scratchLimit: String should match", id="quantity"),
        pytest.param(f"{CPU}, modelCache: {{}}}}]", "must be one volume source", id="no volume source"),
        *(
            pytest.param(f"{CPU}, modelCache: {{emptyDir: {{sizeLimit: {size}}}}}}}]", "emptyDir.sizeLimit is", id=size)
            for size in ("20 GB", "1Pi", "1e10", "[1]")
        ),
        pytest.param(f"{CPU}, executableCache: {{emptyDir: 20Gi}}}}]", "emptyDir must be an object", id="a bare size"),
        pytest.param(
            f"{CPU}, acceleratorMemory: 24Gi}}]", "acceleratorMemory is for accelerator cuda", id="a CPU's card"
        ),
        pytest.param(f"{CPU}, resource: x/y}}]", "accelerator cpu takes no resource", id="resource for a CPU"),
        pytest.param(
            f"{CPU}, env: {{WHISPER_FINETUNE_CONFIG: x}}}}]", "env must not set WHISPER_FINETUNE_CONFIG", id="our env"
        ),
        pytest.param(
            f"{CPU}, workload: IPUJob}}]", "partitions and workload: IPUJob are for accelerator ipu", id="IPUJob"
        ),
        pytest.param(
            "runtimes: [{name: x, accelerator: ipu, image: t}]",
            "needs one of partitions, resource",
            id="no way to IPUs",
        ),
        pytest.param(
            "runtimes: [{name: x, accelerator: ipu, image: t, resource: a/b, workload: IPUJob}]",
            "needs one of partitions, resource",
            id="two ways to IPUs",
        ),
        pytest.param(
            "runtimes: [{name: x, accelerator: cuda, image: t}]", "accelerator cuda needs resource", id="no way to GPUs"
        ),
        pytest.param(f"{CPU}}}]\ndefaultRuntime: gpu", "defaultRuntime gpu is not one of cpu", id="unknown default"),
        pytest.param(
            f"{CPU}}}, {{name: cpu, accelerator: cpu, image: t}}]", "two runtimes are called cpu", id="one name twice"
        ),
    ],
)
def test_a_wrong_file_gets_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "runtimes.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RuntimesError) as error:
        runtimes.load_runtimes(file)
    assert says in str(error.value)
    assert str(error.value).startswith(f"runtimes file {file}")
    assert "\n" not in str(error.value)


def pool(name: str, host: str, *, server: str = "", port: int = 8090) -> str:
    """Return a runtime with the one partition p4."""
    named = f"server: {server}, " if server else ""
    partitions = f"{{{named}apiHost: {host}, apiPort: {port}, pool: [{{id: p4, ipus: 4}}]}}"
    return f"{{name: {name}, accelerator: ipu, image: t, partitions: {partitions}}}"


@pytest.mark.parametrize(
    "pools",
    [
        (pool("a", "vipu.example"), pool("b", "VIPU.example.")),
        (pool("a", "vipu", server="main"), pool("b", "10.5.1.1", server="main")),
        (pool("a", "10.5.1.1", server="main"), pool("b", "10.5.1.2", server="annexe")),
        (pool("a", "10.5.1.1", server="main"), pool("b", "10.5.1.1", server="annexe", port=8091)),
    ],
    ids=["one host in two spellings", "one named server at two hosts", "two named servers", "at two ports of a host"],
)
def test_two_pools_may_name_one_partition_or_two_servers(tmp_path: Path, pools: tuple[str, ...]) -> None:
    file = tmp_path / "runtimes.yaml"
    file.write_text(f"runtimes: [{', '.join(pools)}]", encoding="utf-8")
    runtimes.load_runtimes(file)


@pytest.mark.parametrize(
    "pools",
    [
        (pool("a", "10.5.1.1"), pool("b", "vipu.example")),
        (pool("a", "10.5.1.1", server="main"), pool("b", "10.5.1.2")),
        (pool("a", "10.5.1.1", server="main"), pool("b", "10.5.1.1", server="annexe")),
    ],
    ids=["two hosts", "one of two servers has no name", "one host under two names"],
)
def test_a_partition_that_may_be_one_or_two_is_refused(tmp_path: Path, pools: tuple[str, ...]) -> None:
    file = tmp_path / "runtimes.yaml"
    file.write_text(f"runtimes: [{', '.join(pools)}]", encoding="utf-8")
    with pytest.raises(RuntimesError, match=r"partition p4 stands .* give each pool the name of its own in server"):
        runtimes.load_runtimes(file)


def test_the_port_stands_apart_from_the_host(tmp_path: Path) -> None:
    file = tmp_path / "runtimes.yaml"
    file.write_text(f"runtimes: [{pool('a', 'vipu.example:8090')}]", encoding="utf-8")
    with pytest.raises(RuntimesError, match="write the port as apiPort"):
        runtimes.load_runtimes(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimesError, match=r"nowhere\.yaml cannot be read: No such file"):
        runtimes.load_runtimes(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("quantity", "number"),
    [("10Gi", 10 * 2**30), ("500m", 0.5), ("2", 2), ("1.5", 1.5), ("2M", 2_000_000), ("3Ki", 3072), ("1Ti", 2**40)],
)
def test_quantities_are_read_as_kubernetes_means_them(quantity: str, number: float) -> None:
    assert quantities.parse_quantity(quantity) == number
