"""How many CPUs and how much memory this process may use, where its node has more.

A pod with a limit of 2 CPUs on a node with 64 must not start 64 threads.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Iterator, Optional, Tuple

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_NO_LIMIT_BYTES = 1 << 60


def available_cpus() -> int:
    """Return how many CPUs this process may use: by its affinity, and by the CPU quotas of its cgroups (v1 or v2)."""
    affinity = len(os.sched_getaffinity(0))
    limits = cpu_quotas(_ROOT, _MEMBERSHIP.read_text(encoding="utf-8") if _MEMBERSHIP.is_file() else "")
    return min([affinity, *(whole_cpus(quota) for quota in limits)])


def available_memory() -> Optional[int]:
    """Return how many bytes this process may use by its cgroups (v1 or v2), or None without a limit."""
    membership = _MEMBERSHIP.read_text(encoding="utf-8") if _MEMBERSHIP.is_file() else ""
    return min(memory_limits(_ROOT, membership), default=None)


def memory_limits(root: Path, membership: str) -> Iterator[int]:
    """Yield each limit of memory that applies to a process, in bytes. The arguments are those of `cpu_quotas`."""
    for folder in _folders(root, membership, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = (folder / name).read_text(encoding="utf-8").strip() if (folder / name).is_file() else "max"
            # Without a limit v1 has a number beyond all memory.
            if limit != "max" and int(limit) < _NO_LIMIT_BYTES:
                yield int(limit)


def whole_cpus(quota: float) -> int:
    """Return how many threads a quota can keep busy, at least one. More threads would be throttled."""
    return max(1, int(quota))


def cpu_quotas(root: Path, membership: str) -> Iterator[float]:
    """Yield each CPU quota that applies to a process, in CPUs.

    `root` is where cgroups are mounted, and `membership` the text of /proc/self/cgroup.
    """
    for folder in _folders(root, membership, "cpu"):
        quota = _quota_of(folder)
        if quota is not None:
            yield quota


def _folders(root: Path, membership: str, controller: str) -> Iterator[Path]:
    for base, path in cgroup_folders(membership, controller):
        # A limit of any parent applies too. In a container the path may be the host's, and the limit is at the root.
        for folder in (PurePosixPath(path), *PurePosixPath(path).parents):
            yield root / base / str(folder).lstrip("/")


def cgroup_folders(membership: str, controller: str) -> Iterator[Tuple[str, str]]:
    """Yield mount and path of a controller, from the text of /proc/self/cgroup. The mount is below the root."""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield "", path
        elif controller in controllers.split(","):
            yield controllers, path
            yield controller, path


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
    """Return the CPUs that the text of cpu.max (`200000 100000` or `max 100000`) allows, or None without a limit."""
    quota, period = cpu_max.split()
    return None if quota == "max" else int(quota) / int(period)


def quota_v1(cfs_quota_us: str, cfs_period_us: str) -> Optional[float]:
    """Return the CPUs that the texts of cgroup v1's two files allow, or None without a limit (a quota of -1)."""
    quota = int(cfs_quota_us)
    return None if quota <= 0 else quota / int(cfs_period_us)


def make_waiting_passive() -> None:
    """Let threads of PyTorch sleep while they wait for others. Call it before PyTorch is loaded, which reads this once.

    By default a waiting thread spins. Where other processes use the machine too, it takes the CPU from the thread that
    it waits for. On two busy cores that made training five times slower. On two idle cores it made no difference.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
