"""The content of the report, derived from a finished training. Pure.

Its lists have the facts of the run: its data, its settings, its hardware and its time.
"""

from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

import yaml

from whisper_finetune_api.languages import LANGUAGES, language_code, text_language_code
from whisper_finetune_api.run import Accelerator, Schedule, TrainingResult
from whisper_finetune_api.v1alpha1 import GROUP, KIND, UNPACKED, VERSION, Training, WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.scores import kind_of_metric
from whisper_finetune_trainer.checkpoints.step_record import Stretch
from whisper_finetune_trainer.data.clips import Clip, duration_in_words, speech_in_words
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.evaluation import clip_changes, wer
from whisper_finetune_trainer.evaluation.clip_changes import Alignment, ClipChanges, LengthGroup
from whisper_finetune_trainer.evaluation.clip_counts import ClipFigure
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.evaluation.wer import Measurement
from whisper_finetune_trainer.model.model_card import DescribedRun, EvaluationRow, evaluation_rows, notes_on_recordings
from whisper_finetune_trainer.report import charts, interval_chart, report_figures
from whisper_finetune_trainer.report.charts import Chart, MeasuredStep, MixtureScore
from whisper_finetune_trainer.report.interval_chart import IntervalChart
from whisper_finetune_trainer.report.report_figures import FigureRow, FrequentErrors, Headline, MetricWords

_DEVICES = {"ipu": "IPU", "cuda": "GPU", "cpu": "CPU"}
_SPLITS = {
    "Given": "the data set's own split",
    "Fraction": "a fraction of the train split, drawn with a fixed seed",
    "Hash": "a fraction of the train split, drawn by a hash of each clip",
}
_NORMALIZATIONS = {
    "None": "as it is",
    "Basic": "in lower case without punctuation",
    "Whisper": "by Whisper's normalizer of the language",
}
#: The type in which matrix products are computed where the precision is Half.
_HALVES = {"ipu": "float16", "cuda": "bfloat16", "cpu": "bfloat16"}
_HOUR = 3600


@dataclass(frozen=True)
class Fact:
    """One entry of a list: its name and its text."""

    name: str
    text: str


class _Dumper(yaml.SafeDumper):
    """Quotes every text that a YAML reader may take for a number. kubectl takes 1e-5 for one, and PyYAML does not."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if text[:1].isdigit() else None)


_Dumper.add_representer(str, _represent_text)


def training_in_a_sentence(spec: WhisperFineTuneSpec) -> str:
    """Return in one phrase which model was trained, for what, and on which data."""
    language = LANGUAGES[language_code(spec.language)].capitalize()
    purpose = f"translate {language} into English" if spec.task == "translate" else f"transcribe {language}"
    return f"{spec.model}, fine-tuned to {purpose} on {_source(spec)}"


def facts_of_data(spec: WhisperFineTuneSpec, clips: Clips) -> Tuple[Fact, ...]:
    """Return how the data set was used."""
    dropped = sum(clips.all_dropped().values())
    return (
        Fact("Data set", _source(spec)),
        Fact("Trained on", clips.train.speech_in_words()),
        *((Fact("Packing", clips.packing_in_words()),) if clips.packed else ()),
        Fact("Held out", f"{speech_in_words([clip.seconds for clip in clips.evaluation])}; {_SPLITS[clips.split]}"),
        *_fact_of_validation(clips),
        Fact("Left out", f"{dropped} clips" if dropped else "none"),
        Fact("Text for training", _NORMALIZATIONS[spec.dataset.text_normalization]),
        *(Fact("Warning", warning) for warning in clips.warnings),
    )


def _fact_of_validation(clips: Clips) -> Tuple[Fact, ...]:
    if not clips.validation:
        return ()
    speech = speech_in_words([clip.seconds for clip in clips.validation])
    return (Fact("Chosen by", f"{speech}; validation clips, not trained on and not those of the result"),)


def facts_of_run(
    run: DescribedRun,
    result: TrainingResult,
    final_step: int,
    stretches: Sequence[Stretch],
    seconds: float,
    devices: int,
) -> Tuple[Fact, ...]:
    """Return what was run, on which hardware, and how long it took. `seconds` are those of the whole trainer."""
    spec, training = run.spec, run.spec.training
    commits = run.commits.in_words()
    facts = [
        Fact("Run", f"{run.namespace}/{run.name}, UID {run.uid}"),
        Fact("Model", f"{spec.model} at {spec.model_revision}" if spec.model_revision else spec.model),
        *([Fact("Commits of the Hub", commits)] if commits else []),
        Fact("Trained", "the decoder; the encoder is unchanged" if training.trainable == "Decoder" else "all weights"),
        Fact("Steps", f"{_steps(run.schedule, training, stretches)}; the final model is that of step {final_step}"),
        Fact("Learning rate", _rate(run.schedule)),
        Fact("Seed", str(training.seed)),
    ]
    if result.ran_on is not None:
        precision = _HALVES[run.accelerator] if result.ran_on.precision == "Half" else "float32"
        facts += [Fact("Hardware", result.ran_on.hardware), Fact("Software", result.ran_on.software)]
        facts.append(Fact("Precision", f"{result.ran_on.precision} ({precision})"))
    steps_seconds = sum(item.seconds for item in stretches)
    whole, of_steps = duration_in_words(seconds), duration_in_words(steps_seconds)
    facts += _fact_of_cut_texts(result, training.max_label_tokens)
    facts += [Fact("Mixed", result.mixing.in_words())] if result.mixing else []
    if result.verdict is not None:
        judged = f"; acceptance: {result.acceptance.known_reason}" if result.acceptance else ""
        facts.append(Fact("Verdict", f"{result.verdict}{judged}, as docs/trust.md has it"))
    facts.append(Fact("Time", f"{whole} in all, {of_steps} of it in optimizer steps"))
    facts.append(Fact(f"{_DEVICES[run.accelerator]}-hours", device_hours(run.accelerator, seconds, devices)))
    return (*facts, Fact("Measured", _how_measured(result)))


def _fact_of_cut_texts(result: TrainingResult, most_tokens: int) -> List[Fact]:
    cut = [figures.cut_clips or 0 for figures in (result.baseline, result.result) if figures]
    if not any(cut):
        return []
    counts = " before, ".join(map(str, cut))
    return [Fact("Texts cut", f"{counts} after, at {most_tokens} tokens or at what their clip can hold")]


def manifest_yaml(namespace: str, name: str, spec: WhisperFineTuneSpec) -> str:
    """Return the run's object as YAML that can be applied again."""
    described = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec.to_json_object(),
    }
    text: str = yaml.dump(described, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def device_hours(accelerator: Accelerator, seconds: float, devices: int) -> str:
    """Return the hours of all devices together, as text."""
    device = _DEVICES[accelerator]
    used = f"{devices} {device}{'s' if devices > 1 else ''} for {duration_in_words(seconds)}"
    return f"{devices * seconds / _HOUR:.2f} ({used})"


def _how_measured(result: TrainingResult) -> str:
    normalizer = f"normalizer: {result.metric.normalizer}; " if result.metric else ""
    return (
        "on all held-out clips, each in the model's full window, with greedy decoding, by the same code before and "
        f"after; {normalizer}intervals: 95 %, bootstrap over {result.interval_over}, paired for the difference"
    )


def _source(spec: WhisperFineTuneSpec) -> str:
    return " ".join(part for part in (spec.dataset.source, spec.dataset.config) if part)


def _steps(schedule: Schedule, training: Training, stretches: Sequence[Stretch]) -> str:
    factors = {
        "at a time": schedule.micro_batch_size,
        "accumulated": schedule.gradient_accumulation_steps,
        "replicas": schedule.replicas,
    }
    parts = " \u00d7 ".join(f"{factor} {name}" for name, factor in factors.items() if factor > 1)
    taken = stretches[-1].last_step if stretches else 0
    number = schedule.replicas * training.batch_size
    what = "clips" if training.packing in UNPACKED else "windows"
    return f"{taken} of {schedule.steps}, {number} {what} each" + (f" ({parts})" if parts else "")


def _rate(schedule: Schedule) -> str:
    return f"{schedule.learning_rate:g} at its highest, after {schedule.warmup_steps} steps; linear before and after"


_CHECKPOINTS = "checkpoints/"
_SHOWN_OF_LOOP = 120


@dataclass(frozen=True)
class FinishedTraining:
    """Everything that the report is made from."""

    run: DescribedRun
    result: TrainingResult
    clips: Clips
    baseline: Evaluation
    #: The evaluations by which the best model was chosen, the baseline first. They are on the validation clips, or the
    #: held-out ones where the last model was taken.
    measured: Tuple[Evaluation, ...]
    #: The evaluation of the model that becomes the final one, on the held-out clips.
    final: Evaluation
    #: The normalizer that was applied to texts before they were compared.
    normalize: Callable[[str], str]
    stretches: Tuple[Stretch, ...]
    #: How long the trainer ran in all attempts.
    seconds: float
    #: How many IPUs, GPUs or CPUs it had.
    devices: int
    #: Scores of mixed weights on the validation clips.
    mixtures: Tuple[MixtureScore, ...] = ()

    def all_evaluations(self) -> Tuple[Evaluation, ...]:
        """Return every evaluation once: on the held-out clips, and on the validation clips where there are any."""
        held_out = (self.baseline, self.final)
        return (*held_out, *(each for each in self.measured if each not in held_out))


@dataclass(frozen=True)
class Loop:
    """A clip whose text is a loop. `when` is before or after training, and `text` is the beginning of the text."""

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
    words: MetricWords
    #: What the scores are called together, and what stands behind each.
    heading: str
    unit: str
    headline: Optional[Headline]
    figures: Tuple[FigureRow, ...]
    evaluations: Tuple[EvaluationRow, ...]
    recordings: Tuple[str, ...]
    loops: Tuple[Loop, ...]
    curves: Tuple[Chart, ...]
    measured: Tuple[MeasuredStep, ...]
    baseline_percent: float
    #: Says which clips `measured` is of, where they are not the held-out ones.
    measured_on: str
    intervals: Optional[IntervalChart]
    lengths: Tuple[LengthGroup, ...]
    changes: ClipChanges
    frequent: Tuple[FrequentErrors, ...]
    data_facts: Tuple[Fact, ...]
    dropped: Tuple[Tuple[str, int], ...]
    dropped_examples: Tuple[str, ...]
    run_facts: Tuple[Fact, ...]
    manifest: str
    #: Why the model is not accepted, or empty.
    not_accepted: str
    interval_over: str


def gather_report(finished: FinishedTraining) -> ReportData:
    """Return the report's content for a finished training."""
    run, result, clips = finished.run, finished.result, finished.clips
    before, after = _alignments(finished, finished.baseline), _alignments(finished, finished.final)
    measurements = finished.baseline.measurement, finished.final.measurement
    headline = report_figures.make_headline(*measurements)
    lengths, measured = clip_changes.by_length(clips.evaluation, *measurements), _measured(finished)
    words, kind = report_figures.metric_words(result.metric), kind_of_metric(result.metric)
    return ReportData(
        title=f"{run.namespace}/{run.name}",
        subtitle=training_in_a_sentence(run.spec),
        language=text_language_code(run.spec.language, run.spec.task),
        words=words,
        heading=kind.heading,
        unit=kind.unit,
        headline=headline,
        figures=report_figures.figure_rows(*measurements, result.result),
        evaluations=tuple(evaluation_rows(result, result.result)),
        recordings=tuple(notes_on_recordings(result)),
        loops=_loops(finished),
        curves=_curves(finished, measured, words.name + _measured_on(finished), kind.unit),
        measured=measured,
        baseline_percent=finished.measured[0].measurement.score,
        measured_on=_measured_on(finished),
        intervals=_intervals(headline, lengths, kind.unit),
        lengths=lengths,
        changes=clip_changes.compare_clips(clips.evaluation, before, after, figures=_figures_of_clips(*measurements)),
        frequent=tuple(
            report_figures.most_frequent_errors(before, after, kind) for kind in ("substituted", "deleted", "inserted")
        ),
        data_facts=facts_of_data(run.spec, clips),
        dropped=tuple(clips.all_dropped().items()),
        dropped_examples=clips.all_examples(),
        run_facts=facts_of_run(
            run, result, finished.final.step, finished.stretches, finished.seconds, finished.devices
        ),
        manifest=manifest_yaml(run.namespace, run.name, run.spec),
        interval_over=result.interval_over,
        not_accepted=result.acceptance.message if result.acceptance and not result.acceptance.accepted else "",
    )


def _intervals(headline: Optional[Headline], lengths: Sequence[LengthGroup], unit: str) -> Optional[IntervalChart]:
    rows = report_figures.interval_rows(headline, lengths) if headline else None
    return interval_chart.draw_intervals(rows, unit) if rows else None


def _alignments(finished: FinishedTraining, evaluation: Evaluation) -> List[Alignment]:
    hypotheses = [finished.normalize(text) for text in evaluation.hypotheses]
    measured = evaluation.measurement
    return clip_changes.align(measured.normalized_references, wer.without(hypotheses, measured.loops))


def _figures_of_clips(before: Measurement, after: Measurement) -> List[Tuple[ClipFigure, ClipFigure]]:
    indexes = range(len(before.scored.words))
    return [(before.scored.of_clip(index), after.scored.of_clip(index)) for index in indexes]


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
        for evaluation in finished.measured[1:]
    )


def _measured_on(finished: FinishedTraining) -> str:
    return " of the validation clips" if finished.measured[0].part == "Validation" else ""


def _curves(finished: FinishedTraining, measured: Sequence[MeasuredStep], name: str, unit: str) -> Tuple[Chart, ...]:
    baseline = finished.measured[0].measurement.score
    return charts.training_curves(baseline, measured, finished.stretches, name, unit, finished.mixtures)
