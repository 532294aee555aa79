"""Parts of a pod as Kubernetes writes them, checked against its own types before a pod is made of them. Pure."""

import difflib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any

import msgspec
from lightkube.models import core_v1
from pydantic import AfterValidator

from whisper_finetune_operator.planning import quantities

#: The types call these text, and the API server takes numbers too.
_QUANTITIES = ("sizeLimit", "divisor")
_WORDS = {str: "text", int: "a whole number", bool: "true or false", float: "a number", dict: "an object"}


def check_kubernetes_object(value: Any, kind: str) -> Any:
    """Return an object of core/v1 as it is. Raises ValueError with every unknown or missing field and wrong type."""
    if faults := list(_faults_of_object(value, getattr(core_v1, kind), "")):
        raise ValueError("; ".join(faults))
    return value


def unknown_field(field: str, known: Iterable[str]) -> str:
    """Return what is wrong with a field that nobody knows: its name, and the one that may be meant."""
    near = difflib.get_close_matches(field, list(known), n=1)
    return f"{field} is not a field that it has{f', did you mean {near[0]}?' if near else ''}"


def _faults_of_object(value: Any, kind: Any, path: str) -> Iterator[str]:
    where = path or kind.__name__
    if not isinstance(value, Mapping):
        yield f"{where} must be an object"
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, part in value.items():
        if name not in fields:
            yield f"{where}: {unknown_field(str(name), fields)}"
        elif part is not None:
            yield from _faults(part, fields[name].type, f"{path}.{name}" if path else str(name))
    for name, field in fields.items():
        if field.required and value.get(name) is None:
            yield f"{where} lacks {name}"


def _faults(value: Any, kind: Any, path: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if type(None) in arguments:
        yield from _faults(value, next(each for each in arguments if each is not type(None)), path)
    elif origin is list:
        yield from _faults_of_list(value, arguments[0], path)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _faults_of_object(value, kind, path)
    elif kind in _WORDS and not _is_a(value, kind, path):
        yield f"{path} must be {_WORDS[kind]}"


def _faults_of_list(value: Any, kind: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list | tuple):
        yield f"{path} must be a list"
        return
    for index, item in enumerate(value):
        yield from _faults(item, kind, f"{path}[{index}]")


def _is_a(value: Any, kind: type, path: str) -> bool:
    if kind is str and path.rpartition(".")[2] in _QUANTITIES:
        return isinstance(value, str | int | float)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _part_of_pod(kind: str) -> AfterValidator:
    return AfterValidator(partial(check_kubernetes_object, kind=kind))


def check_volume_source(source: dict[str, Any]) -> dict[str, Any]:
    """Return what a volume has beside its name. Raises ValueError where that is not one well-formed source."""
    if len(source) != 1:
        raise ValueError("must be one volume source, such as {persistentVolumeClaim: {claimName: caches}}")
    empty = source.get("emptyDir") or {}
    is_object = isinstance(empty, dict)
    if not is_object:
        raise ValueError("emptyDir must be an object, such as {sizeLimit: 20Gi}")
    size = empty.get("sizeLimit")
    if size is not None and not re.fullmatch(quantities.PATTERN, str(size)):
        # What a pod may write to its node's disk is computed from it.
        raise ValueError(f"emptyDir.sizeLimit is {size}: it must be a quantity, such as 20Gi")
    check_kubernetes_object({"name": "volume", **source}, "Volume")
    return source


def _check_volume(volume: dict[str, Any]) -> dict[str, Any]:
    check_kubernetes_object(volume, "Volume")
    check_volume_source({field: source for field, source in volume.items() if field != "name"})
    return volume


#: What a pod has beside a volume's name: any kind of source.
VolumeSource = Annotated[dict[str, Any], AfterValidator(check_volume_source)]
Toleration = Annotated[dict[str, Any], _part_of_pod("Toleration")]
Affinity = Annotated[dict[str, Any], _part_of_pod("Affinity")]
SpreadConstraint = Annotated[dict[str, Any], _part_of_pod("TopologySpreadConstraint")]
HostAlias = Annotated[dict[str, Any], _part_of_pod("HostAlias")]
DnsConfig = Annotated[dict[str, Any], _part_of_pod("PodDNSConfig")]
Volume = Annotated[dict[str, Any], AfterValidator(_check_volume)]
VolumeMount = Annotated[dict[str, Any], _part_of_pod("VolumeMount")]
