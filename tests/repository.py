"""The path of this repository, for tests that read its files or start its programs."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
