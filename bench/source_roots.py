"""Lets `python bench/PROGRAM.py` import the project's packages, which are not installed; import it before them."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("crds", "trainer", "tests")]
