"""The run's evaluations. Each is made once in all attempts, and kept in the run's folder with what was heard."""

import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Callable, ContextManager, Optional, Sequence, Tuple

from whisper_finetune_api.v1alpha1.scores import (
    DrawnUnits,
    EvaluationScores,
    Metric,
    Part,
    Result,
    WordErrorRate,
    verdict_of,
)
from whisper_finetune_trainer.data import clips as data_clips
from whisper_finetune_trainer.data import held_out
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import evaluation_record, intervals, wer
from whisper_finetune_trainer.evaluation.clip_counts import ClipCounts, ClipGroups
from whisper_finetune_trainer.evaluation.evaluation_record import BASELINE_STEP, EvaluationRecord
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model.backend import Backend
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.progress.progress import Reporter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What the model after one step hears in the clips of one part, and its scores. Step 0 is the baseline."""

    step: int
    heard: Tuple[Transcript, ...]
    measurement: wer.Measurement
    part: Part = "HeldOut"

    @property
    def hypotheses(self) -> Tuple[str, ...]:
        """The texts as they were heard, one per clip. Loops are not removed."""
        return tuple(transcript.text for transcript in self.heard)

    def to_report(self) -> WordErrorRate:
        """Return the figures as the status shows them, with the part that they are of."""
        part = None if self.part == "HeldOut" else self.part
        cut = sum(transcript.ran_into_a_limit for transcript in self.heard)
        return self.measurement.to_report().model_copy(update={"part": part, "cut_clips": cut or None})


def transcripts_in(record: EvaluationRecord) -> Tuple[Transcript, ...]:
    """Return what was heard, one transcript per clip."""
    return tuple(
        Transcript(text, index in record.cut, index in record.unended) for index, text in enumerate(record.hypotheses)
    )


class Evaluations:
    """Makes, stores and reads a run's evaluations on the clips of one part."""

    def __init__(
        self,
        folder: RunFolder,
        clips: Tuple[Clip, ...],
        loaded: LoadedModel,
        backend: Backend,
        reporter: Reporter,
        stop: StopRequest,
        part: Part = "HeldOut",
        name: Optional[str] = None,
        prompted: Callable[[], ContextManager[None]] = nullcontext,
    ) -> None:
        """`clips` are those of the part, or of the further data set of that `name`, and are not trained on.

        While `prompted` is entered, the backend hears the language and the task of the clips.
        """
        self._part = part
        self._name = name
        self._prompted = prompted
        self._folder = folder
        self._clips = clips
        self._loaded = loaded
        self._backend = backend
        self._reporter = reporter
        self._stop = stop
        self._metric = wer.metric(loaded.text_language_code, loaded.spellings, loaded.task)
        self._clips_digest = data_clips.digest_of_clips(clips)

    def stored(self, step: int) -> Optional[Evaluation]:
        """Return the evaluation that this run has stored for a step and these clips, or None."""
        record = evaluation_record.read_evaluation(self._folder, step, self._part, self._name)
        if record is None or record.clips != self._clips_digest:
            return None
        return self._measured(step, transcripts_in(record))

    def make(self, step: int) -> Evaluation:
        """Transcribe the clips with the model as it is now, and measure the texts. Raises Stopped on SIGTERM."""
        self._reporter.enter("Evaluating", clips_to_evaluate=len(self._clips), part=self._part, name=self._name)
        started = time.monotonic()
        with self._stop.interruptible(), self._prompted():
            heard = tuple(self._backend.transcribe(self._clips, self._reporter.clips_done))
        evaluation = self._measured(step, heard)
        figures = evaluation.to_report()
        logger.info(
            "step %d: %s %s%s, %s, over %d %sclips%s, in %.0f s",
            step,
            self._metric.kind.words,
            figures.score,
            self._metric.kind.unit,
            f"BLEU {figures.bleu}" if figures.bleu else f"as written {figures.wer} %",
            len(self._clips),
            "validation " if self._part == "Validation" else "",
            f" of {self._name}" if self._name else "",
            time.monotonic() - started,
        )
        self._warn_of_loops(evaluation)
        self._reporter.evaluated(step, figures, self._name)
        return evaluation

    def store(self, evaluation: Evaluation) -> None:
        """Write an evaluation into the run's folder."""
        record = EvaluationRecord(
            step=evaluation.step,
            uid=self._folder.uid,
            clips=self._clips_digest,
            figures=evaluation.to_report(),
            hypotheses=evaluation.hypotheses,
            unended=tuple(index for index, transcript in enumerate(evaluation.heard) if transcript.is_unended),
            cut=tuple(index for index, transcript in enumerate(evaluation.heard) if transcript.is_cut),
        )
        evaluation_record.write_evaluation(self._folder, record, self._name)

    def baseline(self) -> Evaluation:
        """Return the evaluation of the untrained model: the stored one, else make and store it."""
        return self.stored(BASELINE_STEP) or self.make_and_store(BASELINE_STEP)

    def make_and_store(self, step: int) -> Evaluation:
        """Make the evaluation of the model as it is now, and store it."""
        made = self.make(step)
        self.store(made)
        return made

    def _measured(self, step: int, heard: Tuple[Transcript, ...]) -> Evaluation:
        return Evaluation(step, heard, measure_clips(self._clips, heard, self._loaded), self._part)

    def _warn_of_loops(self, evaluation: Evaluation) -> None:
        looped = evaluation.measurement.loops
        if looped:
            named = ", ".join(
                f"{self._clips[index].identifier} ({evaluation.hypotheses[index][:40]}...)" for index in looped[:5]
            )
            logger.warning(
                "step %d: the text of %d of %d clips never ends or repeats its end, and does not count as heard: %s",
                evaluation.step,
                len(looped),
                len(self._clips),
                named,
            )


def measure_clips(clips: Sequence[Clip], heard: Sequence[Transcript], loaded: LoadedModel) -> wer.Measurement:
    """Return what counts of what was heard. `clips` and `heard` are in the same order."""
    references, hypotheses = [clip.text for clip in clips], [transcript.text for transcript in heard]
    looped = wer.find_loops(references, heard)
    groups = ClipGroups(
        tuple(clip.speaker for clip in clips), tuple(held_out.recording_of(clip) or "" for clip in clips)
    )
    language = loaded.text_language_code, loaded.spellings
    return wer.measure_texts(references, hypotheses, *language, looped, loaded.task, groups)


def compare_evaluations(before: Evaluation, after: Evaluation) -> Result:
    """Return the figures after training, with the intervals of their difference to those before. Same clips in both."""
    old, new = before.measurement.scored, after.measurement.scored
    interval = intervals.of_difference(old, new)
    return Result(
        **after.to_report().model_dump(),
        difference_low=wer.points_text(interval.low) if interval else None,
        difference_high=wer.points_text(interval.high) if interval else None,
        without_loops=wer.without_loops(before.measurement, after.measurement),
        drawn=units_drawn(old),
        speakers=intervals.few_speakers(old),
    )


def units_drawn(measured: ClipCounts) -> Optional[DrawnUnits]:
    """Return what the interval of these counts is drawn from, or None where that is single clips."""
    drawn = intervals.draw_by(measured)
    return None if drawn.unit == "Clips" else DrawnUnits(unit=drawn.unit, units=len(drawn.members))


_WITHOUT_WORDS = "its texts have no word to compare"


def scores_with_result(known: EvaluationScores, result: Result, metric: Metric) -> EvaluationScores:
    """Return the scores of an evaluation with its result, and with the verdict on that."""
    has_words = result.difference_low is not None
    return known.model_copy(
        update={
            "result": result.score,
            "difference_low": result.difference_low,
            "difference_high": result.difference_high,
            "drawn": result.drawn,
            "speakers": result.speakers,
            "verdict": verdict_of(result, None, metric) if has_words else "NotMeasured",
            "reason": None if has_words else _WITHOUT_WORDS,
        }
    )
