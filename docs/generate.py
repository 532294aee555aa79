"""Runs the folder generate/ beside it, which holds the program, its tables and the templates of the pages."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parent / "generate"), run_name="__main__")
