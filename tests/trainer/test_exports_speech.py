"""Real speech: exports of whisper-base hear what the model hears."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import clip_loading
import model_loading
import tiny_whisper
import trainer_configs
from demo.folders import DemoFolders, default_root
from demo.input import data
from demo.stopwatch import Stopwatch
from whisper_finetune_api.v1alpha1.exports import MOST_DRIFT_POINTS, ExportName
from whisper_finetune_trainer.exports import engines
from whisper_finetune_trainer.exports.engines import Engine
from whisper_finetune_trainer.machine import pod_limits
from whisper_finetune_trainer.model import clip_fitting, examples, model
from whisper_finetune_trainer.pytorch.backend import TorchBackend
from whisper_finetune_trainer.training import exporting
from whisper_finetune_trainer.training.exporting import CheckedModel

pytestmark = pytest.mark.speech
CLIPS = 5
COARSER_BY_POINTS = 15.0


class Base(NamedTuple):
    """The folder that a run would publish of whisper-base, and what that hears."""

    folder: Path
    checked: CheckedModel

    def score(self) -> float:
        return float(self.checked.score_of(self.checked.heard))

    def score_of_export(self, name: ExportName, target: Path) -> float:
        """Return the score of an export that is made in an empty folder, by its own engine."""
        kind = engines.KINDS[name]
        engine: Engine = importlib.import_module(kind.module).ENGINE
        engine.convert(self.folder, target, kind.weights)
        hear = engine.open(target, self.checked.settings, pod_limits.available_cpus())
        clips = self.checked.clips
        return float(self.checked.score_of([hear(examples.samples_of_item(clip), clip.seconds) for clip in clips]))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folders = DemoFolders(default_root())
    data.prepare(folders, Stopwatch())
    changes = {
        "model": f"pvc://speech/{folders.model.relative_to(folders.root)}",
        "dataset.source": f"pvc://speech/{folders.speech.relative_to(folders.root)}",
        "output.exports": ["CTranslate2"],
        "output.exportClips": CLIPS,
        "training.precision": "Float",
    }
    config = trainer_configs.config_on(folders.root, changes)
    config = config.model_copy(update={"scratch_folder": str(tmp_path_factory.mktemp("scratch"))})
    loaded = model_loading.load_model(config)
    clips = clip_fitting.fit_clips(clip_loading.load_clips(config), loaded, config.accelerator)
    torch.set_num_threads(pod_limits.available_cpus())
    backend = TorchBackend(tiny_whisper.backend_settings(config), loaded, clips)
    heard_clips = clips.evaluation[:CLIPS]
    heard = backend.transcribe(heard_clips, lambda _: None)
    published = tmp_path_factory.mktemp("published")
    model.save_model(loaded, published, card="")
    return Base(published, exporting.checked_model(config, heard_clips, heard, loaded))


@pytest.mark.parametrize("name", ["CTranslate2", "WhisperCpp", "Onnx"])
def test_an_export_hears_what_the_model_hears(base: Base, name: ExportName, tmp_path: Path) -> None:
    assert abs(base.score_of_export(name, tmp_path) - base.score()) <= MOST_DRIFT_POINTS


@pytest.mark.parametrize("name", ["CTranslate2Int8", "WhisperCppQ5"])
def test_an_export_with_coarser_weights_hears_italian(base: Base, name: ExportName, tmp_path: Path) -> None:
    """Over so few clips each other word is more than the half point that a run allows."""
    assert base.score_of_export(name, tmp_path) - base.score() <= COARSER_BY_POINTS
