"""The content of the report, derived from a finished training. Pure."""

from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

from whisper_finetune_api.languages import text_language_code
from whisper_finetune_api.run import TrainingResult
from whisper_finetune_trainer.checkpoints.step_record import Stretch
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.evaluation import clip_changes, wer
from whisper_finetune_trainer.evaluation.clip_changes import Alignment, ClipChanges, LengthGroup
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.model.model_card import DescribedRun
from whisper_finetune_trainer.report import charts, interval_chart, report_figures, run_facts
from whisper_finetune_trainer.report.charts import Chart, MeasuredStep
from whisper_finetune_trainer.report.interval_chart import IntervalChart
from whisper_finetune_trainer.report.report_figures import FigureRow, FrequentErrors, Headline
from whisper_finetune_trainer.report.run_facts import Fact

_CHECKPOINTS = "checkpoints/"
_SHOWN_OF_LOOP = 120


@dataclass(frozen=True)
class FinishedTraining:
    """Everything that the report is made from."""

    run: DescribedRun
    result: TrainingResult
    clips: Clips
    baseline: Evaluation
    #: The evaluations after the baseline, in order.
    history: Tuple[Evaluation, ...]
    #: The evaluation of the model that becomes the final one.
    final: Evaluation
    #: The normalizer that was applied to texts before they were compared.
    normalize: Callable[[str], str]
    stretches: Tuple[Stretch, ...]
    #: How long the trainer ran in all attempts.
    seconds: float
    #: How many IPUs, GPUs or CPUs it had.
    devices: int


@dataclass(frozen=True)
class Loop:
    """A clip whose text is a loop. `when` is before or after training, and `text` is the begin of the text."""

    clip: Clip
    when: str
    text: str


@dataclass(frozen=True)
class ReportData:
    """The report's content, from top to bottom."""

    title: str
    subtitle: str
    #: Whisper's code of the language of the texts.
    language: str
    metric: str
    #: What the score counts: `words` or `letters`.
    counted: str
    headline: Optional[Headline]
    figures: Tuple[FigureRow, ...]
    loops: Tuple[Loop, ...]
    curves: Tuple[Chart, ...]
    measured: Tuple[MeasuredStep, ...]
    baseline_percent: float
    intervals: Optional[IntervalChart]
    lengths: Tuple[LengthGroup, ...]
    changes: ClipChanges
    frequent: Tuple[FrequentErrors, ...]
    data_facts: Tuple[Fact, ...]
    dropped: Tuple[Tuple[str, int], ...]
    dropped_examples: Tuple[str, ...]
    run_facts: Tuple[Fact, ...]
    manifest: str


def gather_report(finished: FinishedTraining) -> ReportData:
    """Return the report's content for a finished training."""
    run, result, clips = finished.run, finished.result, finished.clips
    before, after = _alignments(finished, finished.baseline), _alignments(finished, finished.final)
    measurements = finished.baseline.measurement, finished.final.measurement
    headline = report_figures.make_headline(*measurements)
    lengths = clip_changes.by_length(clips.evaluation, *measurements)
    measured = _measured(finished)
    metric = report_figures.metric_name(result.metric)
    return ReportData(
        title=f"{run.namespace}/{run.name}",
        subtitle=run_facts.training_in_a_sentence(run.spec),
        language=text_language_code(run.spec.language, run.spec.task),
        metric=metric,
        counted="letters" if measurements[0].is_by_letter else "words",
        headline=headline,
        figures=report_figures.figure_rows(*measurements, result.result),
        loops=_loops(finished),
        curves=_curves(finished, measured, metric),
        measured=measured,
        baseline_percent=finished.baseline.measurement.score,
        intervals=interval_chart.draw_intervals(report_figures.interval_rows(headline, lengths)) if headline else None,
        lengths=lengths,
        changes=clip_changes.compare_clips(clips.evaluation, before, after),
        frequent=tuple(
            report_figures.most_frequent_errors(before, after, kind) for kind in ("substituted", "deleted", "inserted")
        ),
        data_facts=run_facts.facts_of_data(run.spec, clips),
        dropped=tuple(clips.all_dropped().items()),
        dropped_examples=clips.all_examples(),
        run_facts=run_facts.facts_of_run(
            run, result, finished.final.step, finished.stretches, finished.seconds, finished.devices
        ),
        manifest=run_facts.manifest_yaml(run.namespace, run.name, run.spec),
    )


def _alignments(finished: FinishedTraining, evaluation: Evaluation) -> List[Alignment]:
    hypotheses = [finished.normalize(text) for text in evaluation.hypotheses]
    measured = evaluation.measurement
    return clip_changes.align(measured.normalized_references, wer.without(hypotheses, measured.loops))


def _loops(finished: FinishedTraining) -> Tuple[Loop, ...]:
    evaluations = (("before", finished.baseline), ("after", finished.final))
    return tuple(
        Loop(finished.clips.evaluation[index], when, evaluation.hypotheses[index][:_SHOWN_OF_LOOP])
        for when, evaluation in evaluations
        for index in evaluation.measurement.loops
    )


def _measured(finished: FinishedTraining) -> Tuple[MeasuredStep, ...]:
    kept = {item.step for item in finished.result.checkpoints if item.path.startswith(_CHECKPOINTS)}
    return tuple(
        MeasuredStep(
            step=evaluation.step,
            percent=evaluation.measurement.score,
            is_kept=evaluation.step in kept,
            is_final=evaluation.step == finished.final.step,
        )
        for evaluation in finished.history
    )


def _curves(finished: FinishedTraining, measured: Tuple[MeasuredStep, ...], metric: str) -> Tuple[Chart, ...]:
    last_step = max([1, *(item.step for item in measured), *(item.last_step for item in finished.stretches[-1:])])
    baseline = finished.baseline.measurement.score
    return (
        charts.error_rate_curve(baseline, measured, last_step, metric),
        charts.loss_curve(finished.stretches),
        charts.learning_rate_curve(finished.stretches),
    )
