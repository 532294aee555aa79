"""Data sets in every layout on a volume, and what messages say where one is broken."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import clip_loading
import data_layouts
from data_layouts import LAYOUTS
from layout_checks import check, config, load, refusal
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, ParquetCell


@pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts_on_a_volume(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "clips")
    check(load(tmp_path))


def test_sounds_of_parquet_are_unpacked_as_far_as_there_is_room(tmp_path: Path) -> None:
    data_layouts.parquet_of_the_hub(tmp_path / "clips")
    size = len(data_layouts.encoded("clip-00"))
    base = config(tmp_path, "pvc://speech/clips")
    # Half of the scratch space is for sounds.
    found = clip_loading.load_clips(base.model_copy(update={"scratch_limit_bytes": 4 * size}))
    places = [type(clip.audio) for clip in (*found.train.listed, *found.evaluation)]
    assert set(places) == {ByteRange, ParquetCell}
    assert 0 < found.scratch_bytes <= 4 * size
    check(found)


BROKEN: dict[str, tuple[dict[str, bytes], str, str]] = {
    "pipe": (
        {"wav.scp": b"u1 sox a.sph -t wav - |\n", "text": b"u1 uno\n"},
        "DatasetInvalid",
        "wav.scp line 1: u1 is the output of a command (sox a.sph -t wav - |), and commands from a data set are never",
    ),
    "no texts": ({"wav.scp": b"u1 a.wav\n"}, "DatasetInvalid", "text with its texts is missing"),
    "no tar": ({"train-0.tar": b"this is no tar file" * 100}, "DatasetInvalid", "train-0.tar is not a whole plain tar"),
    "no Parquet": ({"train.parquet": b"PAR1 this is none PAR1"}, "DatasetInvalid", "is not a whole Parquet file"),
    "not a table": (
        {"train.csv": b'audio,text\n"a.wav,uno' + b"x" * 200_000},
        "DatasetInvalid",
        "opens a quotation mark and does not",
    ),
}


@pytest.mark.parametrize(("files", "reason", "says"), BROKEN.values(), ids=BROKEN)
def test_what_is_said_of_broken_layouts(tmp_path: Path, files: dict[str, bytes], reason: str, says: str) -> None:
    (tmp_path / "clips").mkdir()
    for name, content in files.items():
        (tmp_path / "clips" / name).write_bytes(content)
    error = refusal(tmp_path)
    assert (error.reason, says in error.message) == (reason, True), error.message


def test_a_pipe_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/wav.scp").write_text(f"u1 touch {tmp_path}/ran |\n", encoding="utf-8")
    (tmp_path / "clips/text").write_text("u1 uno\n", encoding="utf-8")
    refusal(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_member_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    data_layouts.webdataset_json(tmp_path / "clips")
    (tmp_path / "secret.wav").write_bytes(data_layouts.encoded("clip-00", "wav"))
    _append_link(tmp_path / "clips/000.tar", "zz.wav", str(tmp_path / "secret.wav"))
    found = load(tmp_path)
    # As if it were not there: as a sound it would be an unreadable one.
    assert (dict(found.dropped), len(found.train.listed)) == ({"broken line": 1}, 8)


def _shard_of_members(path: Path) -> tuple[bytes, int]:
    """Return a shard's bytes, and the offset of the end mark behind its last member."""
    with tarfile.open(path) as archive:
        archive.getmembers()
        return path.read_bytes(), archive.offset


@pytest.mark.parametrize("left", [100, 511])
def test_a_shard_that_is_cut_within_a_header_is_refused(tmp_path: Path, left: int) -> None:
    data_layouts.webdataset(tmp_path / "clips")
    shard = tmp_path / "clips/train-000001.tar"
    whole, _ = _shard_of_members(shard)
    with tarfile.open(shard) as archive:
        third = archive.getmembers()[3].offset
    shard.write_bytes(whole[: third + left])
    error = refusal(tmp_path)
    assert error.reason == "DatasetInvalid"
    assert f"train-000001.tar is cut or broken at byte {third}" in error.message


def test_a_shard_with_a_broken_header_is_refused(tmp_path: Path) -> None:
    data_layouts.nemo_tarred(tmp_path / "clips")
    shard = tmp_path / "clips/audio_0.tar"
    whole, _ = _shard_of_members(shard)
    with tarfile.open(shard) as archive:
        second = archive.getmembers()[1].offset
    shard.write_bytes(whole[:second] + b"\xff" * 512 + whole[second + 512 :])
    error = refusal(tmp_path)
    assert error.reason == "DatasetInvalid"
    assert f"audio_0.tar is cut or broken at byte {second}" in error.message


def test_a_shard_without_an_end_mark_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data_layouts.webdataset(tmp_path / "clips")
    shard = tmp_path / "clips/train-000001.tar"
    whole, end = _shard_of_members(shard)
    shard.write_bytes(whole[:end])
    check(load(tmp_path))
    assert "train-000001.tar ends with its last member, without the mark of a tar file's end" in caplog.text


def _append_link(path: Path, name: str, target: str) -> None:
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        archive.addfile(entry)
        archive.addfile(tarfile.TarInfo(f"{name[:-4]}.txt"))


def test_a_row_of_a_tar_without_sound_is_counted(tmp_path: Path) -> None:
    data_layouts.webdataset_json(tmp_path / "clips")
    data_layouts.write_tar(tmp_path / "clips/001.tar", [("lost.txt", b"uno")])
    found = load(tmp_path)
    assert dict(found.dropped) == {"broken line": 1}


def test_row_groups_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_layouts.parquet_of_bytes(tmp_path / "clips")
    monkeypatch.setattr("whisper_finetune_trainer.data.audio.parquet_cells._LARGEST_GROUP_BYTES", 1_000)
    assert "write it again with smaller ones (row_group_size=100" in refusal(tmp_path).message


def test_what_stands_between_name_and_text_of_a_line_index_is_passed_over(tmp_path: Path) -> None:
    data_layouts.openslr(tmp_path / "clips")
    index = tmp_path / "clips/male/line_index_male.tsv"
    index.write_text(index.read_text(encoding="utf-8").replace("\t", "\tspeaker 7\t"), encoding="utf-8")
    check(load(tmp_path))
