"""The executable cache: a file for each compiled graph, so that a second process with the same shapes finds it.

Nothing is compiled here, so the file has what the graph was made from. PopART's own key is over its intermediate
representation. So this does not show whether a run with IPUs finds a graph that was compiled without them.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Iterator, Optional

from poptorch.errors import Error
from poptorch.graphs import Graph
from poptorch.options import Options


def folder_of(options: Options) -> Optional[Path]:
    """Return the folder that the options name, else POPTORCH_CACHE_DIR, else None."""
    popart = options._Popart.options
    named = popart.get("cachePath", "") if popart.get("enableEngineCaching") else os.environ.get("POPTORCH_CACHE_DIR")
    return Path(named) if named else None


def load_or_keep(options: Options, graph: Graph) -> bool:
    """Return whether the graph's executable was there; it is afterwards. A folder that takes no file is an error."""
    folder = folder_of(options)
    if folder is None:
        return False
    text = json.dumps(dataclasses.asdict(graph), indent=1, default=str)
    file = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.popef"
    if file.exists():
        return True
    with _refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, suffix=".unfinished") as unfinished:
            unfinished.write(text)
        Path(unfinished.name).replace(file)
    return False


@contextlib.contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise Error(f"Cannot write the executable cache {folder}: {problem.strerror}") from problem
