"""The demo's real weights and real speech, made as `make demo` makes them."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from demo.folders import DemoFolders, default_root
from demo.input import data, speech_folder
from demo.stopwatch import Stopwatch
from repository import ROOT

OLD_PYTHON = ROOT / ".venv38" / "bin" / "python"
MANIFEST = "a329c89d1630b0965ed76168d98d66cbd8f9742b1706822ab284453941f7bd86"
TOKENIZE = """
import hashlib, json, sys
from transformers import AutoTokenizer, WhisperTokenizer
texts = [json.loads(line)["text"] for line in open(sys.argv[2], encoding="utf-8")]
for kind in (AutoTokenizer, WhisperTokenizer):
    tokenizer = kind.from_pretrained(sys.argv[1])
    tokenizer.set_prefix_tokens(language="italian", task="transcribe")
    ids = [tokenizer(text).input_ids for text in texts]
    as_it_is = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    assert [tokenizer.decode(each, **as_it_is) for each in ids] == texts
    assert ids[0][:4] == [50258, 50274, 50359, 50363], ids[0]
    print(len(tokenizer), hashlib.sha256(json.dumps(ids).encode()).hexdigest())
"""

pytestmark = pytest.mark.speech


@pytest.fixture(scope="module")
def folders() -> DemoFolders:
    made = DemoFolders(default_root())
    data.prepare(made, Stopwatch())
    return made


def test_the_speech_is_the_same_on_every_machine(folders: DemoFolders, tmp_path: Path) -> None:
    manifest = folders.speech / "manifest.jsonl"
    assert hashlib.sha256(manifest.read_bytes()).hexdigest() == MANIFEST
    again = DemoFolders(tmp_path)
    again.downloads.symlink_to(folders.downloads)
    data.make_speech(again, "any")
    assert contents(again.speech) == contents(folders.speech)


def contents(folder: Path) -> dict[str, str]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "recipe.sha256"]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_every_clip_is_sound_of_the_length_that_the_manifest_says(folders: DemoFolders) -> None:
    lines = (folders.speech / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert len(entries) == len(list((folders.speech / "clips").iterdir())) == 525
    for entry in entries:
        info = soundfile.info(folders.speech / entry["audio"])
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert abs(info.duration - entry["duration"]) < 0.001
        assert info.duration <= speech_folder.LONGEST_SECONDS


def test_both_generations_of_transformers_read_the_tokenizer_alike(folders: DemoFolders) -> None:
    manifest = folders.speech / "manifest.jsonl"
    digests = set(tokenize(Path(sys.executable), folders.model, manifest))
    if OLD_PYTHON.exists():
        digests |= set(tokenize(OLD_PYTHON, folders.model, manifest))
    assert len(digests) == 1
    assert digests.pop().startswith("51865 ")


def tokenize(python: Path, model: Path, manifest: Path) -> list[str]:
    arguments = [str(python), "-W", "ignore", "-c", TOKENIZE, str(model), str(manifest)]
    ran = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return ran.stdout.splitlines()
