"""What messages say where IPUs are not available, by the errors of PopTorch's smallest program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from whisper_finetune_trainer.ipu import environment
from whisper_finetune_trainer.messages.errors import TrainerError


class FakePopTorch:
    """A PopTorch whose programs fail in these words, one after the other, and then run."""

    class Error(Exception):
        """PopTorch's own."""

    def __init__(self, *faults: str) -> None:
        self._faults: Iterator[str] = iter(faults)

    def Options(self) -> Any:  # noqa: N802 (PopTorch's name)
        return self

    def replicationFactor(self, _: int) -> Any:  # noqa: N802 (PopTorch's name)
        return self

    def inferenceModel(self, model: torch.nn.Module, _: Any) -> Any:  # noqa: N802 (PopTorch's name)
        assert isinstance(model, torch.nn.Module)
        return self

    def compile(self, _: object) -> None:
        for fault in self._faults:
            raise self.Error(fault)

    def detachFromDevice(self) -> None:  # noqa: N802 (PopTorch's name)
        """Nothing is attached."""


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_POLL_SECONDS", 0.0)


def test_ipus_in_use_are_waited_for() -> None:
    environment.wait_for_ipus(FakePopTorch("Failed to acquire 4 IPU(s)"), 4, seconds=60)


@pytest.mark.parametrize(
    "words",
    [
        "Failed to acquire 4 IPU(s): No IPU detected in the system",
        "'poplar_unknown_error': V-IPU gateway does not answer",
        "'poplar_link_error': driver mismatch",
    ],
)
def test_ipus_that_will_not_be_there_are_not_waited_for(words: str) -> None:
    with pytest.raises(TrainerError, match=r"; check driver, V-IPU server and partition with `gc-info`") as caught:
        environment.wait_for_ipus(FakePopTorch(words), 4, seconds=60)
    assert caught.value.reason == "AcceleratorUnavailable"
    assert words in caught.value.message


def test_ipus_that_stay_in_use_are_given_up() -> None:
    with pytest.raises(TrainerError, match="were in use by others for 0 s"):
        environment.wait_for_ipus(FakePopTorch("Failed to acquire 4 IPU(s)"), 4, seconds=0)
