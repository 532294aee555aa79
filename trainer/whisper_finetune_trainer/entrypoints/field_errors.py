"""What pydantic refuses, in one line per field as its YAML calls it. Pure."""

from typing import Tuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_NO_TEXT = {
    bool: "YAML takes words such as no, off, yes and on for true or false",
    int: "YAML takes it for a number",
    float: "YAML takes it for a number",
}


def lines(error: ValidationError, prefix: str = "") -> Tuple[str, ...]:
    """Return one line per refused field: where it is and what is wrong."""
    return tuple(_line(prefix, detail) for detail in error.errors(include_url=False))


def _line(prefix: str, detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in ((prefix,) if prefix else ()) + detail["loc"])
    return f"{path or 'the object'}: {_message(detail)}"


def _message(detail: ErrorDetails) -> str:
    taken_for = _NO_TEXT.get(type(detail["input"])) if detail["type"] == "string_type" else None
    if taken_for:
        return f"without quotes, {taken_for}; write it in quotes"
    # pydantic's own word for what our validators say in full.
    return detail["msg"].replace("Value error, ", "")
