"""Inputs and outputs of a model: tensors in dictionaries, lists, tuples and a library's own output classes."""

from typing import Any, Callable, Iterator

import torch


def tensors_of(tree: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a tree in their order."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from tensors_of(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from tensors_of(value)


def changed(tree: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return the tree with each tensor changed; a dictionary's subclass is made anew from its fields."""
    if isinstance(tree, torch.Tensor):
        return change(tree)
    if isinstance(tree, dict):
        values = {key: changed(value, change) for key, value in tree.items()}
        return values if type(tree) is dict else type(tree)(**values)
    if isinstance(tree, (list, tuple)):
        return type(tree)(changed(value, change) for value in tree)
    return tree
