"""What pydantic refuses, in one line per field as its YAML calls it. Pure."""

from typing import Tuple

from pydantic import ValidationError


def lines(error: ValidationError, prefix: str = "") -> Tuple[str, ...]:
    """Return one line per refused field: where it is and what is wrong."""
    return tuple(_line(prefix, detail["loc"], detail["msg"]) for detail in error.errors(include_url=False))


def _line(prefix: str, place: Tuple[object, ...], message: str) -> str:
    path = ".".join(str(part) for part in ((prefix,) if prefix else ()) + place)
    # pydantic's own word for what our validators say in full.
    return f"{path or 'the object'}: {message.replace('Value error, ', '')}"
