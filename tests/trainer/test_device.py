"""The type in which hardware computes, and how it is named, by what a card or a CPU reports. No card is needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.pytorch import device
from whisper_finetune_trainer.pytorch.device import Card, Precision

T4 = Card("Tesla T4", (7, 5), 1)
A100 = Card("NVIDIA A100-SXM4-80GB", (8, 0), 1)
H200 = Card("NVIDIA H200", (9, 0), 1)
OLD_CPU = "processor : 0\nflags : fpu avx2 avx512f\n"
NEW_CPU = "processor : 0\nflags : fpu avx512f avx512_bf16\n"
ARM_CPU = "processor : 0\nFeatures : fp asimd bf16\n"


@pytest.mark.parametrize(
    ("card", "wanted", "precision"),
    [
        (T4, None, "Float"),
        (T4, "Float", "Float"),
        (A100, None, "Half"),
        (A100, "Half", "Half"),
        (A100, "Float", "Float"),
        (H200, None, "Half"),
    ],
)
def test_a_card_computes_in_what_it_has(card: Card, wanted: Precision | None, precision: Precision) -> None:
    assert device.card_precision(card, wanted) == precision


@pytest.mark.parametrize(
    ("cpu", "wanted", "precision"),
    [
        (OLD_CPU, None, "Float"),
        (OLD_CPU, "Float", "Float"),
        (NEW_CPU, None, "Half"),
        (NEW_CPU, "Half", "Half"),
        (NEW_CPU, "Float", "Float"),
        (ARM_CPU, None, "Half"),
    ],
)
def test_a_cpu_computes_in_what_it_has(cpu: str, wanted: Precision | None, precision: Precision) -> None:
    assert device.cpu_precision(cpu, wanted) == precision


def test_half_is_refused_where_a_card_has_none() -> None:
    with pytest.raises(TrainerError) as caught:
        device.card_precision(T4, "Half")
    assert (caught.value.reason, caught.value.message) == (
        "ConfigInvalid",
        (
            "training.precision: Half is bfloat16, which Tesla T4 (compute capability 7.5) does not compute in: leave "
            "training.precision out, set Float, or take a runtime with cards of compute capability 8.0 or more"
        ),
    )


def test_half_is_refused_where_a_cpu_has_none() -> None:
    with pytest.raises(TrainerError, match="which this CPU does not compute in") as caught:
        device.cpu_precision(OLD_CPU, "Half")
    assert caught.value.reason == "ConfigInvalid"


@pytest.mark.parametrize(
    ("card", "precision", "words"),
    [
        (T4, "Float", "Tesla T4"),
        (A100, "Half", "NVIDIA A100-SXM4-80GB"),
        (A100, "Float", "NVIDIA A100-SXM4-80GB, TF32"),
        (Card("NVIDIA H200", (9, 0), 8), "Half", "NVIDIA H200 (1 of 8)"),
    ],
)
def test_what_a_run_says_that_it_ran_on(card: Card, precision: Precision, words: str) -> None:
    assert device.card_in_words(card, precision) == words


@pytest.fixture
def eight_cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let PyTorch say that there are eight cards."""
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("eight_cards")
def test_cards_that_stay_idle_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    prepared = device.prepare_device("cuda", None, cpus=1)
    assert [record.message for record in caplog.records] == [
        "this pod has 8 GPUs and a run uses 1: the other 7 stay idle; give the runtime's pods one"
    ]
    assert prepared.ran_on.hardware == "NVIDIA H200 (1 of 8)"
    assert (prepared.precision, str(prepared.torch_device)) == ("Half", "cuda")


@pytest.mark.usefixtures("eight_cards")
def test_float_is_fast_on_a_card() -> None:
    torch.set_float32_matmul_precision("highest")
    device.prepare_device("cuda", "Float", cpus=1)
    assert torch.get_float32_matmul_precision() == "high"


def test_float_on_a_cpu_is_float32() -> None:
    before = torch.get_float32_matmul_precision()
    device.prepare_device("cpu", "Float", cpus=1)
    assert torch.get_float32_matmul_precision() == before == "highest"


def test_an_image_for_cpus_is_the_admins_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(TrainerError, match="build the runtime's image with TORCH=cuda") as caught:
        device.prepare_device("cuda", None, cpus=1)
    assert caught.value.reason == "ConfigInvalid"


def test_a_driver_that_is_too_old_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12020).\nPlease update")

    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(
        TrainerError, match=r"is too old \(found version 12020\)\. Please update\); check the node"
    ) as caught:
        device.prepare_device("cuda", None, cpus=1)
    assert caught.value.reason == "AcceleratorUnavailable"
