"""Lets `python local/demo` run this folder as the package `demo`, as the tests import it."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.path.extend(str(Path(__file__).resolve().parents[2] / folder) for folder in ("crds", "trainer", "tests"))

from demo.commands import run  # the lines above make it importable

if __name__ == "__main__":
    sys.exit(run())
