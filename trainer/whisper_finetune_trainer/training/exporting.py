"""The exports of a finished run: each is made, heard by its own engine, and kept if it hears what the model hears.

The model is whole by then. So nothing that happens here fails the run: an export that cannot be made is refused, with
the reason. A stop in the middle leaves the other exports to the next attempt, which does not train again.
"""

import dataclasses
import gc
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple

from whisper_finetune_api.languages import language_code
from whisper_finetune_api.run import ReportedExport, TrainerConfig, TrainingResult
from whisper_finetune_api.v1alpha1.exports import DEFAULT_CHECKED_CLIPS, MOST_DRIFT_POINTS, ExportName
from whisper_finetune_api.v1alpha1.scores import kind_of_metric
from whisper_finetune_trainer.checkpoints import earlier_attempts
from whisper_finetune_trainer.data import clips as data_clips
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.layouts.layout import StreamLimits
from whisper_finetune_trainer.evaluation import evaluation_record, evaluations
from whisper_finetune_trainer.exports import engines
from whisper_finetune_trainer.exports.engine_process import EngineProcess
from whisper_finetune_trainer.exports.engines import ExportKind, HearingSettings
from whisper_finetune_trainer.machine.stopping import Stopped, StopRequest
from whisper_finetune_trainer.messages import errors
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.output import record
from whisper_finetune_trainer.output.folder_manifest import StoredFolder
from whisper_finetune_trainer.output.record import Record
from whisper_finetune_trainer.output.run_folder import MODEL, RunFolder
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.training import finished_run, opening

_FILE = "exports.json"
#: The API's bounds, in characters.
_LONGEST_REFUSAL, _LONGEST_MESSAGE = 256, 1024
logger = logging.getLogger(__name__)


class _RefusedError(Exception):
    """The text says why there is no such export."""


class _StoppedError(Exception):
    """A request to stop, as an Exception, so that the half-made folder is removed."""


class _Begun(Record):
    """Which exports were begun and not finished: what is in here at a start has ended its trainer without a word."""

    uid: str
    names: Tuple[ExportName, ...]


@dataclass(frozen=True)
class CheckedModel:
    """What exports are compared with: held-out clips, and what the model itself has heard of them."""

    clips: Tuple[Clip, ...]
    heard: Tuple[Transcript, ...]
    #: Without its network, whose memory the engines need.
    loaded: LoadedModel
    settings: HearingSettings

    def score_of(self, heard: Sequence[Transcript]) -> str:
        """Return the score of what was heard of the clips, by the run's own metric and normalizer."""
        figures = evaluations.measure_clips(self.clips, heard, self.loaded).to_report()
        return figures.score or figures.wer


def checked_model(
    config: TrainerConfig, clips: Sequence[Clip], heard: Sequence[Transcript], loaded: LoadedModel
) -> CheckedModel:
    """Return as many of the held-out clips as an export is checked with, evenly over all, and what was heard there."""
    number = min(config.spec.output.export_clips or DEFAULT_CHECKED_CLIPS, len(clips))
    chosen = [index * len(clips) // number for index in range(number)]
    ends = frozenset((loaded.tokenizer.eos_token_id, loaded.network.generation_config.pad_token_id))
    return CheckedModel(
        clips=tuple(clips[index] for index in chosen),
        heard=tuple(heard[index] for index in chosen),
        loaded=dataclasses.replace(loaded, network=None),
        settings=HearingSettings(loaded.prompt_ids, ends, loaded.most_label_tokens),
    )


def resume_exports(
    config: TrainerConfig,
    folder: RunFolder,
    result: TrainingResult,
    reporter: Reporter,
    stop: StopRequest,
    limits: StreamLimits,
) -> TrainingResult:
    """Make the exports that are missing of a run that an earlier attempt has trained."""
    return add_exports(config, folder, result, lambda: reopen_model(config, folder, result, limits), reporter, stop)


def reopen_model(
    config: TrainerConfig, folder: RunFolder, result: TrainingResult, limits: StreamLimits
) -> CheckedModel:
    """Return what exports of a finished run are compared with, from what its folder says that the model hears."""
    step = result.model.step if result.model else 0
    known = evaluation_record.read_evaluation(folder, step)
    if known is None:
        raise _RefusedError("an attempt ended before it was made, and what the model hears is not in the run's folder")
    opened = opening.open_clips(config, folder, limits)
    held_out = opened.clips.evaluation
    if known.clips != data_clips.digest_of_clips(held_out):
        raise _RefusedError("an attempt ended before it was made, and the held-out clips are not the same any more")
    return checked_model(config, held_out, evaluations.transcripts_in(known), opened.loaded)


def add_exports(
    config: TrainerConfig,
    folder: RunFolder,
    result: TrainingResult,
    open_checked: Callable[[], CheckedModel],
    reporter: Reporter,
    stop: StopRequest,
) -> TrainingResult:
    """Make the exports that are asked for and missing, and return the result with what became of each."""
    missing = finished_run.missing_exports(config.spec.output, folder, result)
    if not missing:
        return result
    exporting = _Exporting(config, folder, result, reporter, stop)
    try:
        with stop.interruptible():
            checked = open_checked()
    except Exception as error:  # noqa: BLE001 -- the run has its model, whatever is the matter with its data now
        return exporting.refuse_all(missing, error)
    # The training's network and its optimizer are gone, but for this.
    gc.collect()
    for name in missing:
        exporting.add(engines.KINDS[name], checked)
    return exporting.conclude()


class _Exporting:
    """Makes one export after the other, and writes result.json anew with each."""

    def __init__(
        self, config: TrainerConfig, folder: RunFolder, result: TrainingResult, reporter: Reporter, stop: StopRequest
    ) -> None:
        self._config = config
        self._folder = folder
        self._result = result
        self._reporter = reporter
        self._stop = stop
        #: In this attempt.
        self._refused: List[ExportName] = []
        found = folder.read_json(_FILE) if folder.outlives_the_pod else None
        begun = record.understand_record(_Begun, found)
        self._lost = begun.names if begun and begun.uid == folder.uid else ()

    def add(self, kind: ExportKind, checked: CheckedModel) -> None:
        """Make an export, or refuse it."""
        self._stop.check()
        try:
            self._try_to_make(kind, checked)
        except _StoppedError as stopped:
            self._note()
            self._folder.wait_until_written()
            raise stopped.__cause__ or stopped from None
        except Exception as error:  # noqa: BLE001 -- nothing fails a run that has its model
            self._refuse(kind.name, error)

    def refuse_all(self, names: Sequence[ExportName], error: Exception) -> TrainingResult:
        """Refuse all exports for one reason, and return the result."""
        for name in names:
            self._refuse(name, error)
        return self.conclude()

    def conclude(self) -> TrainingResult:
        """Write and return the result, whose message names the exports that were refused."""
        if self._refused:
            told = f"{self._result.message}; refused exports: {', '.join(self._refused)}"
            self._result = self._result.model_copy(update={"message": told[:_LONGEST_MESSAGE]})
            self._write_what_is_refused()
        return self._result

    def _try_to_make(self, kind: ExportKind, checked: CheckedModel) -> None:
        if kind.name in self._lost:
            raise _RefusedError("the trainer ended without a word while it was made, as it does without memory")
        engines.require_engines([kind.name])
        self._note(kind.name)
        self._folder.wait_until_written()
        self._make(kind, checked)
        self._folder.wait_until_written()

    def _make(self, kind: ExportKind, checked: CheckedModel) -> None:
        made: Dict[str, ReportedExport] = {}

        def fill(target: Path) -> None:
            try:
                with self._stop.interruptible():
                    made[kind.name] = self._convert_and_hear(kind, checked, target)
            except Stopped as stopped:
                raise _StoppedError from stopped

        def tell(stored: StoredFolder) -> None:
            size = sum(file.bytes for file in stored.manifest.files.values())
            whole = made[kind.name].model_copy(update={"path": stored.path, "sha256": stored.sha256, "bytes": size})
            # What may end the trainer is over.
            self._note()
            self._tell(whole)
            self._write_result()

        step = self._result.model.step if self._result.model else 0
        # In this order a whole export always has its result. A result without its export does not count.
        self._folder.write_folder(kind.path, step, fill, before_whole=tell)

    def _convert_and_hear(self, kind: ExportKind, checked: CheckedModel, target: Path) -> ReportedExport:
        model = self._folder.stored(MODEL)
        if model is None:
            raise _RefusedError("the final model is not whole any more")
        with EngineProcess(kind) as engine:
            with self._folder.reading(model) as opened:
                engine.convert(opened, target)
            engine.open(target, checked.settings)
            figures = self._hear(kind, checked, engine)
        (target / "README.md").write_text(self._card(kind, figures), encoding="utf-8")
        return figures

    def _hear(self, kind: ExportKind, checked: CheckedModel, engine: EngineProcess) -> ReportedExport:
        self._reporter.enter("Evaluating", clips_to_evaluate=len(checked.clips))
        heard, hearing = [], 0.0
        for clip in checked.clips:
            samples, started = examples.samples_of_item(clip), time.monotonic()
            heard.append(engine.hear(samples, clip.seconds))
            hearing += time.monotonic() - started
            self._reporter.clips_done(len(heard))
        seconds = sum(clip.seconds for clip in checked.clips)
        score, of_model = checked.score_of(heard), checked.score_of(checked.heard)
        drift, unit = abs(float(score) - float(of_model)), kind_of_metric(self._result.metric).unit
        logger.info(
            "export %s: %s%s, the model itself %s%s, over %d clips", kind.name, score, unit, of_model, unit, len(heard)
        )
        if drift > MOST_DRIFT_POINTS:
            raise _RefusedError(
                f"over {len(heard)} clips its score is {score}{unit} and the model's is {of_model}{unit}: they differ "
                f"by more than {MOST_DRIFT_POINTS} points"
            )
        speed = f"{min(seconds / max(hearing, 1e-6), 999_999):.2f}"
        return ReportedExport(name=kind.name, clips=len(heard), score=score, model_score=of_model, speed=speed)

    def _card(self, kind: ExportKind, figures: ReportedExport) -> str:
        spec, metric = self._config.spec, kind_of_metric(self._result.metric)
        use = kind.card.format(weights=kind.weights, language=language_code(spec.language), task=spec.task)
        return (
            f"# {self._config.name}: {kind.name}\n\n{use}\n"
            f"| | {metric.words} |\n|---|---|\n| the model itself | {figures.model_score}{metric.unit} |\n"
            f"| this export | {figures.score}{metric.unit} |\n\n"
            f"Over {figures.clips} held-out clips, with greedy decoding and without suppressed tokens. Its "
            f"engine heard {figures.speed} seconds of sound in a second, on the CPU of the trainer.\n"
        )

    def _refuse(self, name: ExportName, error: Exception) -> None:
        reason = str(error) if isinstance(error, _RefusedError) else errors.words_of(error)
        logger.warning("export %s is refused: %s", name, reason, exc_info=not isinstance(error, _RefusedError))
        self._refused.append(name)
        self._tell(ReportedExport(name=name, refused=reason[:_LONGEST_REFUSAL]))
        self._write_what_is_refused()

    def _write_what_is_refused(self) -> None:
        try:
            self._note()
            self._write_result()
            self._folder.wait_until_written()
        except Exception as error:  # noqa: BLE001 -- the storage itself may be why an export is refused
            logger.warning("what became of the exports cannot be written: %s", errors.words_of(error))

    def _tell(self, export: ReportedExport) -> None:
        others = tuple(each for each in self._result.exports or () if each.name != export.name)
        self._result = self._result.model_copy(update={"exports": (*others, export)})

    def _write_result(self) -> None:
        self._folder.write_json(earlier_attempts.RESULT_FILE, self._result.to_json_object())

    def _note(self, *names: ExportName) -> None:
        """Write down what is about to be made, because a trainer that is killed cannot say so."""
        if self._folder.outlives_the_pod:
            self._folder.write_json(_FILE, _Begun(uid=self._folder.uid, names=names).to_json_object())
