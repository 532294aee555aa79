"""What every type of this API has in common: frozen, camelCase in YAML, no unknown fields."""

from typing import Any, Dict

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

#: A `json_schema_extra` for lists that server-side apply treats as a whole.
ATOMIC_LIST: JsonDict = {"x-kubernetes-list-type": "atomic"}

#: A `json_schema_extra` for an object that is written as a whole: server-side apply keeps one owner for all of it.
ATOMIC_MAP: JsonDict = {"x-kubernetes-map-type": "atomic"}


class ApiModel(BaseModel):
    """A frozen object: snake_case in Python, camelCase in YAML and JSON."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def to_json_object(self) -> Dict[str, Any]:
        """Return the object as it stands in YAML: camelCase, without what is absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def list_map(key: str) -> JsonDict:
    """Return the `json_schema_extra` of a list that server-side apply merges by `key`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def cel_rule(expression: str, message: str) -> JsonDict:
    """Return one CEL rule of `x-kubernetes-validations`."""
    return {"rule": expression, "message": message}
