"""Nested lists and dictionaries with tensors in them, as flat tensors and JSON. Pure."""

from typing import Any, Dict, List, Mapping, Tuple, Union

import torch

#: Stands in JSON for a tensor, with the name that it is stored by.
_TENSOR = "$tensor"


def split(tree: Any, prefix: str) -> Tuple[Dict[str, torch.Tensor], Any]:
    """Return the tensors by name, each beginning with `prefix`, and the rest with their names in their places.

    Tuples become lists; TypeError for what JSON cannot say.
    """
    tensors: Dict[str, torch.Tensor] = {}
    return tensors, _without_tensors(tree, prefix, tensors)


def join(values: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Return the tree that was split."""
    if isinstance(values, list):
        return [join(value, tensors) for value in values]
    if isinstance(values, dict):
        if set(values) == {_TENSOR}:
            return tensors[values[_TENSOR]]
        return {name: join(value, tensors) for name, value in values.items()}
    return values


def _without_tensors(tree: Any, name: str, tensors: Dict[str, torch.Tensor]) -> Any:
    if isinstance(tree, torch.Tensor):
        tensors[name] = tree.detach()
        return {_TENSOR: name}
    if isinstance(tree, (list, tuple)):
        listed: List[Any] = [_without_tensors(value, f"{name}{place}/", tensors) for place, value in enumerate(tree)]
        return listed
    if isinstance(tree, dict):
        if not all(isinstance(key, str) for key in tree):
            raise TypeError(f"{name} has keys that JSON cannot say: {sorted(map(repr, tree))[:3]}")
        return {key: _without_tensors(value, f"{name}{key}/", tensors) for key, value in tree.items()}
    return _plain(tree, name)


def _plain(value: Any, name: str) -> Union[str, int, float, bool, None]:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}, which JSON cannot say")
