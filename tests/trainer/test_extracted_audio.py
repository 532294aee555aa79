"""Sounds in the scratch folder: as many as fit, with several readers at a time, also when the disk is full."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import small_disks
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.audio_locator import ExtractedAudio
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, ParquetCell

MIB = 1024 * 1024


def cell(number: int) -> ParquetCell:
    return ParquetCell("shard.parquet", 0, number, "audio")


def content(number: int, size: int = 1_000) -> bytes:
    return bytes([number]) * size


def test_cells_are_kept_until_there_is_no_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounds = ExtractedAudio(str(tmp_path), 2_500)
    places = [sounds.keep(cell(number), content(number)) for number in range(4)]
    assert [type(place) for place in places] == [ByteRange, ByteRange, ParquetCell, ParquetCell]
    # What is small enough still finds room.
    assert isinstance(sounds.keep(cell(4), content(4, 500)), ByteRange)
    assert (sounds.used_bytes, sounds.left_out) == (2_500, 2)
    sounds.close()
    assert "2 clips did not fit into the scratch folder" in caplog.text
    assert [decoding.read_content(place) for place in places[:2]] == [content(0), content(1)]


def test_files_are_kept_by_several_readers_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    for number in range(16):
        (tmp_path / f"{number}.wav").write_bytes(content(number, 5 * MIB + number))
    sounds = ExtractedAudio(str(tmp_path / "scratch"), 1_000 * MIB)
    with ThreadPoolExecutor(8) as readers:
        places = list(readers.map(sounds.keep_file, [str(tmp_path / f"{number}.wav") for number in range(16)]))
    assert [place and decoding.read_content(place) for place in places] == [
        content(number, 5 * MIB + number) for number in range(16)
    ]
    assert sounds.used_bytes == 16 * 5 * MIB + sum(range(16))


def test_a_full_disk_leaves_the_rest_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "talk.wav").write_bytes(content(7, 3 * MIB))
    with small_disks.mounted(tmp_path / "disk", mebibytes=2) as disk:
        sounds = ExtractedAudio(str(disk), 100 * MIB)
        kept = sounds.keep(cell(1), content(1))
        assert sounds.keep_file(str(tmp_path / "talk.wav")) is None
        assert sounds.keep(cell(2), content(2)) == cell(2)
        assert (sounds.used_bytes, sounds.left_out, sounds.recordings_left_out) == (1_000, 1, 1)
        with caplog.at_level(logging.WARNING):
            sounds.close()
        assert decoding.read_content(kept) == content(1)
    assert "1 recordings did not fit into the scratch folder" in caplog.text
