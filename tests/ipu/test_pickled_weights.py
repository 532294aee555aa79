"""A model of old is pickled: transformers 4.29 would run what is in it."""

import os
from pathlib import Path
from typing import Any, Tuple

import ipu_runs
import torch
from ipu_runs import IpuVolume


class _Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Tuple[Any, Tuple[str]]:
        return (os.mkdir, (str(self.proof),))


def test_pickled_weights_are_read_as_weights_only(tmp_path: Path) -> None:
    speech = ipu_runs.write_speech(tmp_path / "speech", clips=10)
    # As transformers 4.29 saves a model by default.
    pickled = speech / "model" / "pytorch_model.bin"
    volume = IpuVolume(speech, tmp_path)
    ended = volume.attempt(volume.config(steps=1))
    assert ended.exit_code == 0, ended.result.message

    proof = tmp_path / "proof"
    torch.save({**torch.load(str(pickled)), "x": _Attack(proof)}, str(pickled))
    refused = volume.attempt(volume.config(steps=2))
    assert not proof.exists()
    assert (refused.exit_code, refused.result.reason) == (64, "ConfigInvalid"), refused.result.message
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
