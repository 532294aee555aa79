"""Read what another version of this project wrote: each part that is not understood is left out, and named.

Operator, CRD and trainer are upgraded apart, and files on volumes outlive them all, so two versions always meet. Types
stay strict for whoever writes. Whoever reads what another side wrote uses these functions.
"""

from dataclasses import dataclass
from typing import Any, Callable, Collection, Dict, Generic, List, Mapping, Tuple, Type, TypeVar, Union

import pydantic_core
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
#: The keys and indexes that lead to a part, from the outermost object inwards.
Path = Tuple[Union[str, int], ...]
#: Messages name at most so many parts, each in at most so many characters.
_NAMED_PARTS, _NAMED_CHARACTERS = 5, 120


@dataclass(frozen=True)
class LeftOut:
    """One part that is not understood: a field that the reader does not know, or a value that its type refuses."""

    path: Path
    why: str
    is_unknown_field: bool

    def __str__(self) -> str:
        text = printable_text(".".join(map(str, self.path)) + f": {self.why}")
        return text if len(text) <= _NAMED_CHARACTERS else text[: _NAMED_CHARACTERS - 1] + "…"


@dataclass(frozen=True)
class Reading(Generic[Model]):
    """What could be read, and what was left out of it."""

    model: Model
    left_out: Tuple[LeftOut, ...] = ()

    def remark(self) -> str:
        """Return in one line what was left out, or an empty text where nothing was."""
        more = len(self.left_out) - _NAMED_PARTS
        named = "; ".join(map(str, self.left_out[:_NAMED_PARTS]))
        return f"{named}; and {more} more" if more > 0 else named


def read_leniently(kind: Type[Model], found: Any, essential: Collection[str] = ()) -> Reading[Model]:
    """Return the model without the parts that are not understood, each as small as its type allows.

    Raises ValidationError where what remains is no such model, or where a field named in `essential` is malformed.
    """
    try:
        return Reading(kind.model_validate(found))
    except ValidationError as error:
        parts = _dispensable(error)
        smaller = _without(found, {part.path for part in parts})
        if not parts or smaller == found or any(part.path[0] in essential for part in parts):
            raise
        try:
            rest = read_leniently(kind, smaller, essential)
        except ValidationError:
            # The first fault is the one to report: the later ones follow from what was left out.
            raise error from None
    return Reading(rest.model, (*parts, *rest.left_out))


def read_json_leniently(kind: Type[Model], text: Union[str, bytes], essential: Collection[str] = ()) -> Reading[Model]:
    """Read JSON of another side as `read_leniently` does. Raises ValueError also where it is not JSON.

    Every string in it is returned as `printable_text`. NaN and infinities are not JSON.
    """
    return read_leniently(kind, _printable_strings(pydantic_core.from_json(text, allow_inf_nan=False)), essential)


def printable_text(text: str, replace: Callable[[str], str] = lambda _character: " ") -> str:
    """Return the text with a space, or the result of `replace`, for each character that is not visible.

    Those are control characters, with ESC and C1, marks that turn the direction of writing, separators of lines and
    paragraphs, and characters without a meaning. A terminal or a page that gets them obeys them.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else replace(character) for character in text)


def keep_unknown_fields(
    found: Mapping[str, Any], reading: Reading[Model], written: Mapping[str, Any]
) -> Dict[str, Any]:
    """Return what is `written` with the unknown fields of what was `found`, where the object around each remains.

    Unknown fields within lists are not kept, because nothing says which item they would belong to now.
    """
    kept: Dict[str, Any] = dict(written)
    for part in reading.left_out:
        if part.is_unknown_field and all(isinstance(key, str) for key in part.path):
            kept = _with(kept, part.path, _at(found, part.path))
    return kept


def _dispensable(error: ValidationError) -> List[LeftOut]:
    """Return what to leave out for each fault. It is empty where the whole object is at fault."""
    parts: Dict[Path, LeftOut] = {}
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        # An object that lacks a field is of no use, and one with a field too many is.
        path = fault["loc"][:-1] if fault["type"] == "missing" else fault["loc"]
        if not path:
            return []
        why = f"{fault['loc'][-1]} is missing" if fault["type"] == "missing" else fault["msg"]
        is_unknown_field = fault["type"] == "extra_forbidden"
        why = "not known to this version" if is_unknown_field else why
        parts.setdefault(path, LeftOut(path, why, is_unknown_field))
    return list(parts.values())


def _without(value: Any, paths: Collection[Path], here: Path = ()) -> Any:
    if isinstance(value, dict):
        kept = ((key, each) for key, each in value.items() if (*here, key) not in paths)
        return {key: _without(each, paths, (*here, key)) for key, each in kept}
    if isinstance(value, (list, tuple)):
        items = ((index, each) for index, each in enumerate(value) if (*here, index) not in paths)
        return [_without(each, paths, (*here, index)) for index, each in items]
    return value


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(value: Mapping[str, Any], path: Path, part: Any) -> Dict[str, Any]:
    """Return the object with the part in it, or unchanged where the object around the part is gone."""
    key = str(path[0])
    if len(path) == 1:
        return {**value, key: part}
    inner = value.get(key)
    return {**value, key: _with(inner, path[1:], part)} if isinstance(inner, dict) else dict(value)


def _printable_strings(value: Any) -> Any:
    if isinstance(value, str):
        return printable_text(value)
    if isinstance(value, dict):
        return {key: _printable_strings(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_printable_strings(each) for each in value]
    return value
