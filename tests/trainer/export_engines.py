"""Engines for tests of exports, loaded by name into an engine's own process: good ones, and some that go wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from whisper_finetune_api.v1alpha1.exports import ExportName
from whisper_finetune_trainer.exports import engines
from whisper_finetune_trainer.exports.ctranslate2_engine import CTranslate2Engine
from whisper_finetune_trainer.exports.engines import Engine, ExportKind, Hear, HearingSettings
from whisper_finetune_trainer.exports.onnx_engine import OnnxEngine


class Damaging:
    """An engine, whose folder is damaged after it is made: `weights` names the damage."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def convert(self, model: Path, target: Path, weights: str) -> None:
        if weights == "dies":
            os._exit(86)
        copy = target / "of-the-model"
        shutil.copytree(model, copy, ignore=shutil.ignore_patterns("manifest.json"))
        if weights == "moved row":
            move_a_row(copy)
        made = target / "made"
        made.mkdir()
        self._engine.convert(copy, made, "float32")
        shutil.rmtree(copy)
        for path in made.iterdir():
            path.rename(target / path.name)
        made.rmdir()
        DAMAGES[weights](target)

    def open(self, target: Path, settings: HearingSettings, threads: int) -> Hear:
        return self._engine.open(target, settings, threads)


def move_a_row(model: Path) -> None:
    """Move the embeddings of the letters by one row, as a vocabulary in another order would."""
    weights = load_file(model / "model.safetensors")
    name = "model.decoder.embed_tokens.weight"
    weights[name] = np.concatenate([np.roll(weights[name][:90], 1, axis=0), weights[name][90:]])
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def _drop_tokenizer(target: Path) -> None:
    (target / "tokenizer.json").unlink()


def _other_mel_filters(target: Path) -> None:
    path = target / "preprocessor_config.json"
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "feature_size": 128}), encoding="utf-8")


DAMAGES = {
    "none": lambda _: None,
    "moved row": lambda _: None,
    "no tokenizer": _drop_tokenizer,
    "other mel filters": _other_mel_filters,
}
ENGINE = Damaging(CTranslate2Engine())
ONNX_ENGINE = Damaging(OnnxEngine())


def damaged(damage: str, name: ExportName = "CTranslate2") -> ExportKind:
    """Return a kind of export whose folder is damaged so."""
    return dataclasses.replace(engines.KINDS[name], module=__name__, weights=damage)
