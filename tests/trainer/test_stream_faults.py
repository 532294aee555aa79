"""Faulty clips of a stream: some are found before the training, and others are left out and counted during it."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

import shards
import tiny_whisper
from data_layouts import write_tar
from tones import SAMPLE_RATE, tone
from trainer_attempts import Volume
from whisper_finetune_trainer.data.clips import ClipStatistics
from whisper_finetune_trainer.data.streams import streamed_clips
from whisper_finetune_trainer.messages.errors import TrainerError

#: The look sees a few clips only, and the training meets the others.
LIMITS = replace(shards.LIMITS, least_sampled=6, most_sampled=8, held_out_clips=1, lanes=1)


def clip(name: str, text: str, sound: bytes) -> list[tuple[str, bytes]]:
    return [(f"{name}.wav", sound), (f"{name}.txt", text.encode())]


def flac_without_its_middle() -> bytes:
    """Return a sound whose header is whole."""
    file = io.BytesIO()
    soundfile.write(file, tone(0, 1.0), SAMPLE_RATE, format="FLAC")
    content = bytearray(file.getvalue())
    content[2_000 : len(content) - 10] = bytes(len(content) - 2_010)
    return bytes(content)


def read(folder: Path, **fields: Any) -> ClipStatistics:
    """Return the statistics of the first epoch."""
    statistics = ClipStatistics()
    for block in shards.epoch(shards.stream_of(shards.load(folder, "tar", LIMITS, **fields))):
        statistics = statistics.plus(block.statistics)
    return statistics


def write_with(folder: Path, *faulty: tuple[str, bytes], good: int = 80) -> None:
    """Write good clips into many shards, and faulty ones into another one."""
    shards.write_tars(folder / "tar", good, 10)
    write_tar(folder / "tar/train-999999.tar", list(faulty))


def test_faults_met_on_the_way_are_left_out_and_counted(tmp_path: Path) -> None:
    faulty = [
        *clip("empty", " ", shards.sound(1)),
        *clip("long", "lungo", shards.sound(2, 3.0)),
        *clip("noise", "rumore", b"this is no sound"),
        *clip("torn", "rotto", flac_without_its_middle()),
        *clip("good", "buono", shards.sound(3)),
    ]
    write_with(tmp_path, *faulty)
    statistics = read(tmp_path, maxClipSeconds=2)
    assert dict(statistics.dropped) == {
        "empty text": 1,
        "too long": 1,
        "unreadable audio": 1,
        "cannot be decoded": 1,
    }
    assert statistics.faults == 4
    assert "train-999999.tar/empty.wav is empty" in statistics.examples[0]


def test_a_held_out_clip_that_cannot_be_decoded_is_not_measured(tmp_path: Path) -> None:
    names = (f"torn-{number}" for number in range(100))
    torn = next(name for name in names if streamed_clips.is_held_out(f"train-999999.tar/{name}.wav", 0.5))
    write_with(tmp_path, *clip(torn, "rotto", flac_without_its_middle()), good=10)
    found = shards.load(tmp_path, "tar", evalFraction="0.5")
    assert dict(found.all_dropped()) == {"cannot be decoded": 1}
    assert torn not in " ".join(clip.identifier for clip in found.evaluation)


def test_a_clip_of_a_given_split_that_cannot_be_decoded_is_not_measured(tmp_path: Path) -> None:
    shards.write_tars(tmp_path / "tar", 40, 10)
    write_tar(tmp_path / "tar/test-000000.tar", [*clip("torn", "rotto", flac_without_its_middle()), *good_clips(15)])
    found = shards.load(tmp_path, "tar", evalSplit="test")
    assert dict(found.dropped) == {"cannot be decoded": 1}
    assert len(found.evaluation) == 15


def good_clips(count: int) -> list[tuple[str, bytes]]:
    return [member for number in range(count) for member in clip(f"good-{number}", f"{number}", shards.sound(number))]


def test_a_shard_that_is_cut_costs_its_rest_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shards.write_tars(tmp_path / "tar", 80, 10)
    whole = read(tmp_path)
    path = tmp_path / "tar/train-000004.tar"
    with tarfile.open(path) as archive:
        sixth = archive.getmembers()[11].offset
    path.write_bytes(path.read_bytes()[:sixth] + b"nothing of a tar file" * 100)
    statistics = read(tmp_path, maxDroppedFraction="0.5")
    assert dict(statistics.dropped) == {"broken shard": 1}
    assert whole.clips - 5 <= statistics.clips < whole.clips
    assert "the rest of a shard is left out: train-000004.tar is cut or broken" in caplog.text


def test_a_parquet_shard_with_a_broken_page_costs_its_rest_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards.write_parquets(tmp_path / "tar", 80, 20)
    whole = read(tmp_path)
    path = tmp_path / "tar/train-00002.parquet"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 4] = b"\xff" * (len(content) // 4)
    path.write_bytes(content)
    statistics = read(tmp_path, maxDroppedFraction="0.5")
    assert dict(statistics.dropped) == {"broken shard": 1}
    assert whole.clips - 20 < statistics.clips < whole.clips
    assert "the rest of a shard is left out: train-00002.parquet is not a whole Parquet file" in caplog.text


def test_faults_beyond_the_fraction_end_the_run(tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model", window_seconds=2)
    broken = [member for number in range(60) for member in clip(f"bad-{number:02d}", "?", b"no sound at all")]
    write_with(tmp_path, *broken, good=40)
    (tmp_path / "runs").mkdir()
    volume = Volume(tmp_path, tmp_path / "runs")
    config = volume.config(spec={"dataset": {"source": "pvc://speech/tar"}}, steps=100)
    ended = volume.attempt(config, limits=LIMITS)
    assert ended.result.reason == "DatasetInvalid"
    assert "more than dataset.maxDroppedFraction 0.1 allows (unreadable audio" in (ended.result.message or "")
    data = ended.result.data
    assert data is not None
    assert data.split == "Hash"


def test_a_broken_set_is_refused_before_training(tmp_path: Path) -> None:
    broken = [member for number in range(9) for member in clip(f"bad-{number:02d}", "?", b"no sound at all")]
    (tmp_path / "tar").mkdir()
    write_tar(tmp_path / "tar/train-000000.tar", broken)
    with pytest.raises(TrainerError, match="8 of 8 clips cannot be used") as refused:
        shards.load(tmp_path, "tar", LIMITS)
    assert refused.value.reason == "DatasetInvalid"


def test_texts_in_another_script_are_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "tar").mkdir()
    members = [member for number in range(9) for member in clip(f"clip-{number}", "раз два три", shards.sound(number))]
    write_tar(tmp_path / "tar/train-000000.tar", members)
    with pytest.raises(TrainerError, match="are mostly in Cyrillic letters"):
        shards.load(tmp_path, "tar", shards.LIMITS, evalFraction="0.3")


def test_silence_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "tar").mkdir()
    file = io.BytesIO()
    soundfile.write(file, 0 * tone(0, 1.0), SAMPLE_RATE, format="WAV")
    members = [member for number in range(20) for member in clip(f"clip-{number}", "uno due", file.getvalue())]
    write_tar(tmp_path / "tar/train-000000.tar", members)
    with pytest.raises(TrainerError, match="silent 20"):
        shards.load(tmp_path, "tar", shards.LIMITS)


def write_copies(folder: Path) -> set[str]:
    """Write shards, and one with the sounds of all held-out clips under other names; return these names."""
    shards.write_tars(folder / "tar", 60, 10)
    held_out = shards.load(folder, "tar", maxEvalClips=60).evaluation
    numbers = [int(found.identifier[-8:-4]) for found in held_out]
    members = [member for number in numbers for member in clip(f"copy-{number}", "copia", shards.sound(number))]
    write_tar(folder / "tar/train-000100.tar", members)
    return {f"train-000100.tar/copy-{number}.wav" for number in numbers}


def test_copies_of_held_out_sounds_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    copies = write_copies(tmp_path)
    kept = shards.load(tmp_path, "tar", maxEvalClips=60)
    trained_on = set(shards.names(shards.epoch(shards.stream_of(kept))))
    assert copies & trained_on
    assert any("have the sound of a held-out one" in warning for warning in kept.warnings)
    removed = shards.load(tmp_path, "tar", maxEvalClips=60, removeDuplicates=True)
    assert set(shards.names(shards.epoch(shards.stream_of(removed)))) == trained_on - copies


def test_labels_that_are_too_long_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny_whisper.build(tmp_path / "model", window_seconds=2)
    write_with(tmp_path, *clip("talkative", "molte parole " * 20, shards.sound(5)), good=40)
    (tmp_path / "runs").mkdir()
    volume = Volume(tmp_path, tmp_path / "runs")
    config = volume.config(spec={"dataset": {"source": "pvc://speech/tar"}}, steps=12)
    ended = volume.attempt(config, limits=LIMITS)
    assert ended.exit_code == 0
    assert ended.result.data is not None
    assert ended.result.data.dropped_clips == 1
    report = (volume.run / "report.html").read_text(encoding="utf-8")
    assert "label too long" in report
    assert "clips read so far: label too long 1" in caplog.text
    assert f"{ended.result.data.train_clips} clips, " in report
