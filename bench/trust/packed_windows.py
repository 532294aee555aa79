"""Does a packed run need fewer windows, and does its model find its way through recordings of minutes?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trust.answers import Claim, Question, Runs, evaluation_in_words
from trust.experiments import PACKED, SANE
from trust.trainer_runs import ReportedRun

from whisper_finetune_api.v1alpha1.scores import EvaluationScores
from whisper_finetune_trainer.data import joined_recordings
from whisper_finetune_trainer.data.joined_recordings import JoinedRecording
from whisper_finetune_trainer.data.layouts.layout import LIMITS
from whisper_finetune_trainer.evaluation.long_form import LongForm
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model.sequential_transcription import LongTranscript
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.training import opening

_MOST_WINDOWS = 0.4
#: A text that ends before so much of a recording has stopped.
_LEAST_HEARD = 0.9


@dataclass(frozen=True)
class Reach:
    """How far faster-whisper's last segment reaches in a recording, in seconds, and in how many segments."""

    recording_seconds: float
    last_end: float
    segments: int

    @property
    def is_whole(self) -> bool:
        """Say whether it has gone on to about the end."""
        return self.segments > 1 and self.last_end >= _LEAST_HEARD * self.recording_seconds


def answer_packing(runs: Runs) -> Sequence[Claim]:
    """Return the claims on the packed run, and how it compares with the one that is not packed."""
    if PACKED.name not in runs:
        return []
    packed = runs[PACKED.name]
    compared = [_compare(runs[SANE.name], packed)] if SANE.name in runs else []
    return [_windows(packed), *compared, *_exports(packed), _reaches_the_end(packed)]


def _windows(run: ReportedRun) -> Claim:
    data = run.result.data
    if data is None or not data.train_windows or not data.train_clips:
        return Claim("packed: fewer windows", holds=False, found="the run does not say how many windows it has")
    part = data.train_windows / data.train_clips
    found = f"{data.train_windows} windows for {data.train_clips} clips: {part:.2f}"
    return Claim(f"packed: at most {_MOST_WINDOWS} of the windows an epoch", part <= _MOST_WINDOWS, found)


def _compare(unpacked: ReportedRun, packed: ReportedRun) -> Claim:
    scores = compare_long_forms(unpacked, packed)
    shown = evaluation_in_words(scores).replace("->", "without packing, with it", 1)
    return Claim("packed: long form is better than without packing", scores.verdict == "Better", shown)


def compare_long_forms(before: ReportedRun, after: ReportedRun) -> EvaluationScores:
    """Return the long form of one run's model against that of another, with the interval that a run itself reports.

    Both have heard the same recordings.
    """
    loaded, recordings = _opened(before)
    forms = [
        LongForm(run.folder(), recordings, _hear_nothing, loaded, Reporter(), StopRequest()) for run in (before, after)
    ]
    first, second = (form.stored(_step_of(run)) for form, run in zip(forms, (before, after), strict=True))
    if first is None or second is None:
        raise ValueError(f"{before.name} and {after.name} have not heard the same recordings")
    return forms[0].scores(first, second)


def _opened(run: ReportedRun) -> tuple[object, tuple[JoinedRecording, ...]]:
    opened = opening.open_clips(run.config, run.folder(), LIMITS)
    return opened.loaded, joined_recordings.join_clips(opened.clips.evaluation)


def _step_of(run: ReportedRun) -> int:
    return run.result.model.step if run.result.model else 0


def _hear_nothing(*_: object) -> list[LongTranscript]:
    raise NotImplementedError("the runs have heard the recordings")


def _exports(run: ReportedRun) -> list[Claim]:
    return [
        Claim(
            f"packed: the export {export.name} hears what the model hears",
            export.refused is None,
            export.refused or f"{export.score} over {export.clips} clips, the model itself {export.model_score}",
        )
        for export in run.result.exports or ()
    ]


def _reaches_the_end(run: ReportedRun) -> Claim:
    says = "packed: faster-whisper without its VAD goes on to the end of each joined recording"
    path = next((export.path for export in run.result.exports or () if export.path), None)
    if path is None:
        return Claim(says, holds=False, found="there is no export")
    _, recordings = _opened(run)
    reached = hear_with_faster_whisper(run.path_of(path), recordings, run.config.spec.language)
    shown = ", ".join(
        f"{each.last_end:.0f} of {each.recording_seconds:.0f} s in {each.segments} segments" for each in reached
    )
    return Claim(says, all(each.is_whole for each in reached), shown)


def hear_with_faster_whisper(export: Path, recordings: Sequence[JoinedRecording], language: str) -> list[Reach]:
    """Return how far faster-whisper comes in each recording: with timestamps, without its voice activity detection."""
    from faster_whisper import WhisperModel  # noqa: PLC0415 -- it takes seconds to load

    whisper = WhisperModel(str(export), device="cpu", local_files_only=True)
    reached = []
    for recording in recordings:
        samples = joined_recordings.read_joined_samples(recording)
        found, _ = whisper.transcribe(samples, language=language, beam_size=1, vad_filter=False)
        segments = list(found)
        reached.append(Reach(recording.seconds, segments[-1].end if segments else 0.0, len(segments)))
    return reached


PACKING = Question("packing", (SANE.name, PACKED.name), answer_packing)
