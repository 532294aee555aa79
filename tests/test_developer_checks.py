"""What a developer types: the checks before a commit are those of `make check`, and can pass."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from repository import ROOT

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


def test_every_test_runs_once_two_at_a_time_or_one_by_one() -> None:
    together, one_by_one = re.findall(r"-m pytest tests (.*)-m \"(.+)\"", commands_of("test"))
    assert together[0].startswith("-n ")
    assert one_by_one[0] == ""
    assert together[1] == f"not ({one_by_one[1]})"
