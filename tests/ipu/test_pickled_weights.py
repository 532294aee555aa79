"""Old models are pickled. PyTorch before 2.10 would run code in them, even when it is asked for weights only."""

import os
from pathlib import Path
from typing import Any, Tuple

import ipu_runs
import torch
from ipu_runs import IpuVolume
from safetensors.torch import load_file


class _Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Tuple[Any, Tuple[str]]:
        return (os.mkdir, (str(self.proof),))


def test_pickled_weights_are_not_read_at_all(tmp_path: Path) -> None:
    speech = ipu_runs.write_speech(tmp_path / "speech", clips=10)
    weights = load_file(str(speech / "model/model.safetensors"))
    (speech / "model/model.safetensors").unlink()
    torch.save({**weights, "x": _Attack(tmp_path / "proof")}, speech / "model/pytorch_model.bin")
    volume = IpuVolume(speech, tmp_path)
    refused = volume.attempt(volume.config(steps=1))
    assert not (tmp_path / "proof").exists()
    assert (refused.exit_code, refused.result.reason) == (64, "ConfigInvalid")
    assert f"PyTorch is {torch.__version__}, and reads weights alone from 2.10 on" in refused.result.message
