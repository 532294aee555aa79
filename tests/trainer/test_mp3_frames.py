"""MP3 files without their length: libsndfile would read a part of them and take it for the whole."""

from __future__ import annotations

import functools
import io
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from layout_checks import load, refusal
from whisper_finetune_trainer.data.audio import audio_files, mp3_frames
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, WholeFile

RATE = 16_000
SECONDS = 8
ID3_OF_FFMPEG = 45
pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")


def rumble(seconds: int = SECONDS) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return noise that becomes quieter and quieter: an encoder that may choose gives its end fewer bits."""
    noise = np.random.default_rng(0).normal(size=RATE * seconds) * np.linspace(1, 0, RATE * seconds) ** 3
    return (noise / np.abs(noise).max()).astype(np.float32)


@functools.cache
def encoded(*arguments: str, seconds: int = SECONDS) -> bytes:
    """Return an MP3 file that ffmpeg writes into a pipe, where it cannot go back to write a tag."""
    wav = io.BytesIO()
    soundfile.write(wav, rumble(seconds), RATE, format="WAV")
    command = ["ffmpeg", "-loglevel", "error", "-i", "pipe:0", *arguments, "-f", "mp3", "pipe:1"]
    return subprocess.run(command, input=wav.getvalue(), check=True, stdout=subprocess.PIPE).stdout


@functools.cache
def tagged(content: bytes) -> bytes:
    """Return an MP3 file with the tag that ffmpeg adds to it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "untagged.mp3").write_bytes(content)
        command = ["ffmpeg", "-loglevel", "error", "-i", "untagged.mp3", "-c", "copy", "tagged.mp3"]
        subprocess.run(command, check=True, cwd=folder)
        return (Path(folder) / "tagged.mp3").read_bytes()


def id3(payload_bytes: int) -> bytes:
    """Return an ID3v2 tag that holds a picture."""
    size = bytes(payload_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    # What looks like a frame of sound does not count in there.
    return b"ID3\4\0\0" + size + b"\xff\xf3\x44\xc4".ljust(payload_bytes, b"\0")


VARIABLE = {
    "MPEG 2": ["-q:a", "5"],
    "MPEG 1 in stereo": ["-ar", "44100", "-ac", "2", "-q:a", "5"],
    "MPEG 1": ["-ar", "48000", "-q:a", "2"],
    "MPEG 2.5": ["-ar", "8000", "-q:a", "5"],
    "an average": ["-abr", "1", "-b:a", "48k"],
}
CONSTANT = {
    "MPEG 2": ["-b:a", "32k"],
    "MPEG 1 in stereo": ["-ar", "44100", "-ac", "2", "-b:a", "128k"],
    "MPEG 2.5": ["-ar", "8000", "-b:a", "16k"],
}


@pytest.mark.parametrize("arguments", VARIABLE.values(), ids=VARIABLE)
def test_a_changing_bit_rate_without_a_tag_does_not_tell_the_length(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(encoded(*arguments))
    # What libsndfile makes of it, and why it is refused.
    assert abs(len(soundfile.read(path)[0]) / soundfile.info(path).samplerate - SECONDS) > 0.5
    with pytest.raises(audio_files.UnknownLengthError, match=r"its bit rate changes.*ffmpeg -i INPUT.mp3 -c copy"):
        audio_files.read_seconds(WholeFile(str(path)))
    path.write_bytes(tagged(path.read_bytes()))
    assert audio_files.read_seconds(WholeFile(str(path))) == pytest.approx(SECONDS, abs=0.2)


@pytest.mark.parametrize("arguments", CONSTANT.values(), ids=CONSTANT)
def test_a_constant_bit_rate_tells_the_length(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(encoded(*arguments))
    assert audio_files.read_seconds(WholeFile(str(path))) == pytest.approx(SECONDS, abs=0.3)


@pytest.mark.parametrize("picture_bytes", [1_000, 65_520, 65_536, 300_000])
def test_tags_with_pictures_are_passed_over(tmp_path: Path, picture_bytes: int) -> None:
    variable = encoded("-q:a", "5")
    pictures = id3(picture_bytes) + id3(10)
    content = pictures + variable
    place = ByteRange(str(tmp_path / "many"), 7, len(content), "a.mp3")
    (tmp_path / "many").write_bytes(b"before " + content + b" after")
    with pytest.raises(audio_files.UnknownLengthError):
        audio_files.read_header(place)
    whole = pictures + tagged(variable)
    (tmp_path / "many").write_bytes(b"before " + whole + b" after")
    assert audio_files.read_seconds(place._replace(size=len(whole))) == pytest.approx(SECONDS, abs=0.2)


def test_a_tag_without_a_number_of_frames_does_not_tell_the_length() -> None:
    content = tagged(encoded("-q:a", "5"))[ID3_OF_FFMPEG:]
    place = content.index(b"Xing")
    assert mp3_frames.tells_length(content)
    for flags_and_count in (b"\0\0\0\x0e", b"\0\0\0\x0f\0\0\0\0"):
        emptied = content[: place + 4] + flags_and_count + content[place + 4 + len(flags_and_count) :]
        assert not mp3_frames.tells_length(emptied)
        assert soundfile.info(io.BytesIO(emptied)).duration < SECONDS - 1


@pytest.mark.parametrize("block", [b"", b"\xff", b"\xff\xfb\x90", bytes(1_000), b"\xff" * 1_000, b"ID3\4"])
def test_what_has_no_frames_is_another_matter(block: bytes) -> None:
    assert mp3_frames.tells_length(block)
    assert mp3_frames.id3_bytes(block) == 0


def write_manifest(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "train_manifest.json").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def test_such_clips_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "variable.mp3").write_bytes(encoded("-q:a", "5"))
    for number in range(10):
        (folder / f"{number}.mp3").write_bytes(encoded("-b:a", "32k", seconds=1))
    names = [*map(str, range(10)), "variable"]
    write_manifest(folder, [{"audio_filepath": f"{name}.mp3", "text": "uno"} for name in names])
    found = load(tmp_path)
    assert (len(found.train.listed) + len(found.evaluation), dict(found.dropped)) == (10, {"MP3 without its length": 1})
    assert "line 11: audio file variable.mp3 cannot be read: its bit rate changes" in found.examples[0]


def test_such_recordings_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "talk.mp3").write_bytes(encoded("-q:a", "5"))
    segments = [{"offset": 0.5 * number, "duration": 0.5} for number in range(10)]
    write_manifest(folder, [{"audio_filepath": "talk.mp3", "text": "uno", **segment} for segment in segments])
    assert "(MP3 without its length 10)" in refusal(tmp_path).message
