"""Data sets of any content end in clips, or in one refusal that says what to mend. They never end in a traceback."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st

import data_layouts
import layout_checks
from fuzz.fuzzing import SIGNIFICANT_PIECES, damaged, for_a_while, json_line, objects, texts
from whisper_finetune_trainer.data.audio import mp3_frames
from whisper_finetune_trainer.messages.errors import TrainerError

pytestmark = pytest.mark.slow

_NAMES = list(data_layouts.SPOKEN)[:3]
_MESSAGE_MAX_LENGTH = 4_000
#: A reader that needs the square of this many characters needs minutes, and the test's time limit ends it.
_LONG = 150_000


def _sound(suffix: str = "wav", seconds: float = 0.5) -> bytes:
    file = io.BytesIO()
    soundfile.write(
        file, np.sin(np.arange(int(16_000 * seconds)) / 7).astype(np.float32), 16_000, format=suffix.upper()
    )
    return file.getvalue()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three sounds under the names that good rows name."""
    folder = tmp_path_factory.mktemp("sounds")
    for name in _NAMES:
        (folder / f"{name}.wav").write_bytes(_sound())
    return folder


class Loader:
    """Writes one data set after the other into one folder, and loads each."""

    def __init__(self, folder: Path, sounds: Path) -> None:
        self._folder = folder
        self._sounds = sounds

    def load(self, files: dict[str, bytes]) -> None:
        """Load a data set of these files beside the sounds; a refusal must be fit to be shown to people."""
        clips = self._folder / "clips"
        shutil.rmtree(clips, ignore_errors=True)
        clips.mkdir(parents=True)
        for sound in self._sounds.iterdir():
            (clips / sound.name).hardlink_to(sound)
        for name, content in files.items():
            (clips / name).write_bytes(content)
        said = self._refusal()
        assert len(said) < _MESSAGE_MAX_LENGTH, said
        assert said.isprintable(), ascii(said)

    def _refusal(self) -> str:
        try:
            layout_checks.load(self._folder, evalFraction="0.5", maxDroppedFraction="0.9")
        except TrainerError as refused:
            return refused.message
        return ""


@pytest.fixture
def loader(tmp_path: Path, sounds: Path) -> Loader:
    return Loader(tmp_path, sounds)


def _rows(good: Callable[[str], dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.sampled_from(_NAMES).flatmap(lambda name: objects(good(name))), max_size=5)


def _json_lines() -> st.SearchStrategy[bytes]:
    def good(name: str) -> dict[str, Any]:
        return {"audio_filepath": f"{name}.wav", "text": "il gatto dorme", "duration": 0.5, "offset": 0.1}

    return _rows(good).map(lambda rows: "".join(json_line(row) + "\n" for row in rows).encode())


def test_json_lines(loader: Loader) -> None:
    for_a_while(lambda content: loader.load({"train.jsonl": content}), damaged(_json_lines()))


def _table(delimiter: str) -> st.SearchStrategy[bytes]:
    def written(rows: list[list[str]]) -> bytes:
        file = io.StringIO()
        csv.writer(file, delimiter=delimiter).writerow(["path", "sentence"])
        csv.writer(file, delimiter=delimiter).writerows(rows)
        return file.getvalue().encode("utf-8", "surrogatepass")

    row = st.tuples(st.sampled_from([f"{name}.wav" for name in _NAMES]) | texts(), texts()).map(list)
    return st.lists(row, max_size=5).map(written)


def test_tables(loader: Loader) -> None:
    kinds = st.sampled_from([("csv", ","), ("csv", ";"), ("tsv", "\t")])
    files = kinds.flatmap(lambda kind: damaged(_table(kind[1])).map(lambda content: {f"train.{kind[0]}": content}))
    for_a_while(loader.load, files)


def _kaldi_lines(rest: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    line = st.tuples(st.sampled_from(["utt-0", "utt-1", "utt-2"]) | texts(10), rest).map(" ".join)
    lines = st.lists(line, max_size=4).map("\n".join)
    return damaged(lines.map(lambda text: text.encode("utf-8", "surrogatepass")))


def test_kaldi(loader: Loader) -> None:
    recordings = st.sampled_from([f"{name}.wav" for name in _NAMES]) | texts()
    seconds = st.sampled_from(["0", "0.1", "0.5", "-1", "1e999", "nan"]) | texts(10)
    files = st.fixed_dictionaries(
        {"wav.scp": _kaldi_lines(recordings), "text": _kaldi_lines(texts())},
        optional={"segments": _kaldi_lines(st.tuples(st.just("utt-0"), seconds, seconds).map(" ".join))},
    )
    for_a_while(loader.load, files)


def _tar(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def _tars() -> st.SearchStrategy[bytes]:
    spoken = texts().map(lambda text: text.encode("utf-8", "surrogatepass"))
    described = objects({"text": "il gatto"}).map(lambda values: json.dumps(values).encode())
    member = st.one_of(
        st.tuples(st.sampled_from(["a.wav", "b.wav", "c.flac", "a.mp3"]), st.just(_sound()) | st.binary(max_size=60)),
        st.tuples(st.sampled_from(["a.txt", "b.txt"]), spoken),
        st.tuples(st.sampled_from(["a.json", "b.json"]), described),
        st.tuples(texts(10).filter(lambda name: name.isascii() and "\0" not in name and name != ""), spoken),
    )
    return st.lists(member, max_size=6).map(_tar)


def test_tar_shards(loader: Loader) -> None:
    for_a_while(lambda content: loader.load({"train-000.tar": content}), damaged(_tars()))


def test_parquet_shards(loader: Loader, tmp_path: Path) -> None:
    written = tmp_path / "good.parquet"

    def made(rows: list[tuple[bytes, str]]) -> bytes:
        cells = [{"bytes": sound, "path": "a.wav"} for sound, _ in rows]
        data_layouts.write_parquet(written, {"audio": cells, "text": [text for _, text in rows]})
        return written.read_bytes()

    plain = texts().filter(lambda text: text.isprintable())
    rows = st.lists(st.tuples(st.just(_sound()) | st.binary(max_size=60), plain), min_size=1, max_size=4)
    for_a_while(lambda content: loader.load({"train.parquet": content}), damaged(rows.map(made)))


def test_sounds(loader: Loader) -> None:
    def files(suffix: str, content: bytes) -> dict[str, bytes]:
        sounds = {f"sound-{place}.{suffix}": content for place in range(2)}
        return {
            "train.jsonl": "".join(json_line({"path": name, "text": "ciao"}) + "\n" for name in sounds).encode(),
            **sounds,
        }

    kinds = st.sampled_from(["wav", "flac", "mp3", "ogg"])
    for_a_while(
        loader.load,
        kinds.flatmap(lambda kind: damaged(st.just(_sound(kind))).map(lambda content: files(kind, content))),
    )


def test_mp3_frames() -> None:
    def read(block: bytes) -> None:
        assert mp3_frames.tells_length(block) in (True, False)
        assert mp3_frames.id3_bytes(block) >= 0

    for_a_while(read, damaged(st.sampled_from([_sound("mp3"), b"ID3\4\0\0\0\0\2\1" + _sound("mp3"), b"\xff" * 99])))


def _long_files(piece: bytes) -> dict[str, dict[str, bytes]]:
    """Return data sets in which one value goes on and on, by what is in it."""
    long = piece * (_LONG // len(piece))
    text = long.decode("utf-8", "replace")
    rows = [{"path": f"{name}.wav", "text": text if name == _NAMES[0] else "ciao"} for name in _NAMES]
    scp = b"".join(f"utt-{name} {name}.wav\n".encode() for name in _NAMES)
    return {
        "text": {"train.jsonl": "".join(json_line(row) + "\n" for row in rows).encode()},
        "path": {"train.jsonl": json_line({"path": text, "text": "ciao"}).encode()},
        "no JSON": {"train.jsonl": long},
        "nested JSON": {"train.jsonl": b'{"text":' + long},
        "cell": {"train.csv": b"path,text\n" + f"{_NAMES[0]}.wav,".encode() + long + b"\n"},
        "header": {"train.tsv": long + b"\n"},
        "spoken": {"wav.scp": scp, "text": f"utt-{_NAMES[0]} ".encode() + long},
        "recordings": {"wav.scp": long, "text": b"utt ciao"},
        "segments": {"wav.scp": scp, "segments": f"utt-{_NAMES[0]} ".encode() + long, "text": b"utt ciao"},
        "spoken in a tar": {"train-000.tar": _tar([("a.wav", _sound()), ("a.txt", long)])},
        "no sound": {"a.mp3": long, "train.jsonl": b'{"path": "a.mp3", "text": "ciao"}'},
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", list(_long_files(b"a")))
def test_no_long_value_takes_the_square_of_its_length(loader: Loader, kind: str) -> None:
    for piece in SIGNIFICANT_PIECES:
        loader.load(_long_files(piece)[kind])
