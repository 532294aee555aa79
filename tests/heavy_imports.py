"""Which files of tests import PyTorch or transformers, directly or by what they import. It is read from the files."""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_HEAVY = frozenset(("torch", "transformers"))
#: Of transformers this loads no PyTorch.
_LIGHT = "transformers.models.whisper.english_normalizer."
#: What stands at the beginning of a line is run by an import. What is indented waits for a function, or is for types.
_IMPORT = re.compile(r"^import (?P<name>[\w.]+)|^from (?P<source>[\w.]+) import (?P<names>\([^)]*\)|.*)", re.MULTILINE)
_NAME = re.compile(r"\w+")
#: Some are programs and pages with imports of their own.
_LONG_TEXT = re.compile(r'"""(.*?)"""', re.DOTALL)


@functools.cache
def imports_pytorch(file: Path) -> bool:
    """Return whether a file imports PyTorch or transformers before any of its tests begins."""
    seen, waiting = {file}, [file]
    while waiting:
        names = imported_names(waiting.pop())
        if any(name.partition(".")[0] in _HEAVY and not name.startswith(_LIGHT) for name in names):
            return True
        found = {path for name in names for path in own_files(name)} - seen
        seen |= found
        waiting.extend(found)
    return False


@functools.cache
def imported_names(file: Path) -> frozenset[str]:
    """Return every name that could be a module: `from a import b` names `a.b`."""
    program = _LONG_TEXT.sub("", file.read_text(encoding="utf-8"))
    names = set[str]()
    for found in _IMPORT.finditer(program):
        source, name = found["source"], found["name"]
        names.update([name] if name else [f"{source}.{each}" for each in _NAME.findall(found["names"])])
    return frozenset(names)


@functools.cache
def own_files(name: str) -> frozenset[Path]:
    """Return the project's files that an import of this name runs: those of its packages, and its own."""
    parts = name.split(".")
    beginnings = [folder.joinpath(*parts[:count]) for folder in _folders() for count in range(1, len(parts) + 1)]
    tried = (path for begun in beginnings for path in (begun.with_suffix(".py"), begun / "__init__.py"))
    return frozenset(path for path in tried if path.exists())


@functools.cache
def _folders() -> tuple[Path, ...]:
    """Return where pytest looks for modules."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return tuple(ROOT / folder for folder in (".", *settings["tool"]["pytest"]["ini_options"]["pythonpath"]))
