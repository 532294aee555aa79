"""The executable cache: a file for each graph that was compiled, so that a second process of the same shapes finds it.

Nothing is compiled here, so the file holds what the graph was made from. PopART's own key is over its intermediate
representation; whether a graph compiled without an IPU is found by a run with one is therefore not shown by this.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from poptorch.errors import Error
from poptorch.options import Options


def folder_of(options: Options) -> Optional[Path]:
    """Return the folder that the options name, else POPTORCH_CACHE_DIR, else None."""
    popart = options._Popart.options
    named = popart.get("cachePath", "") if popart.get("enableEngineCaching") else os.environ.get("POPTORCH_CACHE_DIR")
    return Path(named) if named else None


def load_or_keep(folder: Path, graph: Dict[str, Any]) -> bool:
    """Return whether the graph's executable was there; it is afterwards. An unwritable folder is an error, as in PopART."""
    text = json.dumps(graph, indent=1, sort_keys=True)
    file = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.popef"
    if file.exists():
        return True
    with _refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)
    return False


@contextlib.contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise Error(f"Cannot write the executable cache {folder}: {problem.strerror}") from problem
