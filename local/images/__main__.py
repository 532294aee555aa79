"""Lets `python3 local/images` run this folder as the package `images`, as the tests import it."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from images.commands import run  # the line above makes it importable

if __name__ == "__main__":
    sys.exit(run())
