"""Make a folder once, and again only when something that it is made from has changed."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

MARK = "recipe.sha256"


def digest_of(modules: Sequence[Path], versions: Sequence[str] = ()) -> str:
    """Return the digest of the modules that make a folder and of the versions of the libraries that they call."""
    recipe = hashlib.sha256(" ".join(versions).encode())
    for module in modules:
        recipe.update(module.read_bytes())
    return recipe.hexdigest()


def is_made(folder: Path, recipe: str) -> bool:
    mark = folder / MARK
    return mark.exists() and mark.read_text() == recipe


@contextmanager
def making(folder: Path, recipe: str) -> Iterator[Path]:
    """Yield a folder to write to. It becomes `folder` once everything is written."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    (unfinished / MARK).write_text(recipe)
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)
