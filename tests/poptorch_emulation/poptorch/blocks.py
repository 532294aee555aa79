"""Blocks: which part of a model is on which IPU. A trial run of the model shows their order."""

import contextlib
from collections import OrderedDict
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import torch

#: (user id, IPU) of each block, in the order of execution.
Blocks = List[Tuple[Optional[str], Optional[int]]]


class _BlockHook:
    """Notes, while blocks are recorded, that its module began."""

    recorded: Optional[Blocks] = None

    def __init__(self, user_id: Optional[str], ipu_id: Optional[int]) -> None:
        self.user_id = user_id
        self.ipu_id = ipu_id

    def __call__(self, module: torch.nn.Module, inputs: Any) -> None:
        if _BlockHook.recorded is not None:
            _BlockHook.recorded.append((self.user_id, self.ipu_id))


def BeginBlock(
    layer_to_call: torch.nn.Module, user_id: Optional[str] = None, ipu_id: Optional[int] = None
) -> torch.nn.Module:
    """Begin a block at a module; refuse a module that begins one already."""
    if not isinstance(layer_to_call, torch.nn.Module):
        raise TypeError("module is not an instance of torch.nn.Module")
    if any(isinstance(hook, _BlockHook) for hook in layer_to_call._forward_pre_hooks.values()):
        raise RuntimeError("module has already been assigned to a block.")
    layer_to_call.register_forward_pre_hook(_BlockHook(user_id, ipu_id))
    return layer_to_call


def removeBlocks(module: torch.nn.Module) -> None:
    """Forget the blocks of a module and of all within."""
    for part in module.modules():
        hooks = part._forward_pre_hooks.items()
        part._forward_pre_hooks = OrderedDict((key, hook) for key, hook in hooks if not isinstance(hook, _BlockHook))


@contextlib.contextmanager
def recording() -> Iterator[Blocks]:
    """Lend the list that blocks are noted in as they begin."""
    blocks: Blocks = []
    _BlockHook.recorded = blocks
    try:
        yield blocks
    finally:
        _BlockHook.recorded = None


def ipus_per_replica(blocks: Blocks) -> int:
    """Return the highest IPU that a block names, plus one."""
    return max(_ipus(blocks), default=0) + 1


def pipeline_stages(blocks: Blocks, *, training: bool) -> int:
    """Return the stages of the pipeline: one more than the changes of IPU, and all but the last once more backwards."""
    ipus = _ipus(blocks)
    forward = sum(here != there for here, there in zip(ipus, ipus[1:])) + 1
    return 2 * forward - 1 if training else forward


def _ipus(blocks: Blocks) -> Sequence[int]:
    return [ipu for _, ipu in blocks if ipu is not None]
