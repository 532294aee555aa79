"""Python environments that only a few tests need: `.venv-NAME`, from requirements/NAME.txt."""

import subprocess
import sys
from pathlib import Path

from repository import ROOT


def python_of(name: str) -> Path:
    """Return the Python of the environment, made first where it is not as its lock says."""
    lock, folder = ROOT / "requirements" / f"{name}.txt", ROOT / f".venv-{name}"
    python, stamp = folder / "bin" / "python", folder / "lock.txt"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([uv, "venv", "-q", "--clear", folder, "--python", sys.executable], check=True)
        install = [uv, "pip", "install", "-q", "-p", python, "--no-deps", "--require-hashes", "-r", lock]
        subprocess.run(install, check=True)
        stamp.write_bytes(lock.read_bytes())
    return python
