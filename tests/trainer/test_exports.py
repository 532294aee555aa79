"""Exports of a tiny model by the real engine: what is kept, what is refused, and what a stop or a crash leaves."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from safetensors.torch import load_file, save_file

import clip_loading
import export_engines
import model_loading
import tiny_whisper
import tones
from trainer_attempts import Volume
from whisper_finetune_api.run import ReportedExport, TrainerConfig
from whisper_finetune_api.v1alpha1.exports import ExportName
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.entrypoints.ending import Ending
from whisper_finetune_trainer.exports import engines, onnx_engine
from whisper_finetune_trainer.exports.ctranslate2_engine import ENGINE
from whisper_finetune_trainer.exports.engine_process import EngineError
from whisper_finetune_trainer.exports.engines import Engine, ExportKind, Hear, HearingSettings, Samples
from whisper_finetune_trainer.model import clip_fitting, examples
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.output import folder_manifest
from whisper_finetune_trainer.progress.progress import Snapshot
from whisper_finetune_trainer.pytorch.backend import TorchBackend
from whisper_finetune_trainer.training import exporting

pytestmark = pytest.mark.slow
#: The tokens of a to z in the tiny model's vocabulary.
LETTERS = range(64, 90)
CLIPS = 3


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of random weights that writes letters alone, and clips whose texts are what it hears."""
    folder = tmp_path_factory.mktemp("speech")
    weights = tiny_whisper.build(folder / "model", init_std=0.3) / "model.safetensors"
    tensors = load_file(weights)
    rows = tensors["model.decoder.embed_tokens.weight"]
    rows[: LETTERS.start] = rows[LETTERS.stop :] = 0.0
    save_file(tensors, weights, metadata={"format": "pt"})
    clips = tones.write_clips(folder / "clips", 24)
    heard = {clip.identifier: transcript.text for clip, transcript in heard_by_the_model(Volume(folder, folder))}
    rows = [json.loads(line) for line in (clips / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({*heard.values()}) > 3
    lines = [json.dumps({**row, "text": heard[row["audio"]]}) + "\n" for row in rows]
    (clips / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def heard_by_the_model(volume: Volume) -> list[tuple[Clip, Transcript]]:
    """Return all clips, the held-out ones first, and what PyTorch hears of them."""
    config = config_with(volume)
    loaded = model_loading.load_model(config)
    clips = clip_fitting.fit_clips(clip_loading.load_clips(config), loaded, config.accelerator)
    backend = TorchBackend(tiny_whisper.backend_settings(config), loaded, clips)
    found = [*clips.evaluation, *clips.train.listed]
    return list(zip(found, backend.transcribe(found, lambda _: None), strict=True))


def config_with(volume: Volume, *names: str) -> TrainerConfig:
    output = {"exports": list(names), "exportClips": CLIPS} if names else {}
    return volume.config(output=output, steps=2, learningRate="1e-7")


@pytest.fixture(scope="module")
def finished(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the output is of a run without exports that is finished."""
    volume = Volume(speech, tmp_path_factory.mktemp("finished"))
    assert volume.attempt(config_with(volume)).exit_code == 0
    return volume.folder


@pytest.fixture
def volume(speech: Path, finished: Path, tmp_path: Path) -> Volume:
    """Return a finished run, of which exports are asked for later."""
    shutil.copytree(finished, tmp_path / "runs")
    return Volume(speech, tmp_path / "runs")


class InThisProcess:
    """What stands in for an engine's process: it takes seconds to load PyTorch there."""

    def __init__(self, kind: ExportKind) -> None:
        damaged = export_engines.ONNX_ENGINE if kind.name == "Onnx" else export_engines.ENGINE
        self._engine = damaged if kind.module == export_engines.__name__ else ENGINE
        self._weights = kind.weights
        self._hear: Hear | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def convert(self, model: Path, target: Path) -> None:
        self._engine.convert(model, target, self._weights)

    def open(self, target: Path, settings: HearingSettings) -> None:
        try:
            self._hear = self._engine.open(target, settings, 1)
        except Exception as error:
            raise EngineError(f"{type(error).__name__}: {error}") from error

    def hear(self, samples: Samples, seconds: float) -> Transcript:
        assert self._hear is not None
        return self._hear(samples, seconds)


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "EngineProcess", InThisProcess)


def exports_of(ended: Ending) -> dict[str, ReportedExport]:
    assert ended.exit_code == 0, ended.result.message
    return {export.name: export for export in ended.result.exports or ()}


def keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all exports made in float32: what random weights hear may change with any rounding."""
    for name in tuple(engines.KINDS):
        monkeypatch.setitem(engines.KINDS, name, export_engines.damaged("none", name))


def stop_at_clip(stage_clips: int) -> Callable[[Snapshot], None]:
    """Return a listener that sends SIGTERM once, when so many clips are heard by an export."""
    sent: list[int] = []

    def listen(snapshot: Snapshot) -> None:
        if snapshot.clips_to_evaluate == CLIPS and snapshot.evaluated_clips == stage_clips and not sent:
            sent.append(stage_clips)
            os.kill(os.getpid(), signal.SIGTERM)

    return listen


def check_kept(volume: Volume, export: ReportedExport, path: str, weights: str = "model.bin") -> None:
    folder = volume.run / path
    manifest = folder_manifest.parse_manifest((folder / "manifest.json").read_bytes())
    assert manifest is not None
    assert {*manifest.files, "manifest.json"} == {found.name for found in folder.iterdir()}
    assert {weights, "tokenizer.json", "preprocessor_config.json", "README.md"} <= set(manifest.files)
    assert folder_manifest.first_changed_file(manifest, folder) is None
    assert (export.path, export.clips, export.refused) == (path, CLIPS, None)
    assert export.sha256 == folder_manifest.sha256((folder / "manifest.json").read_bytes())
    assert export.bytes == sum(file.bytes for file in manifest.files.values())
    assert export.score is not None
    assert abs(float(export.score) - float(export.model_score or "")) <= 0.5
    assert float(export.speed or "") > 0
    assert f"this export | {export.score} %" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_stop_in_the_middle_leaves_the_exports_to_an_attempt_that_does_not_train_again(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_all(monkeypatch)
    volume = Volume(speech, tmp_path)
    config = config_with(volume, "CTranslate2", "CTranslate2Int8")
    stopped = volume.attempt(config, stop_at_clip(1))
    assert (stopped.exit_code, stopped.result.reason) == (75, None)
    assert volume.json("result.json")["model"]["path"] == "model"
    assert not (volume.run / "exports/ctranslate2").exists()
    weights = (volume.run / "model/model.safetensors").stat()

    ended = volume.attempt(config)
    found = exports_of(ended)
    check_kept(volume, found["CTranslate2"], "exports/ctranslate2")
    check_kept(volume, found["CTranslate2Int8"], "exports/ctranslate2-int8")
    assert (volume.run / "model/model.safetensors").stat() == weights
    assert "refused" not in ended.result.message
    # A third attempt has nothing left to do but to report.
    assert volume.attempt(config).result == ended.result


@pytest.mark.parametrize("name", ["CTranslate2", "Onnx"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("moved row", "they differ by more than 0.5 points"),
        ("no tokenizer", "No such file"),
        ("other mel filters", "128"),
    ],
)
@pytest.mark.usefixtures("_in_this_process")
def test_a_damaged_export_is_refused_with_its_reason_and_the_others_stay(
    name: ExportName, damage: str, reason: str, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_all(monkeypatch)
    monkeypatch.setitem(engines.KINDS, name, export_engines.damaged(damage, name))
    ended = volume.attempt(config_with(volume, name, "CTranslate2Int8"))
    found = exports_of(ended)
    assert reason in (found[name].refused or "")
    assert found[name].path is None
    assert not (volume.run / engines.KINDS[name].path).exists()
    check_kept(volume, found["CTranslate2Int8"], "exports/ctranslate2-int8")
    assert ended.result.message.endswith(f"; refused exports: {name}")
    assert volume.attempt(config_with(volume, name, "CTranslate2Int8")).result == ended.result


@pytest.mark.usefixtures("_in_this_process")
def test_an_export_for_onnx_runtime_is_kept(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_all(monkeypatch)
    found = exports_of(volume.attempt(config_with(volume, "Onnx")))
    check_kept(volume, found["Onnx"], "exports/onnx", "decoder_model.onnx")


def test_an_engine_that_dies_costs_its_export_alone(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.KINDS, "CTranslate2", export_engines.damaged("dies"))
    found = exports_of(volume.attempt(config_with(volume, "CTranslate2")))
    assert found["CTranslate2"].refused == "its engine died (exit code 86)"
    assert not (volume.run / "exports/ctranslate2").exists()


def test_an_engine_that_knows_no_such_model_says_so(volume: Volume) -> None:
    found = exports_of(volume.attempt(config_with(volume, "WhisperCpp")))
    assert (found["WhisperCpp"].refused or "").startswith("ValueError: whisper.cpp knows vocabularies of 51864")


def test_an_export_that_ended_its_trainer_is_not_begun_again(volume: Volume) -> None:
    uid = config_with(volume).uid
    (volume.run / "exports.json").write_text(json.dumps({"uid": uid, "names": ["CTranslate2"]}), encoding="utf-8")
    found = exports_of(volume.attempt(config_with(volume, "CTranslate2")))
    assert "the trainer ended without a word while it was made" in (found["CTranslate2"].refused or "")


@pytest.mark.usefixtures("_in_this_process")
def test_an_export_that_is_gone_is_made_again(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_all(monkeypatch)
    config = config_with(volume, "CTranslate2")
    volume.attempt(config)
    (volume.run / "exports/ctranslate2/model.bin").unlink()
    check_kept(volume, exports_of(volume.attempt(config))["CTranslate2"], "exports/ctranslate2")


def test_without_what_the_model_hears_nothing_is_compared(volume: Volume) -> None:
    for path in (volume.run / "evaluations").iterdir():
        path.unlink()
    found = exports_of(volume.attempt(config_with(volume, "CTranslate2", "CTranslate2Int8")))
    assert {export.refused for export in found.values()} == {
        "an attempt ended before it was made, and what the model hears is not in the run's folder"
    }


def test_an_image_without_the_engine_refuses_the_run_before_it_trains(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = engines.KINDS["CTranslate2"]
    lacking = dataclasses.replace(known, packages=("json", "no_such_engine"))
    monkeypatch.setitem(engines.KINDS, "CTranslate2", lacking)
    volume = Volume(speech, tmp_path)
    ended = volume.attempt(config_with(volume, "CTranslate2"))
    assert (ended.exit_code, ended.result.reason) == (64, "ConfigInvalid")
    assert ended.result.message == (
        "output.exports: CTranslate2 needs the Python package no_such_engine, which this image does not have; take an "
        "image that was built with --build-arg EXPORTS=yes, or leave CTranslate2 out"
    )
    assert "baseline.json" not in volume.names()


@pytest.mark.parametrize("engine", [ENGINE, onnx_engine.ENGINE])
def test_an_engine_hears_what_the_model_hears_token_by_token(engine: Engine, volume: Volume, tmp_path: Path) -> None:
    """Greedy, no suppressed token, at most so many: texts that a limit ends have the same length too."""
    config = config_with(volume)
    loaded = model_loading.load_model(config)
    clips, of_model = zip(*heard_by_the_model(volume), strict=True)
    checked = exporting.checked_model(config, clips, of_model, loaded)
    assert checked.clips == clips
    (tmp_path / "export").mkdir()
    engine.convert(volume.speech / "model", tmp_path / "export", "float32")
    hear = engine.open(tmp_path / "export", checked.settings, 1)
    assert [hear(examples.samples_of_item(clip), clip.seconds) for clip in clips] == list(of_model)
