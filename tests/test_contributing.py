"""CONTRIBUTING.md is true: its files exist, and a change touches the files that it names."""

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repository import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = ("A field of the spec", "A layout of data sets", "A kind of workload", "A cause")
SPEC = "crds/whisper_finetune_api/v1alpha1/spec.py"
#: Before the class that it is put in front of.
FIELD = """    of_this_test: Annotated[Optional[int], LATER] = Field(
        None, description="What a test adds."
    )


class SpecFields(ApiModel):
"""
TOP_FIELD = """    voice: Annotated[Optional[int], LATER] = Field(None, ge=0, le=9, description="Whose voice it is.")
    suspend: bool = Field("""
GUARDS = ("tests/crds/test_crd.py", "tests/trainer/test_run_identity.py")
KINDS = "operator/whisper_finetune_operator/workloads/kinds.py"
KIND = (
    ("for kind in (JOB, IPU_JOB)}", "for kind in (JOB, IPU_JOB, TRAINING)}"),
    (
        "\n#: By the `kind` of",
        "\nfrom whisper_finetune_operator.workloads.training_kind import TRAINING\n\n#: By the `kind` of",
    ),
)
CAUSE = 'CAUSES = (\n    Cause("OfThisTest", "final", "what a test adds", EXIT_CONFIG),\n'


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def named_paths(text: str) -> set[str]:
    """Return what stands in backticks and is a path from the repository's root."""
    return {each for each in re.findall(r"`([\w./-]+)`", text) if "/" in each}


def generated_paths(title: str) -> set[str]:
    """Return what the section says that `make generate` writes."""
    return named_paths(section(title).split("`make generate` then writes", 1)[1].split(". ", 1)[0])


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the repository as it stands here, with what is not committed yet."""
    target = tmp_path_factory.mktemp("copy")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


Edits = tuple[tuple[str, str], ...]


@contextlib.contextmanager
def edited(copy: Path, file: str, edits: Edits) -> Iterator[None]:
    """Replace texts that a file of the copy has once; it is as before at the end."""
    before = text = (copy / file).read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (copy / file).write_text(text, encoding="utf-8")
    yield
    (copy / file).write_text(before, encoding="utf-8")


def written_for(copy: Path, file: str, edits: Edits) -> set[str]:
    """Return the other files of the copy that differ from the repository's once a file is edited."""
    with edited(copy, file, edits):
        generate(copy)
        return {path for path in files_of(copy) if differs(copy, path)} - {file}


def generate(copy: Path) -> None:
    for program in ("docs/generate", "charts/generate.py"):
        environment = {"PYTHONPATH": "crds:operator:trainer", "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([sys.executable, program], cwd=copy, check=True, env=environment)


def files_of(copy: Path) -> list[str]:
    found = (path for path in copy.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return [str(path.relative_to(copy)) for path in found]


def differs(copy: Path, path: str) -> bool:
    return not (ROOT / path).exists() or (ROOT / path).read_bytes() != (copy / path).read_bytes()


@pytest.mark.parametrize("title", SECTIONS)
def test_every_file_that_a_list_names_is_there(title: str) -> None:
    assert sorted(path for path in named_paths(section(title)) if not (ROOT / path).exists()) == []


@pytest.mark.slow
def test_a_field_is_written_to_the_files_that_its_list_names(copy: Path) -> None:
    edits = (("\nclass SpecFields(ApiModel):\n", FIELD),)
    assert written_for(copy, SPEC, edits) == generated_paths("A field of the spec")


@pytest.mark.slow
def test_a_field_at_the_top_is_asked_for_by_the_tests_that_its_list_names(copy: Path) -> None:
    with edited(copy, SPEC, (("    suspend: bool = Field(", TOP_FIELD),)):
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not apiserver", *GUARDS],
            cwd=copy, check=False, capture_output=True, text=True,
        )  # fmt: skip
    assert set(re.findall(r"^FAILED (.+?)::", ran.stdout, re.MULTILINE)) == set(GUARDS), ran.stdout
    assert set(GUARDS) <= named_paths(section("A field of the spec"))


@pytest.mark.slow
def test_a_cause_is_written_to_the_files_that_its_list_names(copy: Path) -> None:
    causes = "crds/whisper_finetune_api/causes.py"
    assert written_for(copy, causes, (("CAUSES = (\n", CAUSE),)) == generated_paths("A cause")


@pytest.mark.slow
def test_a_kind_is_written_to_the_files_that_its_list_names(copy: Path) -> None:
    module = copy / KINDS.replace("kinds.py", "training_kind.py")
    shutil.copy(copy / "tests" / "operator" / "third_kind.py", module)
    written = written_for(copy, KINDS, KIND) - {str(module.relative_to(copy))}
    module.unlink()
    assert written == generated_paths("A kind of workload")
