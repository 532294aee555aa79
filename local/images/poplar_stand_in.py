"""Make an image in place of Graphcore's image of the Poplar SDK, which no registry serves reliably enough for a test.

The Dockerfile's target trainer-ipu is built on it, and says of itself that it is emulated.
"""

import shutil
from pathlib import Path

from cluster.faults import ClusterError
from cluster.narration import step
from images.buildah import Store
from images.recipes import BUILD_BASE, REPOSITORY, RUNTIME_BASE, STAND_IN, Recipe

#: The file of the virtual environment that has the Python 3.8.
SETTINGS = REPOSITORY / ".venv38" / "pyvenv.cfg"
NOT_NEEDED = (
    "__pycache__",
    "site-packages",
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "ensurepip",
    "tkinter",
    "turtledemo",
)
NOT_NEEDED_AT_THE_TOP = ("include", "share", "openssl")


def make(store: Store, recipe: Recipe, log: Path) -> None:
    """Put the image into the store, unless it is there. Raises ClusterError where there is no Python 3.8 to copy."""
    if recipe.stand_in_image in store.images():
        return
    prefix = python_prefix()
    with step(f"building {recipe.stand_in_image}"), store.working_folder() as context:
        shutil.copytree(prefix, context / "python", symlinks=True, ignore=shutil.ignore_patterns(*NOT_NEEDED, "*.a"))
        for name in NOT_NEEDED_AT_THE_TOP:
            shutil.rmtree(context / "python" / name, ignore_errors=True)
        for path in (recipe.repository / name for name in STAND_IN):
            add(path, context)
        arguments = {"BUILD_IMAGE": BUILD_BASE.image, "RUNTIME_IMAGE": RUNTIME_BASE.image}
        store.build("poplar-emulated", recipe.stand_in_image, arguments, log, context)
    store.forget_other_tags(recipe.stand_in_image)


def add(path: Path, context: Path) -> None:
    """Copy a file or a folder into the build context. A folder with a Dockerfile becomes the context's top."""
    if path.is_file():
        shutil.copy(path, context)
    else:
        top = context if (path / "Dockerfile").exists() else context / path.name
        shutil.copytree(path, top, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def is_possible() -> bool:
    """Return whether there is a Python 3.8 to copy."""
    return SETTINGS.exists()


def python_prefix() -> Path:
    """Return the folder of the Python 3.8 that .venv38 was made with."""
    if not is_possible():
        raise ClusterError("the emulated trainer's image takes Python 3.8 from .venv38: `make environment` says how")
    home = next(line.split("=", 1)[1].strip() for line in SETTINGS.read_text().splitlines() if line.startswith("home"))
    prefix = Path(home).parent
    if prefix == Path("/usr"):
        raise ClusterError(
            f"{home} is the system's Python 3.8, which cannot be copied: make .venv38 with pyenv's or uv's"
        )
    return prefix
