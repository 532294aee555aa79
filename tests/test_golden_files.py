"""Golden files are written anew where their content changes, and otherwise not touched."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import golden_files
from golden_files import check_golden_objects, check_golden_text
from repository import ROOT

#: In an order of keys, and with a comment, that no dumper would write.
WRITTEN = "b: 2 # as somebody wrote it\na: 1\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(golden_files, "FOLDER", tmp_path)
    monkeypatch.delenv(golden_files.RENEW, raising=False)
    (tmp_path / "golden.yaml").write_text(WRITTEN, encoding="utf-8")
    return tmp_path


def renew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(golden_files.RENEW, "1")


def test_a_file_that_says_the_same_is_left_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_golden_objects("golden.yaml", {"a": 1, "b": 2})
    renew(monkeypatch)
    check_golden_objects("golden.yaml", {"a": 1, "b": 2})
    assert (folder / "golden.yaml").read_text(encoding="utf-8") == WRITTEN


def test_another_object_fails_by_itself_and_is_written_where_that_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"run": "one"}
    found = {"a": 1, "labels": labels, "selector": labels, "text": "two\nlines\n"}
    with pytest.raises(AssertionError, match="`make golden` writes it"):
        check_golden_objects("golden.yaml", found, {"second": True})
    renew(monkeypatch)
    check_golden_objects("golden.yaml", found, {"second": True})
    assert (folder / "golden.yaml").read_text(encoding="utf-8") == (
        "a: 1\nlabels:\n  run: one\nselector:\n  run: one\ntext: |\n  two\n  lines\n---\nsecond: true\n"
    )
    monkeypatch.delenv(golden_files.RENEW)
    check_golden_objects("golden.yaml", found, {"second": True})


def test_a_text_and_a_new_file_are_written_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=r"page\.html"):
        check_golden_text("page.html", "<p>")
    renew(monkeypatch)
    check_golden_text("page.html", "<p>")
    assert (folder / "page.html").read_text(encoding="utf-8") == "<p>"


def test_make_golden_runs_every_file_that_compares_with_one() -> None:
    command = subprocess.run(["make", "--dry-run", "golden"], cwd=ROOT, check=True, capture_output=True, text=True)
    files = [path for path in (ROOT / "tests").glob("*/test_*.py") if "golden_files" in path.read_text("utf-8")]
    named = [word for word in command.stdout.split() if word.startswith("tests/") and word.endswith(".py")]
    assert sorted(named) == sorted(str(path.relative_to(ROOT)) for path in files)
