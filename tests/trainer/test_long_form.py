"""The evaluation `long-form`: where it is made, what it says before and after, and that no attempt makes it again."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml

import specs
import tiny_whisper
import tones
from test_evaluations import folder
from trainer_attempts import Volume, stop_at
from trainer_configs import make_spec
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.scores import EvaluationScores, JoinedScores
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.joined_recordings import JoinedRecording
from whisper_finetune_trainer.evaluation import intervals, long_form
from whisper_finetune_trainer.evaluation.intervals import Interval
from whisper_finetune_trainer.evaluation.long_form import LongForm
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model.backend import Backend
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.sequential_transcription import (
    HeardSegment,
    HeardWindow,
    LongTranscript,
    NoTranscription,
)
from whisper_finetune_trainer.progress.progress import Reporter, Snapshot

#: They make two recordings of 75 seconds.
CLIPS = tuple(Clip(str(number), WholeFile(""), f"uno{number} due{number}", 18.0) for number in range(8))
NO_TIMESTAMPS = "this one writes no timestamps"


def well(recording: JoinedRecording, late: float = 0.25) -> LongTranscript:
    """Return what a good model hears. It sets each timestamp too late."""
    return tuple(
        HeardWindow((HeardSegment(part.start_seconds + late, part.end_seconds + late, part.clip.text),), is_cut=False)
        for part in recording.placed
    )


def badly(recording: JoinedRecording) -> LongTranscript:
    """Return what a model hears that stops after the first segment."""
    return (*well(recording)[:1], HeardWindow((HeardSegment(30.0, 60.0, "la " * 20),), is_cut=True))


class Ears:
    """A double of a backend."""

    def __init__(self, hear: Callable[[JoinedRecording], LongTranscript] | None) -> None:
        self.hear = hear
        self.times = 0

    def recording_transcriber(self) -> Any:
        return self._transcribe if self.hear else NoTranscription(NO_TIMESTAMPS)

    def _transcribe(
        self, recordings: Sequence[JoinedRecording], on_recording: Callable[[int], None]
    ) -> list[LongTranscript]:
        assert self.hear
        self.times += 1
        on_recording(len(recordings))
        return [self.hear(recording) for recording in recordings]


def opened(
    root: Path, ears: Ears, *, wanted: bool | None = None, clips: tuple[Clip, ...] = CLIPS
) -> LongForm | EvaluationScores | None:
    changes = {} if wanted is None else {"longForm": wanted}
    spec = WhisperFineTuneSpec.model_validate(specs.with_changes(make_spec(), changes))
    loaded: Any = type("Loaded", (), {"text_language_code": "it", "spellings": {}, "task": "transcribe"})
    backend, model = cast("Backend", ears), cast("LoadedModel", loaded)
    return long_form.open_long_form(spec, clips, folder(root), model, backend, Reporter(), StopRequest())


def measuring(root: Path, ears: Ears, **options: Any) -> LongForm:
    made = opened(root, ears, **options)
    assert isinstance(made, LongForm)
    return made


def not_measured(reason: str) -> EvaluationScores:
    return EvaluationScores(name="long-form", verdict="NotMeasured", reason=reason)


def test_it_is_measured_unless_it_is_left_out(tmp_path: Path) -> None:
    assert isinstance(opened(tmp_path, Ears(well)), LongForm)
    assert isinstance(opened(tmp_path, Ears(well), wanted=True), LongForm)
    assert opened(tmp_path, Ears(well), wanted=False) is None


def test_off_is_false_to_whoever_reads_yaml() -> None:
    written = yaml.safe_load("longForm: Off")
    assert WhisperFineTuneSpec.model_validate({**make_spec(), **written}).long_form is False


def test_too_few_clips_are_told_to_whoever_asks_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert opened(tmp_path, Ears(well), clips=CLIPS[:5]) is None
    reason = "fewer than two minutes of held-out clips can be joined"
    assert f"long-form is not measured: {reason}" in caplog.text
    assert opened(tmp_path, Ears(well), clips=CLIPS[:5], wanted=True) == not_measured(reason)


def test_a_model_or_a_backend_that_cannot_is_told_to_everybody(tmp_path: Path) -> None:
    assert opened(tmp_path, Ears(None)) == opened(tmp_path, Ears(None), wanted=True) == not_measured(NO_TIMESTAMPS)
    assert opened(tmp_path, Ears(None), wanted=False) is None


def test_a_model_that_becomes_worse_in_long_recordings_is_called_so(tmp_path: Path) -> None:
    before = measuring(tmp_path, Ears(well)).make_and_store(0)
    made = measuring(tmp_path, Ears(badly))
    after = made.make_and_store(100)
    assert made.scores(before, after) == EvaluationScores(
        name="long-form",
        verdict="Worse",
        clips=8,
        baseline="0.00",
        result="75.00",
        difference_low="29.87",
        difference_high="120.13",
        recordings=JoinedScores(
            recordings=2,
            seconds=149,
            boundaries=16,
            baseline_found=16,
            result_found=4,
            baseline_seconds="0.25",
            result_seconds="0.25",
        ),
    )
    assert (after.looped_windows, after.cut_windows) == (2, 2)
    assert made.scores(before, None) == EvaluationScores(
        name="long-form",
        clips=8,
        baseline="0.00",
        recordings=JoinedScores(recordings=2, seconds=149, boundaries=16, baseline_found=16, baseline_seconds="0.25"),
    )


def test_a_model_that_hears_nothing_has_no_timestamps(tmp_path: Path) -> None:
    made = measuring(tmp_path, Ears(lambda _: ()))
    scores = made.scores(made.make_and_store(0), None)
    assert scores.baseline == "100.00"
    assert scores.recordings
    assert (scores.recordings.baseline_found, scores.recordings.baseline_seconds) == (0, None)


def test_what_is_stored_is_not_heard_again_and_belongs_to_its_recordings(tmp_path: Path) -> None:
    first = measuring(tmp_path, Ears(badly)).baseline()
    ears = Ears(well)
    assert measuring(tmp_path, ears).baseline() == first
    assert ears.times == 0
    assert measuring(tmp_path, ears).stored(100) is None
    corrected = (*CLIPS[:-1], Clip("7", WholeFile(""), "another text", 18.0))
    assert measuring(tmp_path, ears, clips=corrected).stored(0) is None
    longer = (*CLIPS[:-1], Clip("7", WholeFile(""), CLIPS[7].text, 17.0), *CLIPS[7:])
    assert measuring(tmp_path, ears, clips=longer).stored(0) is None


def test_an_interval_over_few_stretches_is_wide_enough() -> None:
    """Of trainings without effect at most one in forty is called worse, and with few stretches too."""
    generator = np.random.default_rng(0)
    for stretches in (4, 8, 30):
        worse = 0
        for _ in range(400):
            difference = generator.poisson(2.0, stretches) - generator.poisson(2.0, stretches)
            words = generator.integers(40, 60, stretches)
            drawn = generator.integers(0, stretches, (400, stretches))
            points = difference[drawn].sum(axis=1) / words[drawn].sum(axis=1)
            interval = Interval(*np.percentile(points, [2.5, 97.5]))
            worse += intervals.widen_for_few(interval, difference.sum() / words.sum(), stretches).low > 0
        # Twice the promise is beyond chance in 400 trials.
        assert worse <= 20, stretches


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume whose held-out clips make two minutes."""
    made = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(made / "model", window_seconds=12)
    tones.write_clips(made / "clips", 12)
    tones.write_clips(made / "clips", 20, seconds=6.0, name="test")
    return made


@pytest.mark.slow
def test_a_run_measures_it_before_and_after_and_a_stopped_run_does_not_measure_it_again(
    speech: Path, tmp_path: Path
) -> None:
    volume = Volume(speech, tmp_path)
    config = volume.config(spec={"dataset": {"source": "pvc://speech/clips", "evalSplit": "test"}}, steps=4)
    assert volume.attempt(config, stop_at(2)).exit_code == 75
    assert volume.names("long-form") == ["evaluation-0.json"]
    written = (volume.run / "long-form/evaluation-0.json").stat()
    stages: list[tuple[int, int]] = []

    def listen(snapshot: Snapshot) -> None:
        progress = snapshot.report.progress
        if progress and progress.evaluated_name == "long-form":
            stages.append((progress.evaluated_clips or 0, progress.clips_to_evaluate or 0))

    ended = volume.attempt(config, listen)
    assert ended.exit_code == 0, ended.result.message
    assert volume.names("long-form") == ["evaluation-0.json", "evaluation-4.json"]
    assert (volume.run / "long-form/evaluation-0.json").stat().st_ino == written.st_ino
    assert stages[0] == (0, 20)
    assert (20, 20) in stages
    scores = ended.result.evaluations[-1]
    assert (scores.name, scores.clips) == ("long-form", 20)
    assert scores.verdict in ("Better", "NotShown", "Worse")
    assert scores.recordings
    assert (scores.recordings.recordings, scores.recordings.boundaries) == (1, 40)
    card = (volume.run / "model/README.md").read_text(encoding="utf-8")
    assert "| long-form | 20 |" in card
    note = f"long-form: held-out clips joined to 1 recording of {scores.recordings.seconds} s, heard with timestamps; "
    note += f"{scores.recordings.in_words()}."
    assert note in card
    assert f"<p>{note}</p>" in (volume.run / "report.html").read_text(encoding="utf-8")
    assert volume.json("result.json")["evaluations"][-1] == scores.to_json_object()


@pytest.mark.slow
def test_a_stop_while_it_is_heard_ends_at_once_and_loses_nothing_else(speech: Path, tmp_path: Path) -> None:
    volume = Volume(speech, tmp_path)
    config = volume.config(spec={"dataset": {"source": "pvc://speech/clips", "evalSplit": "test"}}, steps=4)

    def stop(snapshot: Snapshot) -> None:
        # The baseline of the clips is told and stored, and the recordings are being heard.
        if snapshot.report.evaluations == () and snapshot.clips_to_evaluate and (volume.run / "baseline.json").exists():
            signal.raise_signal(signal.SIGTERM)

    assert volume.attempt(config, stop).exit_code == 75
    assert "baseline.json" in volume.names()
    assert not (volume.run / "long-form/evaluation-0.json").exists()
    assert volume.attempt(config).exit_code == 0


@pytest.mark.slow
def test_a_stop_while_the_final_model_hears_it_changes_nothing_of_the_result(speech: Path, tmp_path: Path) -> None:
    ended = []
    for name, is_stopped in (("straight", False), ("stopped", True)):
        volume = Volume(speech, tmp_path / name)
        volume.folder.mkdir()
        config = volume.config(spec={"dataset": {"source": "pvc://speech/clips", "evalSplit": "test"}}, steps=4)

        def stop(snapshot: Snapshot) -> None:
            progress = snapshot.report.progress
            if progress and progress.step == 4 and progress.evaluated_name == "long-form":
                signal.raise_signal(signal.SIGTERM)

        if is_stopped:
            assert volume.attempt(config, stop).exit_code == 75
            assert volume.names("long-form") == ["evaluation-0.json"]
            held_out = (volume.run / "evaluations/evaluation-4.json").stat()
        ended.append(volume.attempt(config))
    assert (volume.run / "evaluations/evaluation-4.json").stat().st_ino == held_out.st_ino
    assert [each.exit_code for each in ended] == [0, 0]
    assert ended[0].result.evaluations == ended[1].result.evaluations
    assert ended[0].result.result == ended[1].result.result
