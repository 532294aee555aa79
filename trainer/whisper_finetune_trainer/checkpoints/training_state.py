"""Training states as tensors and JSON values: their files, the random generators, and nested objects with tensors.

Tensors are written as safetensors and the rest as JSON. Nothing is pickled, and nothing pickled is read.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple, Union

import numpy as np
import torch
from safetensors import torch as safetensors_torch

_VALUES_FILE = "state.json"
_TENSORS_FILE = "state-{:05d}.safetensors"
#: safetensors before 0.6 copies all tensors of a file before it writes them. Several files keep that copy small.
_PIECE_BYTES = 512 << 20
_CPU, _CUDA, _NUMPY = "random/cpu", "random/cuda", "random/numpy"
#: The key of an object that stands in JSON for a tensor. Its value is the name that the tensor is stored by.
_TENSOR = "$tensor"


@dataclass(frozen=True)
class State:
    """All that a run needs to go on exactly: tensors by name, and values that JSON can hold."""

    tensors: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]


def largest_state_bytes(network: torch.nn.Module) -> int:
    """Return the bytes that a state of a network takes at most: its weights and Adam's two moments, in float32."""
    return sum(weight.numel() for weight in network.parameters()) * 3 * 4


def write_state(folder: Path, state: State, piece_bytes: int = _PIECE_BYTES) -> None:
    """Write the state's files into an existing folder."""
    for number, names in enumerate(_pieces(state.tensors, piece_bytes)):
        piece = {name: state.tensors[name].detach().cpu().contiguous() for name in names}
        safetensors_torch.save_file(piece, str(folder / _TENSORS_FILE.format(number)))
    values = json.dumps(state.values, allow_nan=False)
    (folder / _VALUES_FILE).write_text(values, encoding="utf-8")


def read_state(folder: Path) -> State:
    """Return the state that `write_state` wrote. The folder's manifest has been verified before."""
    tensors: Dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("state-*.safetensors")):
        tensors.update(safetensors_torch.load_file(str(path)))
    return State(tensors, json.loads((folder / _VALUES_FILE).read_text(encoding="utf-8")))


def _pieces(tensors: Mapping[str, torch.Tensor], piece_bytes: int) -> Iterator[List[str]]:
    piece: List[str] = []
    size = 0
    for name, tensor in tensors.items():
        tensor_bytes = tensor.numel() * tensor.element_size()
        if piece and size + tensor_bytes > piece_bytes:
            yield piece
            piece, size = [], 0
        piece.append(name)
        size += tensor_bytes
    if piece:
        yield piece


def capture_random_state() -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
    """Return the state of every random generator as tensors by name, and JSON values."""
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 -- transformers masks with the global generator
    tensors = {_CPU: torch.get_rng_state(), _NUMPY: torch.from_numpy(state["state"]["key"].astype(np.int64))}
    if torch.cuda.is_available():
        tensors[_CUDA] = torch.cuda.get_rng_state()
    values = {
        "position": int(state["state"]["pos"]),
        "hasGauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]),
    }
    return tensors, values


def restore_random_state(tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
    """Set every random generator to what `capture_random_state` returned."""
    torch.set_rng_state(tensors[_CPU])
    keys = tensors[_NUMPY].numpy().astype(np.uint32)
    np.random.set_state(  # noqa: NPY002 -- the same
        ("MT19937", keys, values["position"], values["hasGauss"], values["gauss"])
    )
    if _CUDA in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[_CUDA])


def split_tensors(tree: Any, prefix: str) -> Tuple[Dict[str, torch.Tensor], Any]:
    """Take the tensors out of nested dictionaries and lists.

    Return the tensors by name, and the rest as JSON values with a name where each tensor was. Every name begins with
    `prefix`. Tuples become lists. Raises TypeError for what JSON cannot hold.
    """
    tensors: Dict[str, torch.Tensor] = {}
    return tensors, _without_tensors(tree, prefix, tensors)


def join_tensors(values: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Return what `split_tensors` was given, with lists where it had tuples."""
    if isinstance(values, list):
        return [join_tensors(value, tensors) for value in values]
    if isinstance(values, dict):
        if set(values) == {_TENSOR}:
            return tensors[values[_TENSOR]]
        return {name: join_tensors(value, tensors) for name, value in values.items()}
    return values


def _without_tensors(tree: Any, name: str, tensors: Dict[str, torch.Tensor]) -> Any:
    if isinstance(tree, torch.Tensor):
        tensors[name] = tree.detach()
        return {_TENSOR: name}
    if isinstance(tree, (list, tuple)):
        listed: List[Any] = [_without_tensors(value, f"{name}{index}/", tensors) for index, value in enumerate(tree)]
        return listed
    if isinstance(tree, dict):
        if not all(isinstance(key, str) for key in tree):
            raise TypeError(f"{name} has keys that JSON cannot hold: {sorted(map(repr, tree))[:3]}")
        return {key: _without_tensors(value, f"{name}{key}/", tensors) for key, value in tree.items()}
    return _plain(tree, name)


def _plain(value: Any, name: str) -> Union[str, int, float, bool, None]:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}, which JSON cannot hold")
