"""Which kind of Kubernetes is used: the one that CLUSTER names, else the first that works here."""

from pathlib import Path
from typing import Protocol

from cluster.clusters.compiled_cluster import CompiledCluster
from cluster.clusters.current_cluster import CurrentCluster
from cluster.clusters.kind_cluster import KindCluster, can_use_kind
from cluster.faults import ClusterError
from cluster.folders import ClusterFolders


class Cluster(Protocol):
    """What every kind of cluster can do."""

    @property
    def folders(self) -> ClusterFolders: ...
    def up(self, *, with_node: bool) -> None: ...
    def down(self, *, purge: bool) -> None: ...
    def status(self) -> int: ...
    def kubeconfig(self) -> Path: ...
    def load(self, archive: Path) -> None: ...
    def volume(self, name: str) -> Path: ...
    def limit_volume(self, name: str, megabytes: int) -> None: ...
    def simulate_node(self, termination_message: str) -> None: ...


def choose_kind(asked: str, started_as: str, *, starting: bool) -> str:
    """Return the kind asked for, else the one that the cluster was started as, else the first that works here."""
    if asked and started_as and asked != started_as:
        raise ClusterError(
            f"this cluster was started with CLUSTER={started_as}, not {asked}: run `down` first, or use another --name"
        )
    if asked or started_as:
        return asked or started_as
    return "kind" if starting and can_use_kind() else "compiled"


def recorded_kind(folders: ClusterFolders) -> str:
    """Return the kind that the cluster was started as. It is empty where the cluster is down."""
    record = folders.state / "kind"
    return record.read_text() if record.exists() else ""


def record_kind(folders: ClusterFolders, kind: str) -> None:
    (folders.state / "kind").write_text(kind)


def forget_kind(folders: ClusterFolders) -> None:
    (folders.state / "kind").unlink(missing_ok=True)


def make_cluster(kind: str, folders: ClusterFolders) -> Cluster:
    match kind:
        case "compiled":
            return CompiledCluster(folders)
        case "kind":
            return KindCluster(folders)
        case "current":
            return CurrentCluster(folders)
    raise ClusterError(f"CLUSTER={kind} is not one of compiled, kind and current")
