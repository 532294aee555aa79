"""All tests in parts, as `make test` runs them. A part that fails stops no other, and each says what it waited for.

`python tests/parts.py [PART...]` runs the named ones, or every test. Of parts that run at the
same time, the output of the first is shown as it comes, and that of the others when they are over. After each part
pytest names its slowest tests. The last lines have the tests, the seconds and the slowest test of every part.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from heavy_imports import imports_pytorch

ROOT = Path(__file__).resolve().parent.parent
SLOWEST_SHOWN = 40
#: Each of its tests is a whole file of other tests, on another Python.
ON_PYTHON_38 = "tests/test_python38.py"
#: Files that take minutes, and whose tests share nothing but the API server, which each worker has.
TEST_BY_TEST = (
    ON_PYTHON_38,
    "tests/operator/test_ipu_jobs_apiserver.py",
    "tests/operator/test_operator_apiserver.py",
    "tests/operator/test_partitions_apiserver.py",
)
#: They share a cluster, and some of them kill its only operator.
ONE_CLUSTER = "tests/e2e/"
#: pytest's exit status where it has run everything that it was told to.
_RAN = (0, 1)


@dataclass(frozen=True)
class Part:
    """Tests of one pytest and of so many workers; `preparation` comes before, outside of any test's time limit.

    `share` says which share of the files it takes, such as the first of two. All that import PyTorch are in the first.
    `options` are pytest's.
    """

    name: str
    markers: str
    workers: int
    preparation: tuple[tuple[str, ...], ...] = ()
    share: tuple[int, int] = (1, 1)
    options: tuple[str, ...] = ()

    def files(self) -> list[str]:
        """Return its share of the files that may have such tests."""
        number, shares = self.share
        files = shared_out(sorted(filter(self._may_have, test_files())), shares)[number - 1]
        return [str(file.relative_to(ROOT)) for file in sorted(files)]

    def _may_have(self, file: Path) -> bool:
        """A file has none where it does not spell a marker that is asked for, or has one that is not wanted on all."""
        asked, _, unwanted = self.markers.partition("not ")
        if asked:
            return bool(set(re.findall(r"\w+", asked)) & marks_spelled_in(file))
        return not set(re.findall(r"\w+", unwanted)) & marks_of_all_in(file)


def test_files() -> list[Path]:
    """Return the files of this Python's tests: what runs on Python 3.8 is started by one of them."""
    return [file for file in (ROOT / "tests").rglob("test_*.py") if file.parent.name != "ipu"]


def shared_out(files: Sequence[Path], shares: int) -> list[list[Path]]:
    """Return shares that take about as long: the longest file first, each to the share that has least.

    The first share has all files that import PyTorch, because each process that does takes seconds for it.
    """
    together = list(filter(imports_pytorch, files))
    made = [together, *([] for _ in range(1, shares))]
    for file in sorted(set(files) - set(together), key=size_of, reverse=True):
        min(made, key=lambda share: sum(map(weight_of, share))).append(file)
    return made


def size_of(file: Path) -> int:
    return file.stat().st_size


def weight_of(file: Path) -> float:
    """Return about how long a file takes, in bytes: tests that compute with PyTorch take longer for each byte."""
    return size_of(file) * (1.9 if imports_pytorch(file) else 1)


def marks_of_all_in(file: Path) -> set[str]:
    """Return the marker that every test of a file has, without importing it."""
    return set(re.findall(r"^pytestmark = \[?\s*pytest\.mark\.(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def marks_spelled_in(file: Path) -> set[str]:
    """Return the markers that a file of tests names, without importing it."""
    return set(re.findall(r"\bmark\.(\w+)", file.read_text(encoding="utf-8")))


UNITS = Part("units", "not (apiserver or cluster or browser or speech)", 2)
#: Real pods on a node, a browser and real speech. On a machine without images they take longest.
CLUSTER = Part("cluster", "cluster or browser or speech", 2, (("local/images", "build", "all"),))
#: Each worker has an API server of its own. Replicas renew Leases here within seconds, so this part runs alone.
API_SERVER = Part("apiserver", "apiserver and not (cluster or browser or speech)", 4)
#: The units but for the slow ones: what one runs while one works. Two that know nothing of each other import less than
#: two workers, each of which reads all the files, and need nobody who shares the tests out. One does without PyTorch.
_QUICK = "not (apiserver or cluster or browser or speech or slow)"
_QUICK_SHARES = ((1, 2), (2, 2))
#: What is removed soon after it was written never reaches the disk.
_KEEP_LITTLE = ("--override-ini=tmp_path_retention_policy=failed",)
QUICK = tuple(Part(f"quick-{share[0]}", _QUICK, 1, share=share, options=_KEEP_LITTLE) for share in _QUICK_SHARES)
#: Every test is in one part. The parts of a stage run at a time: units compute, and what runs in pods waits.
STAGES = ((UNITS, CLUSTER), (API_SERVER,))


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


def run_stage(parts: Sequence[Part], folder: Path) -> list[Outcome]:
    """Run parts at a time, and show what they say one after the other."""
    logs = [None, *(folder / f"{part.name}.log" for part in parts[1:])]
    with ThreadPoolExecutor(max_workers=max(1, len(parts))) as running:
        begun = [running.submit(run_part, part, folder, log) for part, log in zip(parts, logs, strict=False)]
        outcomes = []
        for each, log in zip(begun, logs, strict=False):
            outcomes.append(each.result())
            if log:
                print(log.read_text(encoding="utf-8", errors="replace"), flush=True)
    return outcomes


def run_part(part: Part, folder: Path, log: Path | None) -> Outcome:
    """Run a part's preparation and its tests; what they say goes to `log`, or is shown where that is None."""
    began, report = time.monotonic(), folder / f"{part.name}.xml"
    with log.open("ab") if log else nullcontext() as output:
        for step in part.preparation:
            # Where it fails, so do the tests that need it, and say why.
            subprocess.run([sys.executable, *step], cwd=ROOT, stdout=output, stderr=output, check=False)
        ran = subprocess.run(
            pytest_command(part, report), cwd=ROOT, env=environment(), stdout=output, stderr=output, check=False
        )
    return read_outcome(part, ran.returncode, time.monotonic() - began, report)


def pytest_command(part: Part, report: Path) -> list[str]:
    workers = [f"--numprocesses={part.workers}"] if part.workers > 1 else []
    shown = [f"--durations={SLOWEST_SHOWN}", "--durations-min=1", f"--junitxml={report}"]
    return [sys.executable, "-m", "pytest", *part.files(), *workers, *part.options, "-m", part.markers, *shown]


def environment() -> dict[str, str]:
    """Return pytest's variables: one thread for each test, and what Python compiles is kept for the next process."""
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
    names = [part.name for stage in (*STAGES, QUICK) for part in stage]
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*names, []], help=", ".join(names))
    asked = parser.parse_args(arguments).parts or names[: -len(QUICK)]
    stages = [[part for part in stage if part.name in asked] for stage in (*STAGES, QUICK)]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [outcome for stage in stages for outcome in run_stage(stage, Path(folder))]
    print("\n".join(outcome.line() for outcome in outcomes))
    return int(any(outcome.exit_status for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
