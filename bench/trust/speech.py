"""The folder that all runs of this bench read: Whisper base, Italian to train on, and Spanish and English to hear.

The clips are Asterisk's, as the demo's are, but up to 10 s long. What is there already is not made again.
"""

import json
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from demo.folders import DemoFolders, default_root
from demo.input import clips, data, downloads, recipe, sources, speech_folder
from demo.input.sources import Source
from demo.input.speech_folder import Voice
from demo.stopwatch import Stopwatch

MODEL = "model/whisper-base"
SPEECH, STRIPPED, SHUFFLED = "speech/it", "speech/it-stripped", "speech/it-shuffled"
#: Evaluations are read from the split `test`, and the Italian run divides its clips itself.
_MANIFESTS = {"it": "manifest.jsonl", "es": "test.jsonl", "en": "test.jsonl"}
_LONGEST_SECONDS = 10.0
_VOICES = (
    Voice("it", "it_IT_m_Carlo", _LONGEST_SECONDS),
    Voice("es", "es_MX_f_Allison", _LONGEST_SECONDS),
    Voice("en", "en_US_f_Allison", _LONGEST_SECONDS),
)
#: So many clips lie from one that is held out to the next, in the folders with spoilt transcripts. The held-out
#: transcripts are right. Of those with punctuation, which are few, every other clip is taken.
_HELD_OUT_EVERY, _HELD_OUT_EVERY_WRITTEN = 5, 2
_SHA256 = {
    "asterisk-core-sounds-es": "9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74",
    "asterisk-core-sounds-es-g722": "e4e3b4281057d3b81b779298fd6be705f57411513955c518eed1bcaabbd615b8",
    "asterisk-core-sounds-en": "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
    "asterisk-core-sounds-en-g722": "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806",
}
_SOURCES = (
    sources.TRANSCRIPTS,
    sources.RECORDINGS,
    *(
        Source("Debian", name, "1.6.1-1", f"{name}_1.6.1-1_all.deb", sha256, "speech", "CC-BY-SA-3.0", "Digium")
        for name, sha256 in _SHA256.items()
    ),
)
Texts = list[str]
Entries = list[dict[str, Any]]
_SENTENCE = re.compile(r"^[A-ZÀ-Ý].*[.?!]$")


def prepare_folder(folder: Path) -> None:
    """Make model and speech below `folder` where they are missing. Raises DemoError, which says what is in the way."""
    if not (folder / MODEL).exists():
        _copy_model(folder / MODEL)
    if not all((folder / "speech" / voice.language).exists() for voice in _VOICES):
        _make_speech(folder)
    for name, spoil, hold_out in ((STRIPPED, strip_texts, _written), (SHUFFLED, shuffle_texts, _any)):
        if not (folder / name).exists():
            _write_spoilt(folder / SPEECH, folder / name, spoil, hold_out)


def _copy_model(target: Path) -> None:
    demo = DemoFolders(default_root())
    data.prepare(demo, Stopwatch())
    shutil.copytree(demo.model, target)


def _make_speech(folder: Path) -> None:
    downloads.fetch(_SOURCES, folder / "downloads")
    clips.require_ffmpeg()
    with tempfile.TemporaryDirectory() as packages:
        downloads.unpack_debian([folder / "downloads" / source.file for source in _SOURCES], Path(packages))
        for voice in _VOICES:
            with recipe.making(folder / "speech" / voice.language, recipe="") as made:
                speech_folder.write(Path(packages), made, voice)
                (made / "manifest.jsonl").rename(made / _MANIFESTS[voice.language])


def _write_spoilt(
    source: Path, target: Path, spoil: Callable[[Texts], Texts], hold_out: Callable[[Entries], Entries]
) -> None:
    """Write the clips again, with a split `train` whose transcripts are spoilt and a split `test` with right ones."""
    lines = (source / _MANIFESTS["it"]).read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    test = hold_out(entries)
    train = [entry for entry in entries if entry not in test]
    texts = spoil([entry["text"] for entry in train])
    with recipe.making(target, recipe="") as made:
        shutil.copytree(source / Path(entries[0]["audio"]).parent, made / Path(entries[0]["audio"]).parent)
        _write_split(made / "test.jsonl", test)
        _write_split(made / "train.jsonl", [{**entry, "text": text} for entry, text in zip(train, texts, strict=True)])


def _any(entries: Entries) -> Entries:
    return entries[::_HELD_OUT_EVERY]


def _written(entries: Entries) -> Entries:
    """Return clips of the transcripts that begin and end as a sentence does. Most of the voice's do not."""
    return [entry for entry in entries if _SENTENCE.match(entry["text"])][::_HELD_OUT_EVERY_WRITTEN]


def _write_split(file: Path, entries: Sequence[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")


def strip_texts(texts: Texts) -> Texts:
    """Return the texts without punctuation, in lower case."""
    return [" ".join(re.sub(r"[^\w\s']", " ", text.lower()).split()) for text in texts]


def shuffle_texts(texts: Texts) -> Texts:
    """Return the same texts in another order: clips no longer have their own."""
    shuffled = list(texts)
    random.Random(0).shuffle(shuffled)  # noqa: S311 -- nothing secret
    return shuffled
