"""What a developer types: the checks before a commit are those of `make check`, and can pass."""

import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.mark.expression import Expression

import parts
from repository import ROOT

MARKERS = ("slow", "apiserver", "cluster", "browser", "speech")
PRE_COMMIT = ROOT / ".venv" / "bin" / "pre-commit"
TOOLS = re.compile(r"(?:PYTHONPATH=\S+ )?\.venv/bin/(?:ruff check|ruff format|mypy|lint-imports|yamllint|shellcheck)")


def hooks() -> dict[str, dict[str, Any]]:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    return {hook["id"]: hook for hook in local["hooks"]}


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
    choosing = [part for part in parts.PARTS if Expression.compile(part.markers).evaluate(lambda name: name in markers)]
    assert len(choosing) == 1


def test_a_part_that_fails_stops_none_and_each_says_how_it_went(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(part: parts.Part, report: Path) -> list[str]:
        cases = '<testcase classname="a" name="quick" time="1"/>'
        if part.name == "units":
            cases += '<testcase classname="b" name="slow" time="7.4"><failure/></testcase>'
        write = "import sys; open(sys.argv[1], 'w').write(sys.argv[2]); sys.exit('failure' in sys.argv[2])"
        return [sys.executable, "-c", write, str(report), f"<testsuites>{cases}</testsuites>"]

    monkeypatch.setattr(parts, "pytest_command", run)
    assert parts.main([]) == 1
    said = re.sub(r"\d+ s, slowest", "N s, slowest", capsys.readouterr().out)
    assert said.splitlines() == [
        "units: 2 tests, 1 failed, N s, slowest 7 s b::slow",
        "apiserver: 1 tests, passed, N s, slowest 1 s a::quick",
        "cluster: 1 tests, passed, N s, slowest 1 s a::quick",
    ]
    assert parts.main(["cluster"]) == 0


def test_a_part_without_any_tests_or_report_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "pytest_command", lambda *_: [sys.executable, "-c", "raise SystemExit(4)"])
    assert parts.main(["units"]) == 1
