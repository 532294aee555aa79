from pathlib import Path

import pytest

from whisper_finetune_trainer.machine import pod_limits


@pytest.mark.parametrize(
    ("cpu_max", "cpus"), [("max 100000\n", None), ("200000 100000\n", 2.0), ("50000 100000\n", 0.5)]
)
def test_quota_of_cgroup_v2(cpu_max: str, cpus: float | None) -> None:
    assert pod_limits.quota_v2(cpu_max) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("-1\n", None), ("150000\n", 1.5)])
def test_quota_of_cgroup_v1(quota: str, cpus: float | None) -> None:
    assert pod_limits.quota_v1(quota, "100000\n") == cpus


@pytest.mark.parametrize(("quota", "threads"), [(0.1, 1), (1.0, 1), (1.9, 1), (2.0, 2), (64.0, 64)])
def test_threads_that_a_quota_keeps_busy(quota: float, threads: int) -> None:
    assert pod_limits.whole_cpus(quota) == threads


def test_the_smallest_quota_of_a_cgroup_and_its_parents_holds(tmp_path: Path) -> None:
    pod = tmp_path / "kubepods" / "pod1"
    (pod / "container").mkdir(parents=True)
    (pod / "cpu.max").write_text("200000 100000\n", encoding="utf-8")
    (pod / "container" / "cpu.max").write_text("max 100000\n", encoding="utf-8")
    assert list(pod_limits.cpu_quotas(tmp_path, "0::/kubepods/pod1/container\n")) == [2.0]


def test_the_limit_of_a_container_that_sees_its_own_root(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("300000 100000\n", encoding="utf-8")
    assert list(pod_limits.cpu_quotas(tmp_path, "0::/\n")) == [3.0]


def test_the_limit_of_cgroup_v1_where_the_path_is_the_hosts(tmp_path: Path) -> None:
    folder = tmp_path / "cpu,cpuacct"
    folder.mkdir()
    (folder / "cpu.cfs_quota_us").write_text("400000\n", encoding="utf-8")
    (folder / "cpu.cfs_period_us").write_text("100000\n", encoding="utf-8")
    membership = "7:memory:/kubepods/pod1\n4:cpu,cpuacct:/kubepods/pod1\n0::/\n"
    assert list(pod_limits.cpu_quotas(tmp_path, membership)) == [4.0]


def test_this_process_has_cpus() -> None:
    assert pod_limits.available_cpus() >= 1


def test_the_smallest_limit_of_memory_applies(tmp_path: Path) -> None:
    pod = tmp_path / "kubepods" / "pod1" / "container"
    pod.mkdir(parents=True)
    (pod / "memory.max").write_text("max\n", encoding="utf-8")
    (pod.parent / "memory.max").write_text("8589934592\n", encoding="utf-8")
    assert list(pod_limits.memory_limits(tmp_path, "0::/kubepods/pod1/container\n")) == [8 << 30]


def test_a_limit_of_memory_by_cgroup_v1(tmp_path: Path) -> None:
    folder = tmp_path / "memory" / "pod"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("4294967296\n", encoding="utf-8")
    # No limit.
    (folder.parent / "memory.limit_in_bytes").write_text("9223372036854771712\n", encoding="utf-8")
    assert set(pod_limits.memory_limits(tmp_path, "5:memory:/pod\n4:cpu,cpuacct:/pod\n")) == {4 << 30}


def test_memory_without_a_limit(tmp_path: Path) -> None:
    assert list(pod_limits.memory_limits(tmp_path, "0::/\n")) == []
