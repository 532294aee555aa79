"""The contract between operator and trainer: its number, and what is written for an older side.

Each side ignores what it does not know of the other's (`reading`), except for fields of `spec`. Those are the user's,
and no trainer ignores one. So a field may be added under the same number if a side that does not know it does what its
default says. Such a field is marked `LATER`.

CONTRACT is raised where a reader of the earlier number would misunderstand: an existing field changes its meaning, unit
or default, or goes away though readers need it. A side that meets a higher number than its own reads no further, and
the run waits with `VersionMismatch` until the older side is upgraded.

A side that gives no number speaks contract 0 and refuses all that it does not know: operators and trainers from before
numbers. An operator of contract 0 is answered without what is LATER. No operator knows its trainer before the pod is
there, so it sends what is LATER only where it differs from its default.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Type

from pydantic import BaseModel
from pydantic.fields import FieldInfo

CONTRACT = 1
#: The operator's number is beside the TrainerConfig and not in it, where a trainer of contract 0 would refuse it.
CONTRACT_ENV = "WHISPER_FINETUNE_CONTRACT"


@dataclass(frozen=True)
class Later:
    """The type of `LATER`."""


#: Annotates a field that contract 0 did not have: `field: Annotated[Optional[int], LATER] = None`.
LATER = Later()


def number_in_environment(environment: Mapping[str, str]) -> int:
    """Return the number of the operator that made the pod."""
    number = environment.get(CONTRACT_ENV, "")
    return int(number) if number.isdecimal() else 0


def config_json(config: BaseModel) -> str:
    """Return a TrainerConfig as JSON for trainers of every contract, unless the user asks for what some cannot do."""
    return json.dumps(without_later_defaults(config), separators=(",", ":"))


def without_later_defaults(model: BaseModel) -> Dict[str, Any]:
    """Return the model as JSON, with what is LATER only where it differs from its default."""
    return _written(model, lambda field, value: value != field.default)


def answer_for_operator(report: BaseModel, operators: Optional[int]) -> Dict[str, Any]:
    """Return a trainer's report or result as JSON for an operator that speaks that contract. None: no operator."""
    if operators is None:
        return _written(report, lambda *_: True)
    if operators < 1:
        return _written(report, lambda *_: False)
    return {**_written(report, lambda *_: True), "contract": min(operators, CONTRACT)}


def _written(model: BaseModel, keep_later: Callable[[FieldInfo, Any], bool]) -> Dict[str, Any]:
    written = {}
    for field in _fields_of(type(model)):
        value = getattr(model, field.name)
        if value is not None and (not field.is_later or keep_later(field.described, value)):
            written[field.alias] = _json_value(value, keep_later)
    return written


@dataclass(frozen=True)
class _Field:
    name: str
    alias: str
    is_later: bool
    described: FieldInfo


@lru_cache(maxsize=None)
def _fields_of(kind: Type[BaseModel]) -> Tuple[_Field, ...]:
    """Return the fields of a type, looked up once: an operator writes the same types for each run."""
    fields = kind.model_fields.items()
    return tuple(_Field(name, field.alias or name, LATER in field.metadata, field) for name, field in fields)


def _json_value(value: Any, keep_later: Callable[[FieldInfo, Any], bool]) -> Any:
    # Most values are plain, and to ask whether something is a model takes longest.
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, BaseModel):
        return _written(value, keep_later)
    if isinstance(value, (list, tuple)):
        return [_json_value(each, keep_later) for each in value]
    return value
