"""A training state as files: tensors in safetensors, the rest in JSON. Nothing is pickled, in either direction."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping

import torch
from safetensors import torch as safetensors_torch

_VALUES_FILE = "state.json"
_TENSORS_FILE = "state-{:05d}.safetensors"
#: safetensors before 0.6 copies a whole file's tensors before it writes: in pieces, that is never a second state.
_PIECE_BYTES = 512 << 20


@dataclass(frozen=True)
class State:
    """All that a run needs to go on exactly: `values` are what JSON can say."""

    tensors: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]


def largest_bytes(network: torch.nn.Module) -> int:
    """Return what a state of a network takes at most: its weights and Adam's two moments, as float32."""
    return sum(weight.numel() for weight in network.parameters()) * 3 * 4


def write(folder: Path, state: State, piece_bytes: int = _PIECE_BYTES) -> None:
    """Write the state's files into an existing folder."""
    for number, names in enumerate(_pieces(state.tensors, piece_bytes)):
        piece = {name: state.tensors[name].detach().cpu().contiguous() for name in names}
        safetensors_torch.save_file(piece, str(folder / _TENSORS_FILE.format(number)))
    values = json.dumps(state.values, allow_nan=False)
    (folder / _VALUES_FILE).write_text(values, encoding="utf-8")


def read(folder: Path) -> State:
    """Return the state that `write` wrote; its manifest has been verified, so nothing here is expected to fail."""
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
