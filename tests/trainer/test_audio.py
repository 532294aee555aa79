import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tones import tone
from whisper_finetune_trainer.data.audio import audio_files, decoding
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, WholeFile
from whisper_finetune_trainer.messages.errors import TrainerError


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_files_of_any_format_are_read_as_mono_float32(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, tone(0, 1.0), 16_000)
    samples = decoding.read_samples(WholeFile(str(path)))
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert audio_files.read_seconds(WholeFile(str(path))) == pytest.approx(1.0, abs=0.1)
    assert len(samples) == pytest.approx(16_000, abs=1_600)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(0, 0.5), tone(1, 0.5)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(
        decoding.read_samples(WholeFile(str(tmp_path / "stereo.wav"))), (left + right) / 2, atol=1e-6
    )


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_are_resampled_with_the_pitch_kept(tmp_path: Path, rate: int) -> None:
    wave = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, rate)
    samples = decoding.read_samples(WholeFile(str(tmp_path / "a.wav")))
    assert len(samples) == 16_000
    assert np.abs(np.fft.rfft(samples)).argmax() == 440


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, tone(0, 2.0), 16_000)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainerError, match=r"cut\.flac") as caught:
        decoding.read_samples(WholeFile(str(path)))
    assert caught.value.reason == "DatasetInvalid"


def test_a_file_without_sound_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), 16_000)
    with pytest.raises(TrainerError, match=r"empty\.wav has no sound"):
        decoding.read_samples(WholeFile(str(tmp_path / "empty.wav")))


#: Format to ffmpeg's arguments; libsndfile reads those of the first list.
READ = {
    "wav of 8 bits": ["-c:a", "pcm_u8", "a.wav"],
    "wav of 24 bits": ["-c:a", "pcm_s24le", "a.wav"],
    "wav of floats": ["-c:a", "pcm_f32le", "a.wav"],
    "mu-law": ["-c:a", "pcm_mulaw", "-ar", "8000", "a.wav"],
    "flac": ["a.flac"],
    "mp3": ["-b:a", "48k", "a.mp3"],
    "mp3 in stereo": ["-ac", "2", "-ar", "44100", "a.mp3"],
    "ogg vorbis": ["-c:a", "libvorbis", "a.ogg"],
    "ogg opus": ["-c:a", "libopus", "a.opus"],
    "aiff": ["a.aiff"],
}
FOREIGN = {
    "m4a": (["-c:a", "aac", "a.m4a"], "M4A or MP4 (AAC) is not supported; convert it, such as by `ffmpeg"),
    "aac": (["-c:a", "aac", "a.aac"], "AAC is not supported"),
    "webm": (["-c:a", "libopus", "a.webm"], "WebM or Matroska is not supported"),
    "wma": (["a.wma"], "WMA is not supported"),
}
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")


def converted(folder: Path, arguments: list[str]) -> WholeFile:
    soundfile.write(folder / "original.wav", np.tile(tone(0, 1.0), 2), 16_000)
    command = ["ffmpeg", "-loglevel", "error", "-i", folder / "original.wav", *arguments[:-1], folder / arguments[-1]]
    subprocess.run(command, check=True)
    return WholeFile(str(folder / arguments[-1]))


@needs_ffmpeg
@pytest.mark.parametrize("arguments", READ.values(), ids=READ)
def test_formats_that_ffmpeg_writes(tmp_path: Path, arguments: list[str]) -> None:
    place = converted(tmp_path, arguments)
    samples = decoding.read_samples(place)
    assert audio_files.read_seconds(place) == pytest.approx(2.0, abs=0.1)
    assert len(samples) == pytest.approx(32_000, abs=1_600)
    # The pitch of the tone, in hertz: half a second from the middle has steps of 2 Hz.
    assert 2 * np.abs(np.fft.rfft(samples[8_000:16_000])).argmax() == pytest.approx(220, abs=4)


@needs_ffmpeg
@pytest.mark.parametrize(("arguments", "says"), FOREIGN.values(), ids=FOREIGN)
def test_formats_that_are_not_read_are_named(tmp_path: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(TrainerError) as caught:
        decoding.read_samples(converted(tmp_path, arguments))
    assert says in caught.value.message
    with pytest.raises(audio_files.UnreadableSoundError):
        audio_files.read_seconds(WholeFile(str(tmp_path / arguments[-1])))


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    with pytest.raises(TrainerError, match="a pointer of Git LFS, not sound: run `git lfs pull`"):
        decoding.read_samples(WholeFile(str(tmp_path / "a.wav")))


def test_a_part_of_a_file_is_a_sound_of_its_own(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(0, 0.5), 16_000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "many").write_bytes(b"before" + content + b"after")
    place = ByteRange(str(tmp_path / "many"), 6, len(content), "a.flac")
    np.testing.assert_array_equal(
        decoding.read_samples(place), decoding.read_samples(WholeFile(str(tmp_path / "a.flac")))
    )
    assert audio_files.read_seconds(place) == 0.5


CODECS = {
    "G.722": ["-c:a", "g722", "a.wav"],
    "G.726": ["-c:a", "g726", "-ar", "8000", "a.wav"],
    "G.723.1": ["-c:a", "g723_1", "-ar", "8000", "-b:a", "6300", "a.wav"],
    "AAC": ["-c:a", "aac", "a.wav"],
    "WMA": ["-c:a", "wmav2", "a.wav"],
    "FLAC": ["-c:a", "flac", "a.wav"],
    "codec 0x5346": ["-c:a", "adpcm_swf", "-ar", "11025", "a.wav"],
}


@needs_ffmpeg
@pytest.mark.parametrize(("codec", "arguments"), CODECS.items(), ids=CODECS)
def test_codecs_in_wav_that_are_not_read_are_named(tmp_path: Path, codec: str, arguments: list[str]) -> None:
    place = converted(tmp_path, arguments)
    with pytest.raises(audio_files.UnreadableSoundError) as caught:
        audio_files.read_seconds(place)
    said = f"WAV with {codec} is not supported; convert it, such as by `ffmpeg -i INPUT -ar 16000 -ac 1 OUTPUT.flac`"
    assert str(caught.value) == said


def wav_with_size(path: Path, said: int | None, more: bytes = b"") -> WholeFile:
    """Write a second of sound, whose header tells of `said` bytes."""
    soundfile.write(path, tone(0, 1.0), 16_000)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    if said is not None:
        content[place : place + 4] = said.to_bytes(4, "little")
    path.write_bytes(bytes(content) + more)
    return WholeFile(str(path))


@pytest.mark.parametrize(("said", "missing"), [(0, "32,000"), (3_200, "28,800")])
def test_a_wav_file_that_goes_on_behind_its_end_is_not_read_in_part(tmp_path: Path, said: int, missing: str) -> None:
    with pytest.raises(audio_files.UnreadableSoundError) as caught:
        audio_files.read_seconds(wav_with_size(tmp_path / "a.wav", said))
    assert str(caught.value).startswith(f"its header says {said:,} bytes of sound, but {missing} follow")
    assert "`ffmpeg -ignore_length 1 -i INPUT.wav OUTPUT.wav`" in str(caught.value)


@pytest.mark.parametrize("said", [64_000, 1_000_000_000])
def test_a_wav_file_that_was_cut_off_is_not_trained_on_with_its_whole_text(tmp_path: Path, said: int) -> None:
    with pytest.raises(audio_files.UnreadableSoundError) as caught:
        audio_files.read_seconds(wav_with_size(tmp_path / "a.wav", said))
    assert str(caught.value) == (
        f"its header says {said:,} bytes of sound, but it has 32,000: it was cut off; copy it again"
    )


@pytest.mark.parametrize(
    ("said", "more"),
    [
        (0xFFFFFFFF, b""),
        (0x7FFFFFFF, b""),
        (0x7FFFF000, b""),
        (32_044, b""),
        (None, b"LIST" + (40_000).to_bytes(4, "little") + bytes(40_000)),
        (None, b"\0LIST" + (40_000).to_bytes(4, "little") + bytes(40_000)),
        (None, b"ID3" + bytes(1_000)),
    ],
    ids=[
        "from a pipe",
        "from another pipe",
        "of espeak's",
        "with its header",
        "a chunk",
        "a chunk at an odd byte",
        "a tag",
    ],
)
def test_a_wav_file_is_as_long_as_its_sound(tmp_path: Path, said: int | None, more: bytes) -> None:
    assert audio_files.read_seconds(wav_with_size(tmp_path / "a.wav", said, more)) == pytest.approx(1.0, abs=0.01)


def test_a_flac_file_from_a_pipe_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(0, 1.0), 16_000)
    content = bytearray(path.read_bytes())
    # The 36 bits of the count of samples, as programs leave them that cannot go back.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(
        audio_files.UnreadableSoundError, match=r"its header does not tell its length.*`ffmpeg -i INPUT\.flac"
    ):
        audio_files.read_seconds(WholeFile(str(path)))
