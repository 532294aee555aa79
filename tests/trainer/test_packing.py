"""A training on packed clips: its labels, its sounds, a run from data to model, and what is refused."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model_loading
import packed_labels
import tiny_whisper
import tones
import trainer_configs
from test_backend import Run, changed, stopped_and_resumed
from tones import SAMPLE_RATE
from trainer_attempts import Volume
from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_trainer.data.passages import Passage
from whisper_finetune_trainer.data.text_rules import Outcome, TextRules, TimedText
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.examples import ReplacementClips

PACKED: dict[str, Any] = {"packing": "Any", "timestampRate": "0.5", "promptRate": "0.5"}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volume")
    tiny_whisper.build(folder / "model", window_seconds=6)
    tones.write_clips(folder / "clips", 40)
    return folder


@pytest.fixture(scope="module")
def loaded(volume: Path) -> Any:
    return model_loading.load_model(trainer_configs.config_on(volume, {}))


def test_labels_are_in_whispers_own_format(loaded: Any) -> None:
    packed_labels.check_literals(loaded)


def test_what_was_said_before_has_the_room_that_the_label_leaves(loaded: Any) -> None:
    packed_labels.check_bounds(loaded)


def test_no_loss_is_on_what_was_said_before(loaded: Any) -> None:
    packed_labels.check_loss_is_on_what_is_said(loaded)


def test_a_language_without_spaces_gets_no_blanks(loaded: Any) -> None:
    chinese = replace(loaded, text_language_code="zh")
    _, said = packed_labels.written(examples.label_of(packed_labels.TWO, chinese), chinese)
    assert said == "<|it|><|transcribe|><|notimestamps|>ciaosoleĠeĠmare<|endoftext|>"


def passage_of(run: Run, *indexes: int) -> Passage:
    clips = tuple(run.clips.train.listed[index] for index in indexes)
    return Passage(clips, (0.0, *[0.5] * (len(indexes) - 1)))


def test_clips_of_a_passage_are_heard_one_after_the_other_with_silence_between(volume: Path) -> None:
    passage = passage_of(Run(volume, **PACKED), 0, 5)
    alone = [examples.samples_of_item(clip) for clip in passage.clips]
    silence = np.zeros(SAMPLE_RATE // 2, dtype=np.float32)
    assert np.array_equal(examples.samples_of_item(passage), np.concatenate([alone[0], silence, alone[1]]))


def test_a_clip_that_cannot_be_decoded_leaves_its_passage_and_the_others_stay(volume: Path, tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model", window_seconds=6)
    tones.write_clips(tmp_path / "clips", 40)
    run = Run(tmp_path, **PACKED)
    passage = passage_of(run, 0, 1, 2)
    whole = examples.samples_of_item(passage)
    Path(passage.clips[1].audio.file).write_bytes(b"RIFF")
    replacements = ReplacementClips(run.clips.train.listed, "0.5", lambda _: 5)
    taken, samples = replacements.take(passage)
    assert isinstance(taken, Passage)
    assert taken.clips == (passage.clips[0], passage.clips[2])
    assert taken.starts() == (passage.starts()[0], passage.starts()[2])
    first, end = (round(passage.starts()[index] * SAMPLE_RATE) for index in (1, 2))
    whole[first : round((passage.starts()[1] + passage.clips[1].seconds) * SAMPLE_RATE)] = 0
    assert np.array_equal(samples[end:], whole[end:])
    assert not samples[first:end].any()
    assert replacements.of(passage) == taken
    # Nothing of this one is left, so the next clip of the list is heard.
    lost = passage_of(run, 1)
    taken, _ = replacements.take(lost)
    assert isinstance(taken, Passage)
    assert taken.clips == (run.clips.train.listed[2],)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["All", "Decoder"])
def test_a_resumed_packed_run_ends_with_the_same_bits(volume: Path, trainable: str) -> None:
    straight = Run(volume, **PACKED, trainable=trainable)
    straight.train()
    for at_step in (1, 7):
        assert changed(straight.weights(), stopped_and_resumed(volume, at_step, **PACKED, trainable=trainable)) == set()


@pytest.mark.slow
def test_a_packed_run_with_timestamps_learns(volume: Path) -> None:
    run = Run(volume, steps=40, packing="Any", timestampRate="1.0", learningRate="0.005")
    losses = run.train(last_step=40)
    assert losses[-1] < losses[0] / 2


@pytest.mark.slow
def test_packing_of_none_is_what_was_done_without_it(volume: Path) -> None:
    runs = Run(volume), Run(volume, packing="None")
    assert runs[0].train() == runs[1].train()
    assert changed(runs[0].weights(), runs[1].weights()) == set()


@pytest.mark.slow
def test_a_packed_run_says_what_packing_changes(volume: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = Volume(volume, tmp_path)
    with caplog.at_level(logging.INFO):
        ended = runs.attempt(runs.config(steps=3, **PACKED))
    assert ended.exit_code == 0, ended.result.message
    assert "32 clips are packed into 9 windows an epoch, 0.28 of the passes without packing" in caplog.text
    assert ended.result.data is not None
    assert ended.result.data.train_windows == 9
    assert "are packed into 9 windows" in next(runs.folder.rglob("report.html")).read_text("utf-8")


def refused(volume: Path, **training: Any) -> TrainerError:
    with pytest.raises(TrainerError) as error:
        Run(volume, **training)
    return error.value


def test_recordings_are_asked_for_where_there_are_none(volume: Path) -> None:
    error = refused(volume, packing="Recording")
    assert error.reason == "DatasetInvalid"
    assert "of 32 train clips 0 are segments of recordings" in error.message
    assert "take packing: Any" in error.message


def test_timestamps_are_refused_where_the_tokenizer_has_none(volume: Path, tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model", window_seconds=6)
    tones.write_clips(tmp_path / "clips", 40)
    (tmp_path / "model" / "added_tokens.json").unlink()
    path = tmp_path / "model" / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if not token["content"][2:3].isdigit()]
    path.write_text(json.dumps(tokenizer), "utf-8")
    error = refused(tmp_path, packing="Any")
    assert error.reason == "ConfigInvalid"
    assert "set timestampRate to 0.0" in error.message
    assert Run(tmp_path, packing="Any", timestampRate="0.0").clips.packed is not None


def test_shares_without_packing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"need training\.packing"):
        trainer_configs.config_on(Path(), {"training.timestampRate": "0.5"})


def test_timestamps_are_in_half_of_the_windows_unless_the_spec_says_otherwise() -> None:
    assert Training().timestamp_part == 0.0
    assert Training(packing="Any").timestamp_part == 0.5
    assert Training(packing="Any", timestamp_rate="0.0").timestamp_part == 0.0
    assert Training(packing="Any").prompt_part == 0.0


TIMED = TextRules((), str.strip, frozenset(["<|risata|>"]), reads_timestamps=True)
#: Texts with timestamps, what is said in them, and its parts.
TEXTS: dict[str, tuple[str, str, tuple[TimedText, ...]]] = {
    "one part": ("<|0.00|> ciao<|1.02|>", "ciao", (TimedText(0.0, 1.02, "ciao"),)),
    "two parts": (
        "<|0.00|>il gatto<|1.02|><|1.10|> dorme<|2.00|>",
        "il gatto dorme",
        (TimedText(0.0, 1.02, "il gatto"), TimedText(1.1, 2.0, "dorme")),
    ),
    "a whole prompt": (
        "<|startofprev|> prima<|startoftranscript|><|it|><|transcribe|><|0.00|> ciao<|1.02|><|endoftext|>",
        "ciao",
        (TimedText(0.0, 1.02, "ciao"),),
    ),
    "a word of the tokenizer": (
        "<|0.00|>ciao <|risata|><|1.02|>",
        "ciao <|risata|>",
        (TimedText(0.0, 1.02, "ciao <|risata|>"),),
    ),
    "an open end without words": ("<|0.00|>ciao<|1.02|><|1.02|>", "ciao", (TimedText(0.0, 1.02, "ciao"),)),
    "no end": ("<|0.00|> ciao", "ciao", ()),
    "words outside": ("ciao<|0.50|> a te<|1.00|>", "ciao a te", ()),
    "back in time": ("<|1.00|>ciao<|0.50|>", "ciao", ()),
    "another order": ("<|1.00|>a<|2.00|><|0.00|>b<|0.50|>", "a b", ()),
    "no timestamps": ("<|it|>ciao", "ciao", ()),
}


@pytest.mark.parametrize(("text", "said", "parts"), TEXTS.values(), ids=TEXTS)
def test_well_formed_timestamps_in_texts_are_read_and_others_taken_out(
    text: str, said: str, parts: tuple[TimedText, ...]
) -> None:
    rule = "Timestamps" if parts else "SpecialTokens"
    assert TIMED.apply(text) == Outcome(said, (rule,), timed=parts)
    assert replace(TIMED, reads_timestamps=False).apply(text) == Outcome(said, ("SpecialTokens",))


def test_timestamps_of_texts_are_those_of_their_clips(tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model", window_seconds=6)
    texts = ("<|0.00|>uno<|0.30|><|0.50|>due<|0.80|>", "<|0.00|>tre<|5.00|>")
    tones.write_clips(tmp_path / "clips", 40, texts=texts)
    clips = Run(tmp_path, **PACKED).clips.train.listed
    assert {clip.text: clip.timed for clip in clips} == {
        "uno due": (TimedText(0.0, 0.3, "uno"), TimedText(0.5, 0.8, "due")),
        # These go beyond the sound.
        "tre": (),
    }
    assert all(not clip.timed for clip in Run(tmp_path).clips.train.listed)
