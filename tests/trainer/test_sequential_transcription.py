"""Recordings of minutes are transcribed window by window, with timestamps, and none of them without end."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import WhisperFeatureExtractor

import clip_loading
import model_loading
import tiny_whisper
import tones
import trainer_configs
from whisper_finetune_trainer.data import joined_recordings
from whisper_finetune_trainer.data.joined_recordings import JoinedRecording, PlacedClip
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.sequential_transcription import (
    HeardSegment,
    HeardWindow,
    LongTranscript,
    NoTranscription,
    TranscribeRecordings,
    recording_transcriber,
)

WINDOW_SECONDS = 30
SECONDS = 4.0


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volume")
    tiny_whisper.build(folder / "model", window_seconds=WINDOW_SECONDS)
    tones.write_clips(folder / "clips", 60, seconds=SECONDS)
    return folder


@pytest.fixture
def loaded(volume: Path) -> LoadedModel:
    return model_loading.load_model(trainer_configs.config_on(volume, {}))


@pytest.fixture(scope="module")
def recordings(volume: Path) -> tuple[JoinedRecording, ...]:
    """Return recordings of 39, 70 and 83 seconds."""
    clips = clip_loading.load_clips(trainer_configs.config_on(volume, {})).train.listed
    parts = (clips[:9], clips[9:25], clips[25:44])
    return tuple(
        JoinedRecording(tuple(PlacedClip(clip, 4.4 * number) for number, clip in enumerate(part))) for part in parts
    )


def transcriber(loaded: LoadedModel) -> TranscribeRecordings:
    found = recording_transcriber(loaded, torch.device("cpu"), contextlib.nullcontext)
    assert not isinstance(found, NoTranscription)
    return found


def transcribe(loaded: LoadedModel, recordings: tuple[JoinedRecording, ...]) -> list[LongTranscript]:
    done: list[int] = []
    heard = transcriber(loaded)(recordings, done.append)
    assert done[-1] == len(recordings)
    return heard


def seconds(segment: float) -> torch.Tensor:
    return torch.tensor(segment, dtype=torch.float64)


def replace_generate(loaded: LoadedModel, generate: Callable[..., Any]) -> None:
    loaded.network.generate = generate


def test_all_recordings_of_a_batch_are_heard_as_each_of_them_alone(
    loaded: LoadedModel, recordings: tuple[JoinedRecording, ...]
) -> None:
    together = transcribe(loaded, recordings)
    assert together == [heard for recording in recordings for heard in transcribe(loaded, (recording,))]
    assert [len(windows) > 1 for windows in together] == [True, True, True]


def test_a_window_begins_with_language_and_task_and_with_a_timestamp(
    loaded: LoadedModel, recordings: tuple[JoinedRecording, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = []
    forward = type(loaded.network).forward

    def note(network: Any, *arguments: Any, **inputs: Any) -> Any:
        if inputs["decoder_input_ids"].shape[1] > 1:
            prompts.append(loaded.tokenizer.convert_ids_to_tokens(inputs["decoder_input_ids"][0].tolist()))
        return forward(network, *arguments, **inputs)

    monkeypatch.setattr(type(loaded.network), "forward", note)
    heard = transcribe(loaded, recordings[:1])[0]
    assert prompts == [["<|startoftranscript|>", "<|it|>", "<|transcribe|>"]] * len(heard)
    # Texts have no timestamps, and as many tokens as those of clips.
    assert not any("<|" in window.text for window in heard)
    assert loaded.network.generation_config.return_timestamps is False


def test_features_are_those_of_the_whole_recording(
    loaded: LoadedModel, recordings: tuple[JoinedRecording, ...]
) -> None:
    given: list[torch.Tensor] = []

    def generate(features: torch.Tensor, **_: Any) -> dict[str, Any]:
        given.append(features)
        return {"segments": [[] for _ in features]}

    replace_generate(loaded, generate)
    transcribe(loaded, recordings[1:2])
    extractor = WhisperFeatureExtractor(feature_size=loaded.feature_settings.mel_bins)
    samples = joined_recordings.read_joined_samples(recordings[1])
    expected = extractor(
        samples, sampling_rate=16_000, truncation=False, padding="longest", return_tensors="pt"
    ).input_features
    # The end differs, where the recording is reflected there and not here.
    assert (given[0] - expected)[..., :-3].abs().max() < 1e-4
    assert given[0].shape == expected.shape


def test_segments_are_told_window_by_window(loaded: LoadedModel, recordings: tuple[JoinedRecording, ...]) -> None:
    end, zero = loaded.tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|0.00|>"])
    ended, cut = torch.tensor([*b"uno due", end]), torch.tensor([*b"tre quattro"])
    tokens = loaded.tokenizer("uno", add_special_tokens=False).input_ids
    segments = [
        {
            "start": seconds(0.0),
            "end": seconds(2.0),
            "tokens": torch.tensor([zero, *tokens, zero + 100]),
            "result": ended,
        },
        {"start": seconds(2.0), "end": seconds(4.02), "tokens": torch.tensor(tokens), "result": ended},
        {"start": seconds(4.02), "end": seconds(34.0), "tokens": torch.tensor(tokens), "result": cut},
    ]
    replace_generate(loaded, lambda *_, **__: {"segments": [segments]})
    first = HeardWindow((HeardSegment(0.0, 2.0, "uno"), HeardSegment(2.0, 4.02, "uno")), is_cut=False)
    assert transcribe(loaded, recordings[:1]) == [(first, HeardWindow((HeardSegment(4.02, 34.0, "uno"),), is_cut=True))]
    assert first.text == "uno uno"


def test_a_recording_without_an_end_is_given_up_and_costs_the_others_nothing(
    loaded: LoadedModel, recordings: tuple[JoinedRecording, ...], caplog: pytest.LogCaptureFixture
) -> None:
    windows: list[int] = []

    def generate(features: torch.Tensor, monitor_progress: Callable[[torch.Tensor], None], **_: Any) -> Any:
        windows.append(0)
        # The longest recording sets its timestamps to where it is.
        while features.shape[-1] > 8_000:
            windows[-1] += 1
            monitor_progress(torch.zeros(len(features), 2))
        return {"segments": [[] for _ in features]}

    replace_generate(loaded, generate)
    given_up = (HeardWindow((), is_cut=True),)
    assert transcribe(loaded, recordings) == [(), (), given_up]
    # Three windows of half a minute may be heard six times; the next one ends it. All together, then each alone.
    assert windows == [19, 0, 0, 19]
    assert "given up" in caplog.text


def test_a_model_whose_tokenizer_has_no_timestamps_is_named(loaded: LoadedModel) -> None:
    class Without:
        def get_vocab(self) -> dict[str, int]:
            return {"<|notimestamps|>": 1}

    found = recording_transcriber(
        dataclasses.replace(loaded, tokenizer=Without()), torch.device("cpu"), contextlib.nullcontext
    )
    assert found == NoTranscription("the model's tokenizer has no timestamps after its special tokens")


def test_an_english_only_model_is_heard_too(tmp_path: Path, recordings: tuple[JoinedRecording, ...]) -> None:
    tiny_whisper.build(tmp_path / "model", window_seconds=WINDOW_SECONDS, english_only=True)
    loaded = model_loading.load_model(trainer_configs.config_on(tmp_path, {"language": "en"}))
    assert len(transcribe(loaded, recordings[:1])[0]) > 1
