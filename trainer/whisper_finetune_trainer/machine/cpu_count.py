"""How many CPUs this process may really use: a pod with a limit of 2 on a node with 64 must not start 64 threads."""

import os
from pathlib import Path, PurePosixPath
from typing import Iterator, Optional, Tuple

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """Return the CPUs of this process's affinity, or fewer where a cgroup of it (v1 or v2) has a smaller quota."""
    affinity = len(os.sched_getaffinity(0))
    limits = cpu_quotas(_ROOT, _MEMBERSHIP.read_text(encoding="utf-8") if _MEMBERSHIP.is_file() else "")
    return min([affinity, *(whole_cpus(quota) for quota in limits)])


def whole_cpus(quota: float) -> int:
    """Return the threads that a quota can keep busy: one more would only be throttled."""
    return max(1, int(quota))


def cpu_quotas(root: Path, membership: str) -> Iterator[float]:
    """Yield each CPU quota that holds for a process, given the mount of cgroups and the text of /proc/self/cgroup."""
    for base, path in cgroup_folders(membership):
        # A limit of any parent holds too; in a container the path may be the host's, and the limit is at the root.
        for folder in (PurePosixPath(path), *PurePosixPath(path).parents):
            quota = _quota_of(root / base / str(folder).lstrip("/"))
            if quota is not None:
                yield quota


def cgroup_folders(membership: str) -> Iterator[Tuple[str, str]]:
    """Yield (mount below the root, path) of the CPU controller, from the text of /proc/self/cgroup."""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield "", path
        elif "cpu" in controllers.split(","):
            yield controllers, path
            yield "cpu", path


def _quota_of(folder: Path) -> Optional[float]:
    if (folder / "cpu.max").is_file():
        return quota_v2((folder / "cpu.max").read_text(encoding="utf-8"))
    if (folder / "cpu.cfs_quota_us").is_file():
        return quota_v1(
            (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"),
            (folder / "cpu.cfs_period_us").read_text(encoding="utf-8"),
        )
    return None


def quota_v2(cpu_max: str) -> Optional[float]:
    """Return the CPUs that cpu.max (`200000 100000` or `max 100000`) allows. None stands for no limit."""
    quota, period = cpu_max.split()
    return None if quota == "max" else int(quota) / int(period)


def quota_v1(cfs_quota_us: str, cfs_period_us: str) -> Optional[float]:
    """Return the CPUs that the two files of cgroup v1 allow. A quota of -1 is no limit."""
    quota = int(cfs_quota_us)
    return None if quota <= 0 else quota / int(cfs_period_us)


def make_waiting_passive() -> None:
    """Let a thread that waits for the others sleep; to be called before PyTorch is loaded, which reads this once.

    By default it spins, and so takes the CPU from the very thread it waits for where others use the machine too: on two
    busy cores training was five times slower, on two idle ones as fast.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
