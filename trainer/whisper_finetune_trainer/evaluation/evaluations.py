"""The run's evaluations: each is made once, over all attempts, and kept in the run's folder with what was heard."""

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from typing import Optional, Tuple

from whisper_finetune_trainer.backend import Backend
from whisper_finetune_trainer.data.audio_places import Part
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import evaluation_record, wer
from whisper_finetune_trainer.evaluation.evaluation_record import BASELINE_STEP, EvaluationRecord
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.stopping import StopRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What the model of one step makes of the held-out clips; step 0 is the baseline."""

    step: int
    hypotheses: Tuple[str, ...]
    measurement: wer.Measurement


class Evaluations:
    """Makes an evaluation or finds the stored one."""

    def __init__(
        self,
        folder: RunFolder,
        clips: Tuple[Clip, ...],
        loaded: LoadedModel,
        backend: Backend,
        reporter: Reporter,
        stop: StopRequest,
    ) -> None:
        """`clips` are the held-out ones."""
        self._folder = folder
        self._clips = clips
        self._loaded = loaded
        self._backend = backend
        self._reporter = reporter
        self._stop = stop
        self._metric = wer.metric(loaded.text_language_code, loaded.spellings)
        self._clips_digest = digest_of(clips)

    def stored(self, step: int) -> Optional[Evaluation]:
        """Return the evaluation of a step that this run has made of these clips, else None."""
        record = evaluation_record.read(self._folder, step)
        if record is None or record.clips != self._clips_digest:
            return None
        return Evaluation(step, record.hypotheses, self._measure(record.hypotheses))

    def make(self, step: int) -> Evaluation:
        """Transcribe the clips with the model as it is now; Stopped may end it half-way."""
        self._reporter.enter("Evaluating", clips_to_evaluate=len(self._clips))
        started = time.monotonic()
        with self._stop.interruptible():
            hypotheses = tuple(self._backend.transcribe(self._clips, self._reporter.clips_done))
        evaluation = Evaluation(step, hypotheses, self._measure(hypotheses))
        figures = evaluation.measurement.to_report()
        logger.info(
            "step %d: %s %s %%, as written %s %%, over %d clips, in %.0f s",
            step,
            self._metric.words,
            figures.score,
            figures.wer,
            len(self._clips),
            time.monotonic() - started,
        )
        self._reporter.evaluated(step, figures)
        return evaluation

    def store(self, evaluation: Evaluation) -> None:
        """Keep an evaluation in the run's folder."""
        record = EvaluationRecord(
            step=evaluation.step,
            uid=self._folder.uid,
            clips=self._clips_digest,
            figures=evaluation.measurement.to_report(),
            hypotheses=evaluation.hypotheses,
        )
        evaluation_record.write(self._folder, record)

    def baseline(self) -> Evaluation:
        """Return the evaluation of the untrained model, made in the run's first attempt only."""
        known = self.stored(BASELINE_STEP)
        if known is not None:
            return known
        made = self.make(BASELINE_STEP)
        self.store(made)
        return made

    def _measure(self, hypotheses: Tuple[str, ...]) -> wer.Measurement:
        references = [clip.text for clip in self._clips]
        return wer.measure(references, hypotheses, self._loaded.text_language_code, self._loaded.spellings)


def digest_of(clips: Tuple[Clip, ...]) -> str:
    """Return the sha256 of the clips' names and texts, and where those that are parts begin and end, in their order."""
    rendered = json.dumps([[clip.identifier, clip.text, *_boundaries(clip)] for clip in clips], ensure_ascii=False)
    return hashlib.sha256(rendered.encode()).hexdigest()


def _boundaries(clip: Clip) -> Tuple[int, ...]:
    # Kaldi's utterances keep their names when somebody corrects their segments.
    return (clip.audio.start_frame, clip.audio.frames) if isinstance(clip.audio, Part) else ()
