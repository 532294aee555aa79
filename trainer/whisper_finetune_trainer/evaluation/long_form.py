"""The evaluation `long-form`: held-out clips joined to recordings of minutes, heard before and after the training.

Few recordings are joined. So the interval of the difference is over their stretches of half a minute, and is widened,
because these are few too.
"""

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from statistics import median
from typing import Optional, Sequence, Tuple, Union

from pydantic import Field

from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.api_model import Digest
from whisper_finetune_api.v1alpha1.scores import EvaluationScores, JoinedScores, Result
from whisper_finetune_trainer.data import clips as data_clips
from whisper_finetune_trainer.data import joined_recordings
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.joined_recordings import JoinedRecording
from whisper_finetune_trainer.evaluation import evaluations, intervals, joined_texts, wer
from whisper_finetune_trainer.evaluation.evaluation_record import BASELINE_STEP
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.evaluation.intervals import Interval
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model.backend import Backend
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.sequential_transcription import (
    LongTranscript,
    NoTranscription,
    TranscribeRecordings,
)
from whisper_finetune_trainer.output import record
from whisper_finetune_trainer.output.record import Record
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.progress.progress import Reporter

NAME = "long-form"
_TOO_LITTLE = "fewer than two minutes of held-out clips can be joined"
_FILE = "long-form/evaluation-{}.json"
#: Between fewer there is nothing to draw from.
_FEWEST_STRETCHES = 2
#: The API's pattern takes no more digits.
_LONGEST_SECONDS = 9_999.99
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LongFormEvaluation(Evaluation):
    """What the model after one step hears in the stretches of the recordings, and how far its timestamps are off."""

    boundary_errors: Tuple[float, ...] = ()
    looped_windows: int = 0
    cut_windows: int = 0

    @property
    def boundary_seconds(self) -> Optional[float]:
        """The median error of the boundaries that timestamps were found for, in seconds. None: there are none."""
        return median(self.boundary_errors) if self.boundary_errors else None


class _Record(Record):
    """What was heard in each recording, window by window."""

    step: int = Field(ge=0)
    uid: str
    recordings: Digest
    heard: Tuple[LongTranscript, ...]


def open_long_form(
    spec: WhisperFineTuneSpec,
    clips: Sequence[Clip],
    folder: RunFolder,
    loaded: LoadedModel,
    backend: Backend,
    reporter: Reporter,
    stop: StopRequest,
) -> "Union[LongForm, EvaluationScores, None]":
    """Return what measures the model on the clips joined, or the scores that say why nothing does.

    Return None where nobody asks for it: `spec.longForm` is false, or it is absent and there are too few clips.
    """
    if spec.long_form is False:
        return None
    recordings = joined_recordings.join_clips(clips)
    if not recordings:
        logger.info("%s is not measured: %s", NAME, _TOO_LITTLE)
        return _not_measured(_TOO_LITTLE) if spec.long_form else None
    transcribe = backend.recording_transcriber()
    if isinstance(transcribe, NoTranscription):
        logger.warning("%s is not measured: %s", NAME, transcribe.reason)
        return _not_measured(transcribe.reason)
    return LongForm(folder, recordings, transcribe, loaded, reporter, stop)


def _not_measured(reason: str) -> EvaluationScores:
    return EvaluationScores(name=NAME, verdict="NotMeasured", reason=reason)


class LongForm:
    """Makes, stores and reads the evaluations of joined recordings."""

    def __init__(
        self,
        folder: RunFolder,
        recordings: Tuple[JoinedRecording, ...],
        transcribe: TranscribeRecordings,
        loaded: LoadedModel,
        reporter: Reporter,
        stop: StopRequest,
    ) -> None:
        """`transcribe` hears the recordings with the model as it then is."""
        self._folder = folder
        self._recordings = recordings
        self._loaded = loaded
        self._transcribe = transcribe
        self._reporter = reporter
        self._stop = stop
        self._digest = _digest_of(recordings)
        self._metric = wer.metric(loaded.text_language_code, loaded.spellings, loaded.task)

    def baseline(self) -> LongFormEvaluation:
        """Return the evaluation of the untrained model: the stored one, else make and store it."""
        return self.stored(BASELINE_STEP) or self.make_and_store(BASELINE_STEP)

    def stored(self, step: int) -> Optional[LongFormEvaluation]:
        """Return the evaluation that this run has stored for a step and these recordings, or None."""
        found = record.read_record(_Record, self._folder.read_json(_FILE.format(step)))
        if found is None or (found.step, found.uid, found.recordings) != (step, self._folder.uid, self._digest):
            return None
        return self._measured(step, found.heard)

    def make_and_store(self, step: int) -> LongFormEvaluation:
        """Hear the recordings with the model as it is now, and store what was heard. Raises Stopped on SIGTERM."""
        self._reporter.enter("Evaluating", clips_to_evaluate=self._clips_until(None), name=NAME)
        started = time.monotonic()
        with self._stop.interruptible():
            heard = self._transcribe(self._recordings, lambda done: self._reporter.clips_done(self._clips_until(done)))
        made = self._measured(step, heard)
        written = _Record(step=step, uid=self._folder.uid, recordings=self._digest, heard=tuple(heard))
        self._folder.write_json(_FILE.format(step), written.to_json_object())
        self._log(made, time.monotonic() - started)
        self._reporter.evaluated(step, made.to_report(), NAME)
        return made

    def scores(self, before: LongFormEvaluation, after: Optional[LongFormEvaluation]) -> EvaluationScores:
        """Return what the status shows of the evaluation before training, and of that after it where it is made."""
        known = EvaluationScores(
            name=NAME,
            clips=self._clips_until(None),
            baseline=before.to_report().score,
            recordings=self._joined_scores(before, after),
        )
        if after is None:
            return known
        return evaluations.scores_with_result(known, _compared(before, after), self._metric)

    def _clips_until(self, recordings: Optional[int]) -> int:
        return sum(len(recording.placed) for recording in self._recordings[:recordings])

    def _measured(self, step: int, heard: Sequence[LongTranscript]) -> LongFormEvaluation:
        code = self._loaded.text_language_code
        compared = [joined_texts.compare_recording(*parts, code) for parts in zip(self._recordings, heard)]
        said = [text for each in compared for text in each.said]
        texts = [text for each in compared for text in each.heard]
        return LongFormEvaluation(
            step=step,
            heard=tuple(Transcript(text, is_cut=False) for text in texts),
            measurement=wer.measure_texts(said, texts, code, self._loaded.spellings, task=self._loaded.task),
            boundary_errors=tuple(error for each in compared for error in each.boundary_errors),
            looped_windows=sum(each.looped_windows for each in compared),
            cut_windows=sum(each.cut_windows for each in compared),
        )

    def _joined_scores(self, before: LongFormEvaluation, after: Optional[LongFormEvaluation]) -> JoinedScores:
        return JoinedScores(
            recordings=len(self._recordings),
            seconds=round(sum(recording.seconds for recording in self._recordings)),
            boundaries=2 * self._clips_until(None),
            baseline_found=len(before.boundary_errors),
            result_found=None if after is None else len(after.boundary_errors),
            baseline_seconds=_seconds_text(before.boundary_seconds),
            result_seconds=None if after is None else _seconds_text(after.boundary_seconds),
        )

    def _log(self, made: LongFormEvaluation, seconds: float) -> None:
        boundaries = f"{len(made.boundary_errors)} of {2 * self._clips_until(None)} boundaries found"
        if made.boundary_seconds is not None:
            boundaries += f", half of them within {made.boundary_seconds:.2f} s"
        logger.info(
            "step %d: %s: %s %s %%, over %d recordings of joined clips; %s; %d windows loop, %d ran into the limit of "
            "tokens; in %.0f s",
            made.step,
            NAME,
            self._metric.kind.words,
            made.to_report().score,
            len(self._recordings),
            boundaries,
            made.looped_windows,
            made.cut_windows,
            seconds,
        )


def _digest_of(recordings: Sequence[JoinedRecording]) -> str:
    """Return the sha256, in hex, of the recordings' clips, and of where each of them begins."""
    starts = [[round(part.start_seconds, 3) for part in recording.placed] for recording in recordings]
    digests = [data_clips.digest_of_clips([part.clip for part in recording.placed]) for recording in recordings]
    return hashlib.sha256(json.dumps([starts, digests]).encode()).hexdigest()


def _compared(before: LongFormEvaluation, after: LongFormEvaluation) -> Result:
    """Return the figures after training, with the interval of the difference as it is for few stretches."""
    result = evaluations.compare_evaluations(before, after)
    stretches = sum(words > 0 for words in before.measurement.scored.words)
    if result.difference_low is None or result.difference_high is None or stretches < _FEWEST_STRETCHES:
        return result
    drawn = Interval(float(result.difference_low), float(result.difference_high))
    interval = intervals.widen_for_few(drawn, after.measurement.score - before.measurement.score, stretches)
    low, high = map(wer.points_text, (interval.low, interval.high))
    return result.model_copy(update={"difference_low": low, "difference_high": high})


def _seconds_text(seconds: Optional[float]) -> Optional[str]:
    return None if seconds is None else f"{min(seconds, _LONGEST_SECONDS):.2f}"
