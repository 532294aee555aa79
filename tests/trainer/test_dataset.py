import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import clip_loading
import model_loading
import tiny_whisper
import trainer_configs
from tones import write_clips
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data import text_rules
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import clip_fitting


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    write_clips(tmp_path / "clips", 10)
    return tmp_path


def load(volume: Path, **changes: Any) -> Clips:
    return clip_loading.load_clips(
        trainer_configs.config_on(volume, {f"dataset.{name}": changes[name] for name in changes})
    )


def fitted(config: TrainerConfig) -> Clips:
    """Return the clips that the model of the configuration takes."""
    return clip_fitting.fit_clips(clip_loading.load_clips(config), model_loading.load_model(config), config.accelerator)


def refusal(volume: Path, **changes: Any) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        load(volume, **changes)
    return caught.value


def rows_of(volume: Path, name: str = "train.jsonl") -> list[dict[str, Any]]:
    lines = (volume / "clips" / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def write_rows(volume: Path, rows: list[Any], name: str = "train.jsonl", *, encoding: str = "utf-8") -> None:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    (volume / "clips" / name).write_text("".join(f"{line}\n" for line in lines), encoding=encoding)


def test_a_fraction_is_held_out_the_same_way_each_time(volume: Path) -> None:
    clips = load(volume, evalFraction="0.3")
    assert (len(clips.train.listed), len(clips.evaluation), clips.split) == (7, 3, "Fraction")
    assert load(volume, evalFraction="0.3") == clips
    assert not {clip.identifier for clip in clips.train.listed} & {clip.identifier for clip in clips.evaluation}
    # The first of Random(0).shuffle: other programs that split like this hold out the same clips.
    assert [clip.identifier for clip in clips.evaluation] == [
        "audio/train-0007.wav",
        "audio/train-0008.wav",
        "audio/train-0001.wav",
    ]


def test_a_clip_has_its_text_and_length(volume: Path) -> None:
    clip = next(clip for clip in load(volume).train.listed if clip.identifier == "audio/train-0003.wav")
    assert (clip.text, clip.seconds) == ("ciao", pytest.approx(1.1))
    assert clip.audio.file == str(volume / "clips" / "audio" / "train-0003.wav")


def test_a_given_split_is_taken_whole(volume: Path) -> None:
    write_clips(volume / "clips", 3, name="test")
    clips = load(volume, evalSplit="test")
    assert (len(clips.train.listed), len(clips.evaluation), clips.split) == (10, 3, "Given")
    assert clips.summary().to_json_object() == {
        "trainClips": 10,
        "evalClips": 3,
        "droppedClips": 0,
        "split": "Given",
    }


def test_limits_draw_the_same_clips_of_a_given_split_in_every_run(volume: Path) -> None:
    write_clips(volume / "clips", 10, name="test")
    whole = load(volume, evalSplit="test")
    limited = load(volume, evalSplit="test", maxTrainClips=4, maxEvalClips=3)
    # The first of Random(0).shuffle: the lists are of one speaker after the other.
    assert [clip.identifier[-8:-4] for clip in limited.train.listed] == ["0007", "0008", "0001", "0005"]
    assert [clip.identifier[-8:-4] for clip in limited.evaluation] == ["0007", "0008", "0001"]
    assert load(volume, evalSplit="test", maxTrainClips=4, maxEvalClips=3) == limited
    assert load(volume, evalSplit="test", maxTrainClips=10, maxEvalClips=10) == whole
    assert [clip.identifier[-8:-4] for clip in whole.train.listed] == [f"{number:04d}" for number in range(10)]


def test_limits_take_the_first_clips_after_the_split(volume: Path) -> None:
    whole, limited = load(volume), load(volume, maxTrainClips=3, maxEvalClips=1)
    assert limited.train.listed == whole.train.listed[:3]
    assert limited.evaluation == whole.evaluation[:1]


@pytest.mark.parametrize("place", ["train.jsonl", "train/metadata.jsonl", "train/manifest.jsonl", "manifest.jsonl"])
def test_places_of_a_json_manifest(volume: Path, place: str) -> None:
    speech = volume / "clips"
    target = speech / place
    target.parent.mkdir(exist_ok=True)
    (speech / "train.jsonl").rename(target)
    if target.parent != speech:
        (speech / "audio").rename(target.parent / "audio")
    assert len(load(volume).train.listed) == 8


@pytest.mark.parametrize(("name", "delimiter"), [("train.csv", ","), ("train.tsv", "\t"), ("metadata.csv", ",")])
def test_tables(volume: Path, name: str, delimiter: str) -> None:
    lines = [delimiter.join([row["audio"], row["text"]]) for row in rows_of(volume)]
    (volume / "clips" / "train.jsonl").unlink()
    header = delimiter.join(["file_name", "transcription"])
    (volume / "clips" / name).write_text("\n".join([header, *lines]), encoding="utf-8")
    assert len(load(volume).train.listed) == 8


def test_a_table_with_bare_quotation_marks(volume: Path) -> None:
    lines = [f'{row["audio"]}\t"uno' for row in rows_of(volume)]
    (volume / "clips" / "train.jsonl").unlink()
    (volume / "clips" / "train.tsv").write_text("\n".join(["path\tsentence", *lines]), encoding="utf-8")
    assert {clip.text for clip in load(volume).train.listed} == {'"uno'}


def test_a_manifest_file_with_the_spelling_of_nemo(volume: Path) -> None:
    rows = [
        {"audio_filepath": str(volume / "clips" / row["audio"]), "duration": 1.0, "text": row["text"]}
        for row in rows_of(volume)
    ]
    write_rows(volume, rows, "nemo.json")
    assert len(load(volume, source="pvc://speech/clips/nemo.json").train.listed) == 8


def test_a_json_array(volume: Path) -> None:
    (volume / "clips" / "all.json").write_text(json.dumps(rows_of(volume)), encoding="utf-8")
    assert len(load(volume, source="pvc://speech/clips/all.json").train.listed) == 8


def test_a_byte_order_mark_and_a_line_separator_inside_of_a_text(volume: Path) -> None:
    rows = rows_of(volume)
    rows[0]["text"] = "uno\u2028due"
    write_rows(volume, rows, encoding="utf-8-sig")
    clips = load(volume)
    assert (len(clips.train.listed) + len(clips.evaluation), dict(clips.dropped)) == (10, {})


def test_named_columns(volume: Path) -> None:
    write_rows(volume, [{"audio": row["audio"], "text": "wrong", "said": "giusto"} for row in rows_of(volume)])
    assert {clip.text for clip in load(volume, textColumn="said").train.listed} == {"giusto"}


@pytest.mark.parametrize(
    ("normalization", "text"), [("None", "L'Amico, sì!"), ("Basic", "l amico sì"), ("Whisper", "l amico sì")]
)
def test_labels_are_normalized_when_asked(volume: Path, normalization: str, text: str) -> None:
    write_rows(volume, [{**row, "text": " L'Amico, sì! "} for row in rows_of(volume)])
    assert {clip.text for clip in load(volume, textNormalization=normalization).train.listed} == {text}


def test_translations_are_normalized_as_english(volume: Path) -> None:
    write_rows(volume, [{**row, "text": "I don't know."} for row in rows_of(volume)])
    config = trainer_configs.config_on(volume, {"task": "translate", "dataset.textNormalization": "Whisper"})
    assert {clip.text for clip in clip_loading.load_clips(config).train.listed} == {"i do not know"}


BROKEN: dict[str, tuple[Any, str, str]] = {
    "broken line": ('{"audio": "audio/train-0000.wav", ', "broken line", "train.jsonl line 3 is not JSON"),
    "no object": ("[1]", "broken line", "train.jsonl line 3 is not a JSON object"),
    "no path": ({"text": "uno"}, "broken line", "line 3 has no path in column audio"),
    "missing file": ({"audio": "audio/x.wav", "text": "uno"}, "missing audio file", "audio file audio/x.wav does not"),
    "unreadable": ({"audio": "train.jsonl", "text": "uno"}, "unreadable audio", "train.jsonl cannot be read: Format"),
    "empty text": ({"audio": "audio/train-0000.wav", "text": "  "}, "empty text", "the text of audio/train-0000.wav"),
    "no text": ({"audio": "audio/train-0000.wav", "text": None}, "empty text", "the text of audio/train-0000.wav"),
    "upwards": ({"audio": "../secret.wav", "text": "uno"}, "path outside of the source", "../secret.wav is outside"),
    "absolute": ({"audio": "/etc/passwd", "text": "uno"}, "path outside of the source", "/etc/passwd is outside"),
}


@pytest.mark.parametrize(("row", "reason", "example"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_used_is_dropped_and_counted(volume: Path, row: Any, reason: str, example: str) -> None:
    rows = rows_of(volume)
    write_rows(volume, [*rows[:2], row, *rows[2:]])
    clips = load(volume)
    assert dict(clips.dropped) == {reason: 1}
    assert clips.summary().dropped_clips == 1
    assert len(clips.train.listed) + len(clips.evaluation) == 10
    assert example in clips.examples[0]


def test_the_log_names_the_first_of_each_reason(volume: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = [f"{{{number}" for number in range(5)]
    write_rows(volume, [*broken, *rows_of(volume), {"audio": "audio/x.wav", "text": "uno"}])
    found = load(volume, maxDroppedFraction="0.9")
    said = [record.message for record in caplog.records if record.message.startswith("left out")]
    assert len(said) == 2
    assert said[0].startswith("left out, broken line: 5, such as: train.jsonl line 1 is not JSON")
    assert [f"train.jsonl line {number} " in said[0] for number in range(1, 6)] == [True, True, True, False, False]
    assert (
        said[1]
        == "left out, missing audio file: 1, such as: train.jsonl line 16: audio file audio/x.wav does not exist"
    )
    # The report has three, and both reasons among them.
    assert [example.split(" (")[0] for example in found.examples] == [
        "train.jsonl line 1 is not JSON",
        "train.jsonl line 2 is not JSON",
        "train.jsonl line 16: audio file audio/x.wav does not exist",
    ]


def test_longer_clips_are_dropped(volume: Path) -> None:
    clips = load(volume, maxClipSeconds=1, maxDroppedFraction="0.5")
    assert dict(clips.dropped) == {"too long": 2}
    assert max(clip.seconds for clip in clips.train.listed) <= 1.0


def test_too_many_dropped_clips_refuse_the_data_set(volume: Path) -> None:
    write_rows(volume, [*rows_of(volume), {"audio": "audio/x.wav", "text": "uno"}, "{", "{"])
    error = refusal(volume)
    not_json = "is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"
    assert error.reason == "DatasetInvalid"
    assert error.message == (
        "3 of 13 clips cannot be used, more than dataset.maxDroppedFraction 0.1 allows "
        "(broken line 2, missing audio file 1). First: train.jsonl line 11: audio file audio/x.wav does not exist; "
        f"train.jsonl line 12 {not_json}; train.jsonl line 13 {not_json}"
    )
    assert len(load(volume, maxDroppedFraction="0.3").train.listed) == 8


def test_copies_of_held_out_audio_leave_the_train_split_when_asked(volume: Path) -> None:
    held_out = load(volume).evaluation[0]
    copy = volume / "clips" / "audio" / "copy.wav"
    write_clips(volume / "clips", 2, name="test")
    shutil.copy(volume / "clips" / "audio" / "test-0000.wav", copy)
    write_rows(volume, [*rows_of(volume), {"audio": "audio/copy.wav", "text": held_out.text}])
    assert len(load(volume, evalSplit="test").train.listed) == 11
    clips = load(volume, evalSplit="test", removeDuplicates=True)
    assert dict(clips.dropped) == {"audio also held out": 3}
    assert "audio/copy.wav" not in {clip.identifier for clip in clips.train.listed}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "claim": ({"source": "pvc://other/clips"}, "ConfigInvalid", "claim other is not mounted here"),
    "configuration": ({"config": "it"}, "ConfigInvalid", "dataset.config is for data sets of the Hub"),
    "folder": ({"source": "pvc://speech/nothing"}, "DatasetNotFound", "there is nothing at pvc://speech/nothing"),
    "split": ({"evalSplit": "test"}, "DatasetNotFound", "split test: pvc://speech/clips has the splits train"),
    "split of a file": (
        {"source": "pvc://speech/clips/train.jsonl", "evalSplit": "test"},
        "DatasetNotFound",
        "train.jsonl is one manifest and all of it is the train split",
    ),
    "no manifest": ({"source": "pvc://speech/clips/audio/train-0000.wav"}, "DatasetInvalid", "is not a manifest"),
    "column": ({"textColumn": "said"}, "DatasetInvalid", "no column said in train.jsonl; its columns are audio, text"),
    "nothing held out": ({"evalFraction": "0.01"}, "DatasetInvalid", "leaves 10 to train on and 0 to measure on"),
}


@pytest.mark.parametrize(("changes", "reason", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(volume: Path, changes: dict[str, Any], reason: str, message: str) -> None:
    error = refusal(volume, **changes)
    assert error.reason == reason
    assert message in error.message


def test_an_empty_manifest(volume: Path) -> None:
    write_rows(volume, [])
    assert "is empty" in refusal(volume).message


def test_a_manifest_that_is_not_utf_8(volume: Path) -> None:
    (volume / "clips" / "train.jsonl").write_bytes('{"audio": "a.wav", "text": "perché"}'.encode("latin-1"))
    assert "train.jsonl is not UTF-8" in refusal(volume).message


def test_a_folder_without_a_manifest_says_what_it_holds(volume: Path) -> None:
    (volume / "clips" / "train.jsonl").rename(volume / "clips" / "list.txt")
    assert "pvc://speech/clips holds audio, list.txt: no supported layout" in refusal(volume).message


def test_labels_that_are_too_long_are_dropped(volume: Path) -> None:
    tiny_whisper.build(volume / "model")
    rows = rows_of(volume)
    write_rows(volume, [{**rows[0], "text": "una frase troppo lunga"}, *rows[1:]])
    config = trainer_configs.config_on(volume, {"training.maxLabelTokens": 12})
    clips = clip_fitting.fit_clips(
        clip_loading.load_clips(config), model_loading.load_model(config), config.accelerator
    )
    assert dict(clips.dropped) == {"label too long": 1}
    assert len(clips.evaluation) == 2
    assert "its label has 26 tokens; at most 12 are allowed" in clips.examples[0]
    assert len(clips.train.listed) + len(clips.evaluation) == 9


def test_a_held_out_clip_is_measured_however_long_its_label_is(volume: Path) -> None:
    tiny_whisper.build(volume / "model")
    write_rows(volume, [{**row, "text": "una frase troppo lunga"} for row in rows_of(volume)], "test.jsonl")
    config = trainer_configs.config_on(volume, {"training.maxLabelTokens": 12, "dataset.evalSplit": "test"})
    clips = clip_fitting.fit_clips(
        clip_loading.load_clips(config), model_loading.load_model(config), config.accelerator
    )
    assert (dict(clips.dropped), len(clips.evaluation)) == ({}, 10)


def test_clips_beyond_the_models_own_window_are_dropped(volume: Path) -> None:
    tiny_whisper.build(volume / "model")
    write_clips(volume / "clips", 1, seconds=2.1, name="long")
    write_rows(volume, [*rows_of(volume), *rows_of(volume, "long.jsonl")])
    config = trainer_configs.config_on(volume, {})
    clips = clip_fitting.fit_clips(
        clip_loading.load_clips(config), model_loading.load_model(config), config.accelerator
    )
    assert dict(clips.dropped) == {"too long": 1}
    assert "lasts 2.1 s; the model hears 2 s" in clips.examples[0]


@pytest.mark.parametrize("name", ["train.jsonl", "test.jsonl"])
def test_texts_with_special_tokens_of_the_tokenizer_are_left_out(volume: Path, name: str) -> None:
    tiny_whisper.build(volume / "model")
    write_rows(volume, rows_of(volume), "test.jsonl")
    rows = rows_of(volume)
    write_rows(volume, [{**rows[0], "text": "la <pad> casa"}, *rows[1:]], name)
    config = trainer_configs.config_on(volume, {"dataset.evalSplit": "test"})
    loaded = model_loading.load_model(config)
    loaded.tokenizer.add_special_tokens({"pad_token": "<pad>"})
    clips = clip_fitting.fit_clips(clip_loading.load_clips(config), loaded, config.accelerator)
    assert dict(clips.dropped) == {"special token": 1}
    assert len(clips.train.listed) + len(clips.evaluation) == 19
    assert "audio/train-0000.wav: its text holds <pad>" in clips.examples[0]


def test_no_token_of_whispers_is_left_in_a_text(volume: Path) -> None:
    tiny_whisper.build(volume / "model")
    rows = rows_of(volume)
    prompt = "<|startoftranscript|><|it|><|transcribe|><|0.00|>"
    write_rows(volume, [{**row, "text": f"{prompt} {row['text']}<|1.02|><|endoftext|>"} for row in rows])
    config = trainer_configs.config_on(volume, {})
    clips = clip_fitting.fit_clips(
        clip_loading.load_clips(config), model_loading.load_model(config), config.accelerator
    )
    found = {clip.identifier: clip.text for clip in (*clips.train.listed, *clips.evaluation)}
    assert found == {row["audio"]: row["text"] for row in rows}


def test_words_that_look_like_special_tokens_are_those_that_a_tokenizer_was_given(volume: Path) -> None:
    tiny_whisper.build(volume / "model")
    tokenizer = model_loading.load_model(trainer_configs.config_on(volume, {})).tokenizer
    assert text_rules.words_like_tokens(tokenizer) == frozenset()
    tokenizer.add_tokens(["<|risata|>", "parola"])
    assert text_rules.words_like_tokens(tokenizer) == {"<|risata|>"}
    named = set(text_rules.special_token_ids(tokenizer).values())
    assert {"<|0.00|>", "<|30.00|>", "<|it|>", "<|endoftext|>"} <= named
    assert not {"<|risata|>", "parola"} & named


def test_too_many_long_labels_refuse_the_data_set(volume: Path) -> None:
    tiny_whisper.build(volume / "model")
    write_rows(volume, [{**row, "text": "una frase troppo lunga"} for row in rows_of(volume)])
    config = trainer_configs.config_on(volume, {"training.maxLabelTokens": 12})
    with pytest.raises(TrainerError, match="clips cannot be used, more than") as caught:
        fitted(config)
    assert caught.value.reason == "DatasetInvalid"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_volume_that_may_not_be_read(volume: Path) -> None:
    os.seteuid(65534)
    try:
        error = refusal(volume)
    finally:
        os.seteuid(0)
    assert error.reason == "AccessDenied"
    assert error.message.startswith("dataset.source: user 65534 may not read")
