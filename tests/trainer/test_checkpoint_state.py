"""A training state comes back from its files bit for bit, and nothing of it is pickled."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from whisper_finetune_trainer.checkpoints import training_state
from whisper_finetune_trainer.checkpoints.training_state import State


def example() -> State:
    """Return tensors of every type that a state has, among them values that rounding would change."""
    torch.manual_seed(0)
    tensors = {
        "weights": torch.randn(7, 5),
        "half": torch.randn(3).to(torch.bfloat16),
        "random": torch.get_rng_state(),
        "count": torch.tensor(41),
        "transposed": torch.randn(4, 6).t(),
        "extremes": torch.tensor([float("inf"), float("-inf"), 5e-324, -0.0], dtype=torch.float64),
    }
    return State(tensors, {"step": 40, "rate": 0.1 + 0.2, "nested": {"città": [1, None, True]}})


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("piece_bytes", [1, 100, 1 << 30], ids=["a piece each", "some pieces", "one piece"])
def test_a_state_comes_back_bit_for_bit(tmp_path: Path, piece_bytes: int) -> None:
    written = example()
    training_state.write_state(tmp_path, written, piece_bytes)
    read = training_state.read_state(tmp_path)
    assert read.values == written.values
    assert set(read.tensors) == set(written.tensors)
    for name, tensor in written.tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert read.tensors[name].shape == tensor.shape
        assert torch.equal(bits(read.tensors[name]), bits(tensor)), name


def test_no_piece_is_larger_than_asked_for_unless_one_tensor_is(tmp_path: Path) -> None:
    tensors = {f"layer {number}": torch.zeros(100) for number in range(10)}
    training_state.write_state(tmp_path, State({**tensors, "large": torch.zeros(1000)}, {}), piece_bytes=800)
    assert sorted(len(header_of(path)) for path in tmp_path.glob("*.safetensors")) == [1, 2, 2, 2, 2, 2]


def header_of(path: Path) -> dict[str, object]:
    """Return what a safetensors file says it holds, read without the library: a length, then JSON."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return {name: entry for name, entry in json.loads(content[8 : 8 + length]).items() if name != "__metadata__"}


def test_every_file_is_safetensors_or_json(tmp_path: Path) -> None:
    training_state.write_state(tmp_path, example())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state-00000.safetensors", "state.json"]
    assert set(header_of(tmp_path / "state-00000.safetensors")) == set(example().tensors)
    assert json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))["step"] == 40


def test_a_value_that_json_cannot_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        training_state.write_state(tmp_path, State({}, {"loss": float("nan")}))
