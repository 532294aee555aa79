"""A pod's root file system is read-only: what libraries cache and what is temporary goes to the scratch folder."""

import os
from pathlib import Path

#: Environment variable to the folder below the scratch folder that it names.
_FOLDERS = {
    "TMPDIR": "tmp",
    "HF_HOME": "huggingface",
    "XDG_CACHE_HOME": "cache",
}


def use(scratch_folder: str) -> None:
    """Point every cache that the environment has not placed yet below the scratch folder; before libraries load."""
    for variable, name in _FOLDERS.items():
        folder = Path(os.environ.setdefault(variable, str(Path(scratch_folder, name))))
        folder.mkdir(parents=True, exist_ok=True)
