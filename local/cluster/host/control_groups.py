"""The cgroups of a cluster's containers: a folder of the cluster in each hierarchy, of version 1 or 2."""

import time
from pathlib import Path

from cluster.faults import ClusterError

SECONDS_TO_EMPTY = 20
CONTROLLERS_OF_THE_KUBELET = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}


def hierarchies(mounts: str) -> list[Path]:
    """Return where the cgroup hierarchies are mounted, from the text of /proc/mounts."""
    fields = [line.split() for line in mounts.splitlines()]
    return [Path(target) for _, target, kind, *_ in fields if kind in {"cgroup", "cgroup2"}]


def make_control_groups(name: str) -> None:
    for hierarchy in hierarchies(Path("/proc/mounts").read_text()):
        enable_controllers(hierarchy)
        (hierarchy / name).mkdir(exist_ok=True)


def enable_controllers(hierarchy: Path) -> None:
    """Enable the controllers for child cgroups, because the kubelet needs them. Only version 2 has such a file."""
    enabled = hierarchy / "cgroup.subtree_control"
    if enabled.exists():
        enabled.write_text(controllers_to_enable((hierarchy / "cgroup.controllers").read_text(), enabled.read_text()))


def controllers_to_enable(available: str, enabled: str) -> str:
    """Return what to write to cgroup.subtree_control, such as "+cpuset +pids"."""
    return " ".join(
        f"+{name}" for name in available.split() if name in CONTROLLERS_OF_THE_KUBELET - set(enabled.split())
    )


def remove_control_groups(name: str) -> None:
    """Remove the cluster's folders. The folder of a container that is being killed becomes empty a moment later."""
    deadline = time.monotonic() + SECONDS_TO_EMPTY
    for hierarchy in hierarchies(Path("/proc/mounts").read_text()):
        while not remove_tree(hierarchy / name):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{hierarchy / name} still holds processes: see its cgroup.procs files, and end them"
                )
            time.sleep(0.1)


def remove_tree(folder: Path) -> bool:
    """Remove a cgroup and those in it, innermost first. Return False where one still has processes."""
    if not folder.is_dir():
        return True
    inner = [path for path in folder.rglob("*") if path.is_dir()]
    for path in [*sorted(inner, key=lambda path: len(path.parts), reverse=True), folder]:
        try:
            path.rmdir()
        except OSError:
            return False
    return True
