"""The random generators that training draws from (dropout's, and SpecAugment's of NumPy) as tensors and values."""

from typing import Any, Dict, Mapping, Tuple

import numpy as np
import torch

_CPU, _CUDA, _NUMPY = "random/cpu", "random/cuda", "random/numpy"


def seed(number: int) -> None:
    """Start every generator from one number."""
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002 -- transformers masks features with the global generator


def capture() -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
    """Return the state of every generator: tensors, and JSON values."""
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 -- see seed
    tensors = {_CPU: torch.get_rng_state(), _NUMPY: torch.from_numpy(state["state"]["key"].astype(np.int64))}
    if torch.cuda.is_available():
        tensors[_CUDA] = torch.cuda.get_rng_state()
    values = {
        "position": int(state["state"]["pos"]),
        "hasGauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]),
    }
    return tensors, values


def restore(tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
    """Put every generator where `capture` found it."""
    torch.set_rng_state(tensors[_CPU])
    keys = tensors[_NUMPY].numpy().astype(np.uint32)
    np.random.set_state(  # noqa: NPY002 -- see seed
        ("MT19937", keys, values["position"], values["hasGauss"], values["gauss"])
    )
    if _CUDA in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[_CUDA])
