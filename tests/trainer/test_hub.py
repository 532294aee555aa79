import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hub_double
from repository import ROOT

pytestmark = pytest.mark.slow

MODEL = "team/whisper"
#: Prints a line for each model and revision: what it is refused with, or the folder where it is.
FETCH = """
import sys
from whisper_finetune_trainer.model import model_source
from whisper_finetune_trainer.messages.errors import TrainerError
for model, revision in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        print(model_source.download_from_hub(model, revision or None))
    except TrainerError as error:
        print(error.reason, error.message)
"""

#: Prints whether the model's folder is there while it is open, and after.
OPEN = """
import sys
from whisper_finetune_trainer.model import model_source
with model_source.open_model(sys.argv[1], None, {}, sys.argv[2]) as folder:
    print((folder / "config.json").exists())
print((folder / "config.json").exists())
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("repository")
    for name in ("config.json", "model.safetensors", "pytorch_model.bin", "flax_model.msgpack", "merges.txt"):
        (folder / name).write_text(name, encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "whisper"}', encoding="utf-8")
    with hub_double.serving(MODEL, folder) as served:
        yield served


def fetch(endpoint: str, cache: Path, *arguments: object, program: str = FETCH) -> "subprocess.CompletedProcess[str]":
    # In a process of its own: the library reads its endpoint once, when it is imported.
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("crds", "trainer", "tests")),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_texts_and_the_safe_weights_are_fetched(endpoint: str, tmp_path: Path) -> None:
    process = fetch(endpoint, tmp_path, MODEL, "")
    assert process.returncode == 0, process.stderr
    folder = Path(process.stdout.strip())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "merges.txt", "model.safetensors"]
    assert (folder / "model.safetensors").read_text(encoding="utf-8") == "model.safetensors"


#: A model, a revision, and what is said of them.
REFUSED = [
    ("team/missing", "", "ModelNotFound model: the Hub has no team/missing, or it is private"),
    ("team/my--whisper", "", "ModelNotFound model: team/my--whisper is not a valid id of the Hub: "),
    ("team/whisper.", "", "ModelNotFound model: team/whisper. is not a valid id of the Hub: "),
    ("team/whisper-", "", "ModelNotFound model: team/whisper- is not a valid id of the Hub: "),
    ("team/gated", "", "AccessDenied model: team/gated is gated; accept its licence on the Hub"),
    ("team/forbidden", "", "AccessDenied model: the Hub refuses team/forbidden (403)"),
    (MODEL, "no-such-revision", "ModelNotFound model: team/whisper has no revision no-such-revision"),
]


@pytest.fixture(scope="module")
def refusals(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """Ask for all of them in one process: it is the library that takes long to load."""
    asked = [(model, revision) for model, revision, _ in REFUSED]
    process = fetch(endpoint, tmp_path_factory.mktemp("refused"), *itertools.chain(*asked))
    assert process.returncode == 0, process.stderr
    return dict(zip(asked, process.stdout.splitlines(), strict=True))


@pytest.mark.parametrize(("model", "revision", "answer"), REFUSED)
def test_refusals_of_the_hub(refusals: dict[tuple[str, str], str], model: str, revision: str, answer: str) -> None:
    assert refusals[model, revision].startswith(answer)


def test_a_fault_of_the_hub_is_nobodys_to_mend(endpoint: str, tmp_path: Path) -> None:
    process = fetch(endpoint, tmp_path, "team/broken", "")
    assert process.returncode == 1
    assert "HfHubHTTPError" in process.stderr


@pytest.mark.parametrize(("cache", "stays"), [("scratch/huggingface", False), ("cache", True)])
def test_a_download_takes_no_scratch_space_for_good(endpoint: str, tmp_path: Path, cache: str, *, stays: bool) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = fetch(endpoint, tmp_path / cache, MODEL, scratch, program=OPEN)
    assert process.stdout.split() == ["True", "False"], process.stderr
    assert bool(list(tmp_path.rglob("config.json"))) == stays
