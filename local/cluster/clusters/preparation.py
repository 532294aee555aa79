"""Install and compile what a compiled cluster needs before it can start."""

import os
import sys
from pathlib import Path

from cluster.components.node import PAUSE_IMAGE
from cluster.faults import ClusterError
from cluster.folders import ClusterFolders, require_free_disk
from cluster.programs import binaries, debian_packages
from cluster.programs.image_archive import write_image_archive

GIGABYTES_OF_THE_CONTROL_PLANE = 1
GIGABYTES_OF_A_NODE = 5


def prepare(folders: ClusterFolders, *, with_node: bool) -> tuple[Path, Path]:
    """Install and compile what is missing. Return the folder of the programs and, for a node, the pause image."""
    gigabytes = GIGABYTES_OF_A_NODE if with_node else GIGABYTES_OF_THE_CONTROL_PLANE
    require_free_disk(folders.state, gigabytes, "a cluster")
    packages = debian_packages.PROGRAMS_OF_THE_CONTROL_PLANE
    debian_packages.install_missing(packages | (debian_packages.PROGRAMS_OF_THE_NODE if with_node else {}))
    return binaries.compiled(kubernetes(with_node=with_node)), make_pause_image() if with_node else Path()


def kubernetes(*, with_node: bool) -> binaries.GoModule:
    """Return the Kubernetes that KUBERNETES names: the newest, or the oldest that the chart takes."""
    asked = os.environ.get("KUBERNETES") or "newest"
    if asked not in ("newest", "oldest"):
        raise ClusterError(f"KUBERNETES={asked} is neither newest nor oldest")
    if asked == "oldest" and with_node:
        raise ClusterError("the oldest Kubernetes has a control plane alone: use `up --no-node`, or unset KUBERNETES")
    return binaries.OLDEST_KUBERNETES if asked == "oldest" else binaries.KUBERNETES


def make_pause_image() -> Path:
    folder = binaries.compiled(binaries.PAUSE)
    archive = folder / "pause.tar"
    if not archive.exists():
        write_image_archive(archive, PAUSE_IMAGE, {"pause": folder / "pause"}, "/pause")
    return archive


def require_linux_root() -> None:
    if sys.platform != "linux":
        raise ClusterError(f"a compiled cluster needs Linux, and this is {sys.platform}: use CLUSTER=kind")
    if os.geteuid() != 0:
        raise ClusterError("a compiled cluster needs root, for its namespaces: run as root, or use CLUSTER=kind")
