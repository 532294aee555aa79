"""All tests in parts, as `make test` runs them: a part that fails stops none, and each says what it waited for.

`python tests/parts.py [PART...]` runs the named ones, or all. After each, pytest names its slowest tests, and the last
lines count every part's tests, its seconds, and the slowest test.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
SLOWEST_SHOWN = 40
#: pytest's exit status where it has run everything that it was told to.
_RAN = (0, 1)


@dataclass(frozen=True)
class Part:
    """Tests that run in one pytest, so many at a time."""

    name: str
    markers: str
    workers: int


#: Every test is in one of them. Those with a node share it and run one by one. Those with an API server wait more than
#: they compute, and each worker has a server of its own.
PARTS = (
    Part("units", "not (apiserver or cluster or browser or speech)", 2),
    Part("apiserver", "apiserver and not (cluster or browser or speech)", 4),
    Part("cluster", "cluster or browser or speech", 1),
)


@dataclass(frozen=True)
class Outcome:
    """How a part went. `slowest` is a test's name and its seconds, those of its fixtures among them."""

    part: Part
    exit_status: int
    tests: int
    failed: int
    seconds: float
    slowest: tuple[str, float]

    def line(self) -> str:
        said = f"{self.failed} failed" if self.failed else "passed"
        if self.exit_status not in _RAN:
            said = f"pytest ended with {self.exit_status}"
        name, seconds = self.slowest
        return f"{self.part.name}: {self.tests} tests, {said}, {self.seconds:.0f} s, slowest {seconds:.0f} s {name}"


def run_part(part: Part, report: Path) -> Outcome:
    """Run a part's tests and show what pytest says; `report` is written by it, in the form of JUnit."""
    began = time.monotonic()
    ran = subprocess.run(pytest_command(part, report), cwd=ROOT, env=environment(), check=False)
    return read_outcome(part, ran.returncode, time.monotonic() - began, report)


def pytest_command(part: Part, report: Path) -> list[str]:
    workers = [f"--numprocesses={part.workers}"] if part.workers > 1 else []
    shown = [f"--durations={SLOWEST_SHOWN}", "--durations-min=1", f"--junitxml={report}"]
    return [sys.executable, "-m", "pytest", "tests", *workers, "-m", part.markers, *shown]


def environment() -> dict[str, str]:
    """Return the variables of pytest: as many threads as tests, and no module is compiled twice."""
    given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**given, "OMP_NUM_THREADS": "1"}


def read_outcome(part: Part, exit_status: int, seconds: float, report: Path) -> Outcome:
    """Read what pytest wrote of a part; where it wrote nothing, no test ran."""
    cases = list(ET.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314 -- pytest's own
    took = {f"{case.get('classname')}::{case.get('name')}": float(case.get("time", "0")) for case in cases}
    failed = sum(any(case.find(end) is not None for end in ("failure", "error")) for case in cases)
    slowest = max(took.items(), key=lambda each: each[1], default=("", 0.0))
    return Outcome(part, exit_status, len(cases), failed, seconds, slowest)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(part.name for part in PARTS))
    asked = parser.parse_args(arguments).parts
    if unknown := set(asked) - {part.name for part in PARTS}:
        parser.error(f"no part is named {', '.join(sorted(unknown))}")
    chosen = [part for part in PARTS if not asked or part.name in asked]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [run_part(part, Path(folder) / f"{part.name}.xml") for part in chosen]
    print("\n".join(outcome.line() for outcome in outcomes))
    return int(any(outcome.exit_status for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
