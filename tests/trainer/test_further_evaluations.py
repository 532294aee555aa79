"""Further data sets that a run is measured on: read, refused, heard before and after, and told."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import shards
import tiny_whisper
import tones
from tones import TEXTS
from trainer_attempts import Volume
from whisper_finetune_api.run import TrainingResult
from whisper_finetune_trainer.data.layouts.layout import StreamLimits
from whisper_finetune_trainer.data.streams.streamed_clips import ClipChecks
from whisper_finetune_trainer.entrypoints.ending import Ending
from whisper_finetune_trainer.progress.progress import Snapshot
from whisper_finetune_trainer.pytorch.backend import TorchBackend

pytestmark = pytest.mark.slow
#: Each tone has another text than in train, so whoever learns those of train gets worse here.
OTHERS = (*TEXTS[1:], TEXTS[0])


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tones.write_clips(folder / "clips", 20)
    tones.write_clips(folder / "clips", 20, name="validation")
    tones.write_clips(folder / "radio", 24, seconds=0.9, name="test")
    tones.write_clips(folder / "other", 24, seconds=0.9, name="test", texts=OTHERS)
    tones.write_clips(folder / "few", 19, seconds=0.9, name="test")
    tones.write_clips(folder / "empty", 0, name="test")
    tones.write_clips(folder / "greek", 24, seconds=0.9, name="test", texts=("μία λέξη",))
    tones.write_clips(folder / "taught", 64, texts=OTHERS)
    tones.write_clips(folder / "many", 64)
    copy_rows(folder, "copy", radio=0, train=20)
    copy_rows(folder, "partly", radio=18, train=6)
    _write_texts_anew(folder / "partly/test.jsonl", lines=(20, 22))
    (folder / "named").mkdir()
    shutil.copytree(folder / "radio/audio", folder / "named/audio")
    rows = [json.loads(line) for line in (folder / "radio/test.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps({**row, "language": "es"}) + "\n" for row in rows]
    (folder / "named/test.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def copy_rows(folder: Path, name: str, *, radio: int, train: int) -> None:
    """Write an evaluation of so many clips of `radio` and so many of the train split."""
    lines: list[str] = []
    for source, count in (("radio/test", radio), ("clips/train", train)):
        shutil.copytree(folder / source.split("/")[0] / "audio", folder / name / "audio", dirs_exist_ok=True)
        lines += (folder / f"{source}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:count]
    (folder / name / "test.jsonl").write_text("".join(lines), encoding="utf-8")


def _write_texts_anew(manifest: Path, lines: tuple[int, ...]) -> None:
    """Correct some transcripts. What is heard there stays the same."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        rows[line]["text"] += " corrected"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def volume(speech: Path, tmp_path: Path) -> Volume:
    return Volume(speech, tmp_path)


def evaluations(*named: dict[str, Any]) -> dict[str, Any]:
    return {"evaluations": [{"source": f"pvc://speech/{each['name']}", **each} for each in named]}


def run(volume: Volume, *named: dict[str, Any], steps: int = 60, **training: Any) -> Ending:
    return volume.attempt(volume.config(steps=steps, spec=evaluations(*named), **training))


def scores(result: TrainingResult) -> dict[str, dict[str, Any]]:
    return {each.name: each.to_json_object() for each in result.evaluations or ()}


def test_each_is_measured_before_and_after_and_a_model_that_is_better_here_and_worse_there_is_mixed(
    volume: Volume,
) -> None:
    ended = run(volume, {"name": "radio"}, {"name": "other", "maxClips": 22}, steps=150)
    result = ended.result
    assert ended.exit_code == 0, result.message
    found = scores(result)
    assert list(found) == ["radio", "other"]
    assert (found["radio"]["clips"], found["other"]["clips"]) == (24, 22)
    assert found["radio"]["verdict"] == "Better"
    assert float(found["radio"]["result"]) < float(found["radio"]["baseline"])
    assert float(found["radio"]["differenceHigh"]) < 0
    assert "metric" not in found["radio"]
    assert "language" not in found["radio"]
    assert volume.names("further-evaluations/radio") == ["evaluation-0.json", "evaluation-150.json"]
    assert volume.json("result.json")["evaluations"] == list(found.values())


@pytest.fixture(scope="module")
def trained_on_others(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume whose model has learned the texts of `other`."""
    first = Volume(speech, tmp_path_factory.mktemp("first"))
    ended = first.attempt(first.config(steps=150, spec={"dataset": {"source": "pvc://speech/taught"}}))
    assert ended.exit_code == 0, ended.result.message
    shutil.copytree(first.run / "model", speech / "taught-model")
    return speech


def test_a_model_that_is_better_here_and_worse_there_is_mixed_and_says_where(
    trained_on_others: Path, tmp_path: Path
) -> None:
    volume = Volume(trained_on_others, tmp_path)
    spec = {"model": "pvc://speech/taught-model", **evaluations({"name": "radio"}, {"name": "other"})}
    spec["dataset"] = {"source": "pvc://speech/many"}
    ended = volume.attempt(volume.config(steps=150, spec=spec))
    result = ended.result
    assert ended.exit_code == 0, result.message
    found = scores(result)
    assert {name: each["verdict"] for name, each in found.items()} == {"radio": "Better", "other": "Worse"}
    assert result.verdict == "Mixed"
    worse = found["other"]
    assert f"; worse on other {worse['baseline']} -> {worse['result']} %; verdict: Mixed" in result.message
    latest = json.loads((tmp_path / "it/latest.json").read_text(encoding="utf-8"))
    assert (latest["verdict"], latest["evaluations"]) == ("Mixed", {"radio": "Better", "other": "Worse"})
    card = (volume.run / "model/README.md").read_text(encoding="utf-8")
    assert "Verdict: Mixed." in card
    row = f"| other | 24 | normalized WER | {worse['baseline']} | {worse['result']} | {worse['differenceLow']} to "
    assert row in card
    assert "| held-out | 13 | normalized WER | " in card
    page = (volume.run / "report.html").read_text(encoding="utf-8")
    assert '<th scope="row">other</th><td>24</td>' in page
    assert '<th scope="row">held-out</th><td>13</td>' in page


def test_what_is_heard_of_them_is_told_and_is_not_heard_again_by_a_later_attempt(volume: Volume) -> None:
    config = volume.config(steps=4, spec=evaluations({"name": "radio"}, {"name": "other"}))
    heard: list[tuple[str | None, int]] = []

    def note(now: Snapshot) -> None:
        progress = now.report.progress
        if progress and progress.clips_to_evaluate:
            heard.append((progress.evaluated_name, progress.step))

    def stop(now: Snapshot) -> None:
        note(now)
        progress = now.report.progress
        if progress and progress.step == 4 and progress.evaluated_name == "other" and progress.evaluated_clips:
            os.kill(os.getpid(), signal.SIGTERM)

    first = volume.attempt(config, stop)
    assert first.exit_code == 75
    assert list(dict.fromkeys(heard)) == [(None, 0), ("radio", 0), ("other", 0), (None, 4), ("radio", 4), ("other", 4)]
    told = scores(first.result)
    assert [each.get("verdict") for each in told.values()] == ["NotShown", None]
    assert "baseline" in told["other"]
    heard.clear()
    ended = volume.attempt(config, note)
    assert ended.exit_code == 0, ended.result.message
    assert list(dict.fromkeys(heard)) == [("other", 4)]
    assert [each["verdict"] for each in scores(ended.result).values()] == ["NotShown", "NotShown"]


def test_what_is_measured_is_that_of_the_model_that_is_published(volume: Volume) -> None:
    """The best model is not the last one, and an attempt that is stopped after the held-out clips loads it again."""
    radio = evaluations({"name": "radio"})
    config = volume.config(steps=60, evalEverySteps=15, learningRate="8e-2", spec=radio)

    def stop(now: Snapshot) -> None:
        progress = now.report.progress
        if progress and progress.step == 60 and progress.evaluated_name == "radio":
            os.kill(os.getpid(), signal.SIGTERM)

    assert volume.attempt(config, stop).exit_code == 75
    ended = volume.attempt(config)
    assert ended.result.model is not None, ended.result.message
    assert ended.result.model.step < 60
    again = Volume(volume.speech, volume.folder / "again")
    again.folder.mkdir()
    spec = {"model": f"pvc://speech/published-{volume.folder.name}", **radio}
    shutil.copytree(volume.run / "model", volume.speech / f"published-{volume.folder.name}")
    measured = again.attempt(again.config(steps=1, spec=spec)).result
    assert scores(measured)["radio"]["baseline"] == scores(ended.result)["radio"]["result"]


#: All clips of the train split are trained on.
LISTED = {"source": "pvc://speech/clips", "evalSplit": "validation"}
REFUSED = {
    "nothing there": ({"name": "absent"}, "DatasetNotFound", "there is nothing at pvc://speech/absent"),
    "no such split": ({"name": "radio", "split": "dev"}, "DatasetNotFound", "dev"),
    "too few": ({"name": "few"}, "DatasetInvalid", "19 clips are left in split test of pvc://speech/few; at least 20 "),
    "empty": ({"name": "empty"}, "DatasetInvalid", ""),
    "another script": ({"name": "greek"}, "DatasetInvalid", "texts are mostly in Greek letters"),
    "another language": (
        {"name": "named"},
        "DatasetInvalid",
        "column language names Spanish in 24 of 24 rows, and they would be heard as Italian: say its language",
    ),
    "all of it learned": (
        {"name": "copy"},
        "DatasetInvalid",
        "20 of 20 clips have the sound of one that is trained on",
    ),
    "fields of the Hub": ({"name": "radio", "config": "it"}, "ConfigInvalid", "is for data sets of the Hub"),
}


@pytest.mark.parametrize(("wanted", "reason", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_measured_ends_the_run_before_it_trains(
    volume: Volume, wanted: dict[str, Any], reason: str, words: str
) -> None:
    spec = {**evaluations(wanted), "dataset": LISTED}
    heard: list[int] = []
    ended = volume.attempt(
        volume.config(steps=2, spec=spec), lambda now: heard.append(1) if now.clips_to_evaluate else None
    )
    assert ended.result.reason == reason, ended.result.message
    assert ended.result.message.startswith(f"evaluation {wanted['name']}: ")
    assert words in ended.result.message
    assert not heard


def test_clips_that_are_learned_are_counted_and_the_report_warns(volume: Volume, caplog: Any) -> None:
    spec = {**evaluations({"name": "partly"}), "dataset": LISTED}
    ended = volume.attempt(volume.config(steps=2, spec=spec))
    assert ended.exit_code == 0, ended.result.message
    assert scores(ended.result)["partly"]["copies"] == 6
    told = "6 of 24 clips have the sound of one that is trained on or chosen by"
    assert told in caplog.text
    assert told in (volume.run / "report.html").read_text(encoding="utf-8")


def test_another_language_and_a_translation_are_heard_as_such(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[list[int]] = []
    transcribe = TorchBackend.transcribe

    def note(self: Any, clips: Any, on_clip: Any) -> Any:
        prompts.append([token for _, token in self._loaded.network.generation_config.forced_decoder_ids])
        return transcribe(self, clips, on_clip)

    monkeypatch.setattr(TorchBackend, "transcribe", note)
    named = {"name": "named", "language": "spanish"}
    translated = {"name": "radio", "task": "translate"}
    ended = run(volume, named, translated, {"name": "other"}, steps=1)
    assert ended.exit_code == 0, ended.result.message
    found = scores(ended.result)
    assert (found["named"]["language"], found["radio"]["metric"]) == ("es", "chrf")
    tokens = tiny_whisper.tokenizer()
    ids = [tokens.convert_tokens_to_ids(f"<|{name}|>") for name in ("it", "es", "transcribe", "translate")]
    assert [prompt[:2] for prompt in prompts[:4]] == [
        [ids[0], ids[2]],
        [ids[1], ids[2]],
        [ids[0], ids[3]],
        [ids[0], ids[2]],
    ]
    settings = json.loads((volume.run / "model/generation_config.json").read_text(encoding="utf-8"))
    assert (settings["language"], settings["task"]) == ("<|it|>", "transcribe")


@pytest.mark.parametrize("write", [shards.write_tars, shards.write_parquets])
def test_of_large_shards_no_more_is_read_than_is_measured(
    volume: Volume, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write.__name__.replace("_", "-")
    folder = volume.speech / name
    write(folder, 400, 20)
    read: list[int] = []
    of_row = ClipChecks.of_sampled_row
    monkeypatch.setattr(ClipChecks, "of_sampled_row", lambda self, row: (read.append(1), of_row(self, row))[1])
    named = {"name": name, "split": "train", "maxClips": 25}
    ended = volume.attempt(volume.config(steps=1, spec=evaluations(named)), limits=StreamLimits(listed_bytes=1))
    assert ended.exit_code == 0, ended.result.message
    assert scores(ended.result)[name]["clips"] == 25
    assert 25 <= len(read) < 130


def test_clips_of_a_stream_that_are_learned_are_counted_too(volume: Volume) -> None:
    for name in ("stream", "stream-again"):
        shards.write_tars(volume.speech / name, 60, 20)
    again = {"name": "again", "source": "pvc://speech/stream-again", "split": "train"}
    spec = {**evaluations(again), "dataset": {"source": "pvc://speech/stream"}}
    ended = volume.attempt(volume.config(steps=1, spec=spec), limits=shards.LIMITS)
    assert ended.exit_code == 0, ended.result.message
    found = scores(ended.result)["again"]
    assert found["clips"] == 60
    # Those of the sample that are not held out.
    assert 10 <= found["copies"] < 60


def test_a_manifest_is_one_split_and_is_heard_beside_cached_encoder_outputs(volume: Volume) -> None:
    ended = run(volume, {"name": "radio", "source": "pvc://speech/radio/test.jsonl"}, steps=1, trainable="Decoder")
    assert ended.exit_code == 0, ended.result.message
    assert scores(ended.result)["radio"]["clips"] == 24
