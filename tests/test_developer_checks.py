"""The checks before a commit are those of `make check`, and can pass."""

import functools
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.mark.expression import Expression

import parts
from heavy_imports import imports_pytorch
from repository import ROOT

MARKERS = ("slow", "apiserver", "cluster", "browser", "speech")
PRE_COMMIT = ROOT / ".venv" / "bin" / "pre-commit"
TOOLS = re.compile(r"(?:PYTHONPATH=\S+ )?\.venv/bin/(?:ruff check|ruff format|mypy|lint-imports|yamllint|shellcheck)")


def hooks() -> dict[str, dict[str, Any]]:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    return {hook["id"]: hook for hook in local["hooks"]}


@functools.cache
def commands_of(target: str) -> str:
    """What `make TARGET` would run."""
    return subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_before_a_commit_the_same_tools_run_with_the_same_path_as_by_make_check() -> None:
    by_make = set(TOOLS.findall(commands_of("check")))
    assert len(by_make) == 6
    assert set(TOOLS.findall("\n".join(hook["entry"] for hook in hooks().values()))) == by_make


@pytest.mark.parametrize("package", ["crds", "operator", "trainer"])
def test_a_change_of_any_package_asks_for_what_is_generated_from_it(package: str) -> None:
    module = next((ROOT / package).rglob("*.py")).relative_to(ROOT)
    assert re.search(hooks()["generated"]["files"], str(module))


@pytest.mark.slow
def test_the_layers_can_be_checked_before_a_commit(tmp_path: Path) -> None:
    ran = subprocess.run(
        [str(PRE_COMMIT), "run", "layers", "--all-files"],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_tests_run_on_work_in_progress_and_continuous_integration_verifies_what_is_committed() -> None:
    assert "git diff" not in commands_of("test")
    assert "git diff --exit-code" in commands_of("verify")
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-2:]
    assert steps == ["make verify", "exec make test"]


@pytest.mark.parametrize("markers", [some for count in range(6) for some in combinations(MARKERS, count)], ids="-".join)
def test_every_test_is_in_one_part(markers: tuple[str, ...]) -> None:
    assert "tests/parts.py" in commands_of("test")
    all_parts = [part for stage in parts.STAGES for part in stage]
    choosing = [part for part in all_parts if Expression.compile(part.markers).evaluate(lambda name: name in markers)]
    assert len(choosing) == 1


def test_the_quick_tests_are_shared_out_without_loss() -> None:
    shares = [part.files() for part in parts.QUICK]
    together = [file for share in shares for file in share]
    assert len(together) == len(set(together))
    left_out = {str(file.relative_to(ROOT)) for file in parts.test_files()} - set(together)
    unwanted = {"apiserver", "cluster", "browser", "speech", "slow"}
    assert all(parts.marks_of_all_in(ROOT / file) & unwanted for file in left_out), left_out
    assert {part.markers for part in parts.QUICK} == {"not (apiserver or cluster or browser or speech or slow)"}
    assert all(part.name in commands_of("test-unit") for part in parts.QUICK)


def test_one_of_two_shares_does_without_pytorch() -> None:
    with_pytorch, without = (part.files() for part in parts.QUICK)
    assert not any(imports_pytorch(ROOT / file) for file in without)
    # Itself, by what it imports, and not at all, though one has a program that does.
    assert {"tests/trainer/test_model.py", "tests/trainer/test_segments.py"} <= set(with_pytorch)
    assert {"tests/operator/test_status.py", "tests/trainer/test_main.py"} <= set(without)


@pytest.mark.slow
def test_the_quick_tests_keep_the_files_of_failed_tests_alone(tmp_path: Path) -> None:
    (tmp_path / "test_files.py").write_text(
        "def test_passes(tmp_path): (tmp_path / 'file').touch()\n"
        "def test_fails(tmp_path): assert not (tmp_path / 'file').write_text('kept')\n"
    )
    command = [*parts.pytest_command(parts.QUICK[0], tmp_path / "report.xml")[:3], *parts.QUICK[0].options]
    kept = tmp_path / "kept"
    ran = subprocess.run(
        [*command, "-c", os.devnull, f"--basetemp={kept}", tmp_path / "test_files.py"], check=False, capture_output=True
    )
    assert ran.returncode == 1, ran.stdout
    assert [file.parent.name for file in kept.rglob("file")] == ["test_fails0"]


def test_files_are_shared_out_by_their_length(tmp_path: Path) -> None:
    files = [tmp_path / str(length) for length in (1, 2, 5, 9, 10)]
    for file in files:
        file.write_text("a" * int(file.name))
    shares = parts.shared_out(files, 2)
    assert [sum(map(parts.size_of, share)) for share in shares] == [13, 14]
    assert sorted(file for share in shares for file in share) == sorted(files)


@pytest.mark.parametrize(
    ("written", "marks"),
    [
        ("pytestmark = pytest.mark.slow\n", {"slow"}),
        ("pytestmark = [\n    pytest.mark.slow,\n    pytest.mark.skipif(True, reason='')]\n", {"slow"}),
        ("@pytest.mark.slow\ndef test_one() -> None: ...\n", set()),
        ("class TestSome:\n    pytestmark = pytest.mark.slow\n", set()),
    ],
)
def test_a_marker_of_all_of_a_file_is_told_from_one_of_a_test(written: str, marks: set[str], tmp_path: Path) -> None:
    file = tmp_path / "test_some.py"
    file.write_text(f"import pytest\n\n{written}", encoding="utf-8")
    assert parts.marks_of_all_in(file) == marks


def test_what_is_named_to_be_shared_out_is_there() -> None:
    assert all((ROOT / path).exists() for path in (*parts.TEST_BY_TEST, parts.ONE_CLUSTER))


def report_of(cases: str) -> list[str]:
    """A stand-in of pytest that reports these cases, and fails where one of them does."""
    write = "import sys; print('ran'); open(sys.argv[1], 'w').write(sys.argv[2]); sys.exit('failure' in sys.argv[2])"
    return [sys.executable, "-c", write, f"<testsuites>{cases}</testsuites>"]


def test_a_part_that_fails_stops_none_and_each_says_how_it_went(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def command(part: parts.Part, report: Path) -> list[str]:
        quick, slow = (
            '<testcase classname="a" name="quick" time="1"/>',
            '<testcase classname="b" name="slow" time="7.4">',
        )
        failing = quick + slow + "<failure/></testcase>"
        *program, cases = report_of(failing if part is parts.UNITS else quick)
        return [*program, str(report), cases]

    monkeypatch.setattr(parts, "pytest_command", command)
    prepared = replace(parts.CLUSTER, preparation=(("-c", "print('prepared')"),))
    monkeypatch.setattr(parts, "STAGES", ((parts.UNITS, prepared), (parts.API_SERVER,)))
    assert parts.main([]) == 1
    said = re.sub(r"\d+ s, slowest", "N s, slowest", capfd.readouterr().out).splitlines()
    assert [line for line in said if line] == [
        "ran",
        "prepared",
        "ran",
        "ran",
        "units: 2 tests, 1 failed, N s, slowest 7 s b::slow",
        "cluster: 1 tests, passed, N s, slowest 1 s a::quick",
        "apiserver: 1 tests, passed, N s, slowest 1 s a::quick",
    ]
    assert parts.main(["apiserver"]) == 0


def test_a_part_that_cannot_run_has_failed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(parts, "pytest_command", lambda *_: [sys.executable, "-c", "raise SystemExit(4)"])
    assert parts.main(["units"]) == 1
    assert capfd.readouterr().out.startswith("units: 0 tests, pytest ended with 4, ")
