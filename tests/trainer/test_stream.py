"""Streams of clips: the order, the held-out clips, what is left out, and what is in memory."""

import json
from collections import Counter
from pathlib import Path

import pytest

import shards
from data_layouts import write_tar
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, InMemory
from whisper_finetune_trainer.data.layouts import layout
from whisper_finetune_trainer.data.run_clips import ListedClips
from whisper_finetune_trainer.data.streams.stream_blocks import Cursor

CLIPS = 60


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    shards.write_tars(folder / "tar", CLIPS, 8)
    shards.write_parquets(folder / "parquet", CLIPS, 17)
    return folder


@pytest.fixture(params=["tar", "parquet"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_epoch_has_every_clip_once_but_those_held_out(speech: Path, source: str) -> None:
    listed = shards.load(speech, source, layout.LIMITS)
    everything = {clip.identifier for clip in (*listed.train.listed, *listed.evaluation)}
    assert len(everything) == CLIPS
    clips = shards.load(speech, source, maxEvalClips=CLIPS)
    held_out = {clip.identifier for clip in clips.evaluation}
    trained_on = shards.names(shards.epoch(shards.stream_of(clips)))
    assert Counter(trained_on) == Counter(everything - held_out)
    assert clips.split == "Hash"


def test_every_attempt_and_every_seed_hold_out_the_same_clips(speech: Path, source: str) -> None:
    first = shards.load(speech, source)
    other = shards.load(speech, source, training={"seed": 7})
    assert [clip.identifier for clip in other.evaluation] == [clip.identifier for clip in first.evaluation]
    assert [decoding.read_content(clip.audio) for clip in other.evaluation] == [
        decoding.read_content(clip.audio) for clip in first.evaluation
    ]


def test_no_held_out_clip_is_trained_on_in_any_epoch_though_only_some_are_measured(speech: Path, source: str) -> None:
    clips = shards.load(speech, source, evalFraction="0.3", maxEvalClips=2)
    all_of_them = shards.load(speech, source, evalFraction="0.3", maxEvalClips=CLIPS).evaluation
    everything_held_out = {clip.identifier for clip in all_of_them}
    assert len(clips.evaluation) == 2 < len(everything_held_out)
    for number in range(3):
        assert not everything_held_out.intersection(shards.names(shards.epoch(shards.stream_of(clips), number)))


def test_the_order_is_a_function_of_seed_and_epoch(speech: Path, source: str) -> None:
    def order(seed: int, number: int) -> list[str]:
        stream = shards.stream_of(shards.load(speech, source, training={"seed": seed}))
        return shards.names(shards.epoch(stream, number))

    first, of_another_epoch, of_another_seed = order(0, 0), order(0, 1), order(1, 0)
    assert first == order(0, 0)
    assert sorted(first) == sorted(of_another_epoch) == sorted(of_another_seed)
    assert first != of_another_epoch
    assert first != of_another_seed


def test_a_stream_goes_on_from_any_block(speech: Path, source: str) -> None:
    stream = shards.stream_of(shards.load(speech, source))
    whole = shards.blocks(stream, 12)
    assert whole[-1].cursor.epoch > 0
    for number, block in enumerate(whole):
        # As a state has it.
        cursor = Cursor.of_values(json.loads(json.dumps(block.cursor.values())))
        assert shards.names(shards.blocks(stream, 12 - number, cursor)) == shards.names(whole[number:])


def test_what_was_read_before_a_block_is_not_read_again(tmp_path: Path) -> None:
    shards.write_tars(tmp_path / "tar", CLIPS, 8)
    stream = shards.stream_of(shards.load(tmp_path, "tar"))
    found = shards.epoch(stream)
    last = found[-1].cursor
    order = [stream.shards._lanes("0/0")[lane][: place.shard] for lane, place in enumerate(last.position.lanes)]
    done = [path for paths in order for path in paths]
    assert len(done) >= 4
    for path in done:
        (tmp_path / "tar" / path).unlink()
    assert shards.names(shards.blocks(stream, 1, last)) == shards.names(found[-1:])


def test_blocks_are_bounded_and_full_steps_but_at_the_end_of_an_epoch(speech: Path, source: str) -> None:
    found = shards.epoch(shards.stream_of(shards.load(speech, source)))
    assert len(found) > 3
    assert [len(block.clips) % shards.BATCH for block in found[:-1]] == [0] * (len(found) - 1)
    for block in found:
        content = [clip.audio.content for clip in block.clips if isinstance(clip.audio, InMemory)]
        assert len(content) == len(block.clips)
        assert sum(map(len, content)) < shards.LIMITS.block_bytes + shards.BATCH * max(map(len, content))


def test_a_block_has_clips_of_several_shards(speech: Path, source: str) -> None:
    first = shards.epoch(shards.stream_of(shards.load(speech, source)))[0]
    files = [clip.audio.file for clip in first.clips]
    assert len(set(files[: 2 * shards.LIMITS.lanes])) == shards.LIMITS.lanes


def test_streamed_clips_are_those_that_are_listed(speech: Path, source: str) -> None:
    listed = shards.load(speech, source, layout.LIMITS)
    by_name = {clip.identifier: clip for clip in (*listed.train.listed, *listed.evaluation)}
    for block in shards.epoch(shards.stream_of(shards.load(speech, source))):
        for clip in block.clips:
            known = by_name[clip.identifier]
            assert (clip.text, clip.seconds) == (known.text, known.seconds)
            assert decoding.read_content(clip.audio) == decoding.read_content(known.audio)


def test_held_out_clips_are_not_kept_in_memory(speech: Path, source: str) -> None:
    assert {type(clip.audio) for clip in shards.load(speech, source).evaluation} == {ByteRange}


def test_max_train_clips_takes_the_same_ones_in_every_epoch(speech: Path, source: str) -> None:
    stream = shards.stream_of(shards.load(speech, source, maxTrainClips=13))
    first, second = shards.names(shards.epoch(stream, 0)), shards.names(shards.epoch(stream, 1))
    assert len(first) == 13
    assert sorted(first) == sorted(second)


def test_an_eval_split_of_its_own_is_listed_and_nothing_else_is_held_out(tmp_path: Path) -> None:
    shards.write_tars(tmp_path / "clips", 20, 7)
    write_tar(tmp_path / "clips/test-000000.tar", shards.tar_members(range(100, 104)))
    clips = shards.load(tmp_path, "clips", evalSplit="test")
    assert (clips.split, len(clips.evaluation)) == ("Given", 4)
    assert len(shards.names(shards.epoch(shards.stream_of(clips)))) == 20


def test_small_shards_are_listed(speech: Path, source: str) -> None:
    clips = shards.load(speech, source, layout.LIMITS)
    assert isinstance(clips.train, ListedClips)
    assert clips.split == "Fraction"


def test_copies_of_a_given_split_are_reported_and_left_out_when_asked(tmp_path: Path) -> None:
    shards.write_tars(tmp_path / "clips", 20, 8)
    write_tar(tmp_path / "clips/test-000000.tar", shards.tar_members(range(16, 24)))
    warned = shards.load(tmp_path, "clips", evalSplit="test")
    said = [warning for warning in warned.warnings if "removeDuplicates" in warning]
    assert [warning.split(", such as")[0] for warning in said] == [
        "4 of 20 sampled train clips have the sound of a held-out one"
    ]
    assert len(shards.names(shards.epoch(shards.stream_of(warned)))) == 20
    removed = shards.load(tmp_path, "clips", evalSplit="test", removeDuplicates=True)
    assert not [warning for warning in removed.warnings if "removeDuplicates" in warning]
    assert len(shards.stream_of(removed).sampled) == 16
    assert len(shards.names(shards.epoch(shards.stream_of(removed)))) == 16
