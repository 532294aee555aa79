"""Whoever loads the published folder gets the texts that were measured: transformers' own loading and generating."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor, pipeline

import clip_loading
import model_loading
import tiny_whisper
import tones
import trainer_configs
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.model import clip_fitting, model
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.pytorch.backend import TorchBackend

#: Tokens of the tiny model before the special ones, the first of which ends a text.
LETTERS = 256
SEARCH = {"num_beams": 4, "do_sample": True, "repetition_penalty": 1.7, "no_repeat_ngram_size": 2, "max_length": 9}


def write_settings(folder: Path, **changes: Any) -> None:
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def heard_by(volume: Path, **changes: Any) -> tuple[model.LoadedModel, Clips, list[Transcript]]:
    """Return a model, its held-out clips, and what is heard of them in a run."""
    values = {"dataset.evalFraction": "0.5", "training.precision": "Float", **changes}
    config = trainer_configs.config_on(volume, values)
    config = config.model_copy(update={"scratch_folder": str(volume)})
    loaded = model_loading.load_model(config)
    clips = clip_fitting.fit_clips(clip_loading.load_clips(config), loaded, config.accelerator)
    heard = TorchBackend(tiny_whisper.backend_settings(config), loaded, clips).transcribe(
        clips.evaluation, lambda _: None
    )
    return loaded, clips, heard


def samples(clip: Clip) -> Any:
    assert isinstance(clip.audio, WholeFile)
    return soundfile.read(clip.audio.file, dtype="float32")[0]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    # Untrained weights of some size, so that clips are heard as other texts than each other, and never as timestamps.
    weights = tiny_whisper.build(tmp_path / "model", init_std=0.3) / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.decoder.embed_tokens.weight"][LETTERS + 1 :] = 0.0
    save_file(tensors, weights, metadata={"format": "pt"})
    tones.write_clips(tmp_path / "clips", 8, texts=("uno", "un gatto nero"))
    return tmp_path


def test_what_was_measured_is_what_the_published_folder_says(volume: Path) -> None:
    loaded, _, first = heard_by(volume)
    said = {token for transcript in first for token in loaded.tokenizer(transcript.text).input_ids}
    # As OpenAI has it for signs of times, prices and addresses; and a search that nobody measured with.
    write_settings(volume / "model", suppress_tokens=sorted(said), begin_suppress_tokens=[220], **SEARCH)
    loaded, clips, heard = heard_by(volume)
    assert heard == first
    (volume / "published").mkdir()
    model.save_model(loaded, volume / "published", "a card")
    settings = json.loads((volume / "published" / "generation_config.json").read_text(encoding="utf-8"))
    assert (settings["suppress_tokens"], settings["begin_suppress_tokens"]) == ([], [220])
    assert (settings["num_beams"], settings["do_sample"], settings["max_length"]) == (1, False, 64)
    assert not {"repetition_penalty", "no_repeat_ngram_size"} & {*settings}

    network = WhisperForConditionalGeneration.from_pretrained(volume / "published", local_files_only=True)
    processor = WhisperProcessor.from_pretrained(volume / "published", local_files_only=True)
    sounds = [samples(clip) for clip in clips.evaluation]
    features = processor(sounds, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        tokens = network.generate(features)
    texts = [text.strip() for text in processor.batch_decode(tokens, skip_special_tokens=True)]
    assert len(set(texts)) > 1
    assert [transcript.text for transcript in heard] == texts
    recognizer = pipeline("automatic-speech-recognition", model=str(volume / "published"), device="cpu")
    assert [recognizer(sound)["text"].strip() for sound in sounds] == texts


def test_a_text_is_no_longer_than_a_label_may_be(volume: Path) -> None:
    loaded, clips, heard = heard_by(volume, **{"training.maxLabelTokens": 12, "dataset.maxDroppedFraction": "0.9999"})
    assert loaded.network.generation_config.max_length == 12
    # Its tokens are bytes, and the prompt takes four.
    assert max(len(transcript.text) for transcript in heard) == 8
    texts = [clip.text for clip in clips.evaluation]
    long = sum(len(text.encode()) > 8 for text in texts)
    assert 0 < long < len(texts)
    assert clips.warnings[-1] == (
        f"{long} of {len(texts)} held-out texts have more than 12 tokens, training.maxLabelTokens: "
        "their ends cannot be heard, and count as errors"
    )
