"""What every type of this API has in common: frozen, camelCase in YAML, no unknown fields."""

from typing import Any, Dict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from typing_extensions import Annotated

from whisper_finetune_api.addresses import NO_PARENT_RULE

#: A `json_schema_extra` for lists that server-side apply treats as a whole.
ATOMIC_LIST: JsonDict = {"x-kubernetes-list-type": "atomic"}

#: A `json_schema_extra` for an object that is written as a whole: server-side apply keeps one owner for all of it.
ATOMIC_MAP: JsonDict = {"x-kubernetes-map-type": "atomic"}

Fraction = Annotated[str, Field(pattern=r"^0\.[0-9]{1,4}$", max_length=6)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
#: The API's integers end somewhere: a trainer that reports more is refused, not the whole status.
Count = Annotated[int, Field(ge=0, le=2_147_483_647)]


class ApiModel(BaseModel):
    """A frozen object: snake_case in Python, camelCase in YAML and JSON."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def to_json_object(self) -> Dict[str, Any]:
        """Return the object as it stands in YAML: camelCase, without what is absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusPart(ApiModel):
    """A part of the status. The operator alone writes it, as a whole: an owner for each field makes a write dearer."""

    model_config = ConfigDict(json_schema_extra=ATOMIC_MAP)


def list_map(key: str) -> JsonDict:
    """Return the `json_schema_extra` of a list that server-side apply merges by `key`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def cel_rule(expression: str, message: str) -> JsonDict:
    """Return one CEL rule of `x-kubernetes-validations`."""
    return {"rule": expression, "message": message}


def _without_parents(address: str) -> str:
    if {".", ".."} & set(address.split("/")):
        raise ValueError("must not have . or .. as a part of its path")
    return address


#: A `json_schema_extra` for an address of which no part leads upwards. `WithoutParents` says so in Python.
NO_PARENTS: JsonDict = {
    "x-kubernetes-validations": [cel_rule(NO_PARENT_RULE, "must not have . or .. as a part of its path")]
}
WithoutParents = Annotated[str, AfterValidator(_without_parents)]
