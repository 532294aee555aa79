"""The emulated partition: its size, and processes that want the same IPUs."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import poptorch
import pytest
import small_networks as networks
from poptorch import partition

HOLD_TWO_IPUS = """
import sys, small_networks as networks
networks.training().compile(networks.rows(3))
print("attached", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _two_ipus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_AVAILABLE_IPU", "2")


def another_process() -> "subprocess.Popen[str]":
    """Return a process that holds both IPUs until its standard input ends."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLD_TWO_IPUS]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, universal_newlines=True, env=dict(os.environ))
    assert process.stdout
    assert process.stdout.readline() == "attached\n"
    return process


@pytest.mark.parametrize("waiting", ["0", "1"])
def test_a_partition_that_is_too_small_is_refused_even_when_it_waits(
    monkeypatch: pytest.MonkeyPatch, waiting: str
) -> None:
    monkeypatch.setenv("POPTORCH_WAIT_FOR_IPU", waiting)
    with pytest.raises(poptorch.Error, match=r"Failed to acquire 4 IPU\(s\)\nNo device found on the system with 4"):
        networks.training(replicas=2)(networks.rows(6))


@pytest.mark.parametrize("name", ["NUM_AVAILABLE_IPU", "POPTORCH_EMU_IPU_VERSION"])
def test_a_machine_without_ipus(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "0")
    assert not poptorch.ipuHardwareIsAvailable()
    with pytest.raises(AssertionError, match="No IPU hardware"):
        poptorch.ipuHardwareVersion()
    with pytest.raises(poptorch.Error, match="No IPU detected"):
        networks.training()(networks.rows(3))


def test_two_executors_of_a_process_share_the_partition() -> None:
    first, second = networks.inference(networks.Chain((0,))), networks.inference(networks.Chain((0,)))
    first(networks.rows(1))
    second(networks.rows(1))
    with pytest.raises(poptorch.Error, match=r"Failed to acquire 1 IPU\(s\)$"):
        networks.inference(networks.Chain((0,)))(networks.rows(1))
    first.detachFromDevice()
    networks.inference(networks.Chain((0,)))(networks.rows(1))


def test_a_device_of_two_begins_at_an_even_ipu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_AVAILABLE_IPU", "4")
    first, pair = partition.acquire(1), partition.acquire(2)
    assert [Path(file.name).suffix for file in pair.files] == [".ipu2", ".ipu3"]
    with pytest.raises(poptorch.Error):
        partition.acquire(2)
    first.release()
    partition.acquire(2)


def test_ipus_that_another_process_holds_are_refused_until_it_ends() -> None:
    holder = another_process()
    with pytest.raises(poptorch.Error, match=r"Failed to acquire 2 IPU\(s\)$"):
        networks.training()(networks.rows(3))
    holder.kill()
    holder.wait()
    networks.training()(networks.rows(3))


def test_another_partition_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = another_process()
    monkeypatch.setenv("IPUOF_VIPU_API_PARTITION_ID", "other")
    networks.training()(networks.rows(3))
    holder.communicate()


def test_it_waits_for_ipus_in_use_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = another_process()
    monkeypatch.setenv("POPTORCH_WAIT_FOR_IPU", "1")
    waited = threading.Event()

    def end_the_holder(seconds: float) -> None:
        waited.set()
        holder.communicate()

    monkeypatch.setattr(partition.time, "sleep", end_the_holder)
    networks.training()(networks.rows(3))
    assert waited.is_set()
