"""Real speech: Whisper base hears joined recordings about as well as their clips, and knows where each of them is."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

import clip_loading
import model_loading
import tiny_whisper
import trainer_configs
from demo.folders import LANGUAGE, DemoFolders, default_root
from demo.input import data
from demo.stopwatch import Stopwatch
from whisper_finetune_trainer.data import joined_recordings
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.evaluation import evaluations, joined_texts, wer
from whisper_finetune_trainer.model.sequential_transcription import NoTranscription
from whisper_finetune_trainer.pytorch.backend import TorchBackend

pytestmark = [pytest.mark.speech, pytest.mark.slow]
#: Joined they last a little more than two minutes, which is the least.
CLIPS = 60
#: Every so many of them is heard alone too: that takes as long for each as 30 s of a recording.
HEARD_ALONE = 4


@pytest.fixture(scope="module")
def folders() -> DemoFolders:
    folders = DemoFolders(default_root())
    data.prepare(folders, Stopwatch())
    return folders


def test_joined_recordings_are_heard_as_well_as_their_clips_and_boundaries_within_a_second(
    folders: DemoFolders, tmp_path: Path
) -> None:
    spec = trainer_configs.make_spec(
        model=f"pvc://speech/{folders.model.relative_to(folders.root)}",
        language=LANGUAGE,
        dataset={"source": f"pvc://speech/{folders.speech.relative_to(folders.root)}", "maxEvalClips": CLIPS},
    )
    config = trainer_configs.make_config(spec, speech=folders.root, scratch=tmp_path)
    loaded = model_loading.load_model(config)
    clips: Clips = clip_loading.load_clips(config)
    backend = TorchBackend(tiny_whisper.backend_settings(config), loaded, clips)
    some = clips.evaluation[::HEARD_ALONE]
    alone = evaluations.measure_clips(some, backend.transcribe(some, lambda _: None), loaded)

    transcribe = backend.recording_transcriber()
    assert not isinstance(transcribe, NoTranscription)
    recordings = joined_recordings.join_clips(clips.evaluation)
    assert sum(len(recording.placed) for recording in recordings) == CLIPS
    heard = transcribe(recordings, lambda _: None)
    compared = [joined_texts.compare_recording(*parts, LANGUAGE) for parts in zip(recordings, heard, strict=True)]
    said = [text for each in compared for text in each.said]
    joined = wer.measure_texts(said, [text for each in compared for text in each.heard], LANGUAGE, {})
    print(f"alone {alone.score:.2f} %, joined {joined.score:.2f} %")
    assert joined.score < alone.score + 5.0

    found = [error for each in compared for error in each.boundary_errors]
    boundaries = sum(each.boundaries for each in compared)
    print(f"{len(found)} of {boundaries} boundaries, median error {median(found):.2f} s")
    assert len(found) > boundaries / 2
    assert median(found) < 1.0
