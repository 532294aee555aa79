"""Which clips the best model is chosen by: none that is trained on, and none of the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import clip_loading
import shards
import tones
import trainer_configs
from test_held_out import overlap, part, whole
from whisper_finetune_trainer.data import held_out
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.messages.errors import TrainerError

EVERY = {"training.evalEverySteps": 10}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    tones.write_clips(folder / "clips", 100)
    tones.write_clips(folder / "clips", 25, name="chosen")
    tones.write_clips(folder / "clips", 19, name="few")
    return folder


def load(volume: Path, **changes: Any) -> Clips:
    """Return the clips of a run that evaluates; `changes` are of spec.dataset."""
    fields = {f"dataset.{name}": value for name, value in changes.items()}
    return clip_loading.load_clips(trainer_configs.config_on(volume, {**EVERY, **fields}))


def names(clips: tuple[Clip, ...]) -> set[str]:
    return {clip.identifier for clip in clips}


def test_without_evaluations_no_clip_is_taken_from_the_training(volume: Path) -> None:
    dataset = {"dataset.validationFraction": "0.5", "dataset.validationSplit": "chosen"}
    before = clip_loading.load_clips(trainer_configs.config_on(volume, {}))
    assert (len(before.train.listed), before.validation) == (80, ())
    assert clip_loading.load_clips(trainer_configs.config_on(volume, dataset)) == before
    assert "validationClips" not in before.summary().to_json_object()


def test_a_part_of_train_is_for_the_choice_and_the_result_is_of_the_same_clips(volume: Path) -> None:
    without, found = clip_loading.load_clips(trainer_configs.config_on(volume, {})), load(volume)
    assert found.evaluation == without.evaluation
    assert (len(found.train.listed), len(found.validation), found.summary().validation_clips) == (60, 20, 20)
    assert names(found.train.listed) | names(found.validation) == names(without.train.listed)
    assert load(volume) == found


def test_a_split_of_its_own_is_taken_whole(volume: Path) -> None:
    found = load(volume, validationSplit="chosen", validationFraction="0.5")
    assert (len(found.train.listed), len(found.validation)) == (80, 25)
    assert {Path(name).name[:6] for name in names(found.validation)} == {"chosen"}


def test_a_limit_leaves_enough_to_choose_by(volume: Path) -> None:
    assert len(load(volume, validationSplit="chosen", maxEvalClips=22).validation) == 22
    assert len(load(volume, validationSplit="chosen", maxEvalClips=3).validation) == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"validationFraction": "0.1"},
            "dataset.validationFraction 0.1 of 80 train clips: 8 clips are too few to choose the best model by, at ",
        ),
        ({"validationFraction": "0.6"}, "training.evalEverySteps: 48 of 80 train clips would be validation clips"),
        ({"evalFraction": "0.7"}, "training.evalEverySteps: 20 of 30 train clips would be validation clips"),
        ({"validationSplit": "few"}, "dataset.validationSplit few: 19 clips are too few"),
        ({"validationSplit": "absent"}, "split absent: "),
    ],
)
def test_too_few_clips_to_choose_by_end_the_run_before_it_trains(
    volume: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(TrainerError) as caught:
        load(volume, **changes)
    assert caught.value.reason in ("DatasetInvalid", "DatasetNotFound")
    assert caught.value.message.startswith(message)


def test_copies_of_the_clips_to_choose_by_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    for name, seconds in (("train", 0.8), ("chosen", 2.8), ("test", 4.8)):
        tones.write_clips(folder, 24, seconds=seconds, name=name)
    copied = (folder / "chosen.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:3]
    for row in copied:
        sound = json.loads(row)["audio"]
        (folder / sound.replace("chosen", "copied")).write_bytes((folder / sound).read_bytes())
    with (folder / "train.jsonl").open("a", encoding="utf-8") as rows:
        rows.writelines(row.replace("chosen", "copied") for row in copied)
    splits = {"validationSplit": "chosen", "evalSplit": "test"}
    kept = load(tmp_path, **splits)
    assert len(kept.train.listed) == 27
    assert any("3 train clips have the sound of a validation one" in warning for warning in kept.warnings)
    found = load(tmp_path, **splits, removeDuplicates=True)
    assert (len(found.train.listed), len(found.validation), dict(found.dropped)) == (24, 24, {"audio also held out": 3})


@pytest.mark.parametrize(
    ("clips", "limit", "number"), [(100, None, 20), (1_000, None, 100), (9_000, None, 500), (9_000, 60, 60)]
)
def test_the_usual_part_is_a_tenth_within_bounds(clips: int, limit: int | None, number: int) -> None:
    chosen = held_out.choose_validation([whole(index) for index in range(clips)], None, limit)
    assert (len(chosen.evaluation), len(chosen.train)) == (number, clips - number)


def test_segments_to_choose_by_are_of_whole_recordings() -> None:
    clips = [part(recording, 1.0 * place) for recording in range(10) for place in range(30)]
    chosen = held_out.choose_validation(clips, "0.2", None)
    assert max(overlap(clip, other) for clip in chosen.train for other in chosen.evaluation) <= 0
    assert len(chosen.overlapping) <= 9


@pytest.mark.parametrize("source", ["tar", "parquet"])
def test_of_a_stream_no_clip_to_choose_by_is_trained_on_in_any_epoch(tmp_path: Path, source: str) -> None:
    write = {"tar": shards.write_tars, "parquet": shards.write_parquets}[source]
    write(tmp_path / source, 120, 20)

    def load_stream(training: dict[str, Any]) -> Clips:
        fields = {"evalFraction": "0.1", "validationFraction": "0.3", "maxEvalClips": 100}
        return shards.load(tmp_path, source, training=training, **fields)

    found, without = load_stream({"evalEverySteps": 10}), load_stream({})
    assert names(found.evaluation) == names(without.evaluation)
    assert len(found.validation) >= held_out.FEWEST_VALIDATION_CLIPS
    assert not names(found.validation) & names(found.evaluation)
    for number in range(2):
        trained_on = set(shards.names(shards.epoch(shards.stream_of(found), number)))
        assert not trained_on & (names(found.validation) | names(found.evaluation))
        assert len(trained_on) == 120 - len(found.validation) - len(found.evaluation)
    # A state that was trained on these clips is not gone on from.
    assert found.train.digest != without.train.digest
    assert without.validation == ()


def test_too_few_clips_of_a_stream_end_the_run_before_it_trains(tmp_path: Path) -> None:
    shards.write_tars(tmp_path / "tar", 40, 20)
    with pytest.raises(TrainerError, match=r"dataset.validationFraction: \d+ clips are too few"):
        shards.load(tmp_path, "tar", training={"evalEverySteps": 10}, validationFraction="0.1")
