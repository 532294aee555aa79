"""Lets `python3 local/cluster` run this folder as the package `cluster`, as the tests import it."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from cluster.commands import run  # the line above makes it importable

if __name__ == "__main__":
    sys.exit(run())
