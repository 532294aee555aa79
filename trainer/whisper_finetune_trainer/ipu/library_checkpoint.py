"""The state of optimum-graphcore's trainer as tensors and JSON, and back as the checkpoint that it resumes from.

The library pickles its checkpoints. Nothing pickled is ever read from the run's folder. There the state is stored as
tensors and JSON, and the pickled files are made of them in the pod's own scratch folder.
"""

import json
import random
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import torch
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME, WEIGHTS_NAME

from whisper_finetune_trainer.checkpoints import training_state
from whisper_finetune_trainer.messages.errors import TrainerError

_WEIGHTS, _OPTIMIZER = "weights/", "optimizer/"
_RANDOM_FILE = "rng_state.pth"
#: The state of the IPUs' own random generators, which the library's checkpoints do not have.
_DEVICE_RANDOM, _DEVICE_SEED = "random/ipu", "deviceSeed"


def take(trainer: Any) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
    """Return the state of a trainer between two steps: tensors by name, and JSON values."""
    _copy_to_host(trainer)
    optimizer_tensors, optimizer = training_state.split_tensors(trainer.optimizer.state_dict(), _OPTIMIZER)
    random_tensors, random_values = training_state.capture_random_state()
    weights = {f"{_WEIGHTS}{name}": weight.detach() for name, weight in trainer.model.named_parameters()}
    device_tensors, device_values = _device_random_state(trainer.random_state())
    return {**weights, **optimizer_tensors, **random_tensors, **device_tensors}, {
        "step": trainer.state.global_step,
        "optimizer": optimizer,
        "schedule": trainer.lr_scheduler.state_dict(),
        "random": random_values,
        **device_values,
    }


def resume_device(trainer: Any, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
    """Set the IPUs' random generators to what `take` found. States of earlier versions do not have it."""
    if _DEVICE_RANDOM in tensors:
        trainer.resume_random_state([values[_DEVICE_SEED], *tensors[_DEVICE_RANDOM].tolist()])


def _device_random_state(state: Optional[List[int]]) -> Tuple[Dict[str, torch.Tensor], Dict[str, int]]:
    if state is None:
        return {}, {}
    # The seed is an unsigned integer of 64 bits, and torch has no such type.
    return {_DEVICE_RANDOM: torch.tensor(state[1:], dtype=torch.int64)}, {_DEVICE_SEED: state[0]}


def write_library_checkpoint(
    folder: Path, network: Any, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]
) -> None:
    """Write the library's checkpoint into an empty folder.

    Raises ConfigInvalid where the weights are not those of this network.
    """
    weights = {name[len(_WEIGHTS) :]: tensor for name, tensor in tensors.items() if name.startswith(_WEIGHTS)}
    if {name: weight.shape for name, weight in network.named_parameters()} != {
        name: weight.shape for name, weight in weights.items()
    }:
        raise TrainerError("ConfigInvalid", "the checkpoint holds other weights than this run trains")
    torch.save(weights, folder / WEIGHTS_NAME)
    torch.save(training_state.join_tensors(values["optimizer"], tensors), folder / OPTIMIZER_NAME)
    torch.save(values["schedule"], folder / SCHEDULER_NAME)
    (folder / TRAINER_STATE_NAME).write_text(json.dumps({"global_step": values["step"]}), encoding="utf-8")
    training_state.restore_random_state(tensors, values["random"])
    generators = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 -- the library restores the global generator
        "cpu": torch.get_rng_state(),
    }
    torch.save(generators, folder / _RANDOM_FILE)


@torch.no_grad()
def copy_weights(trainer: Any, network: Any) -> None:
    """Copy the weights that are on the IPUs into another network with the same parameter names."""
    _copy_to_host(trainer)
    weights = dict(trainer.model.named_parameters())
    for name, weight in network.named_parameters():
        weight.copy_(weights[name])


def _copy_to_host(trainer: Any) -> None:
    if trainer.training_model is not None and trainer.training_model.isAttachedToDevice():
        trainer.training_model.copyWeightsToHost()
