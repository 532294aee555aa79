"""The README.md of a model's folder: what the model is, what it was made from, and how well it hears. Pure."""

from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence

from whisper_finetune_api import addresses
from whisper_finetune_api.languages import LANGUAGES, language_code
from whisper_finetune_api.run import Accelerator, HubCommits, Schedule, TrainerReport, TrainingResult
from whisper_finetune_api.v1alpha1 import UNPACKED, WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.scores import (
    EvaluationScores,
    Metric,
    MetricKind,
    Result,
    Validation,
    WordErrorRate,
    kind_of_metric,
    verdict_of,
)

_USE = """\
## Use

```python
from transformers import pipeline

recognize = pipeline("automatic-speech-recognition", model="THIS FOLDER")
print(recognize("speech.wav")["text"])
```
"""
#: Explains rows of the table.
_LOOPS = (
    "A loop is a text that never ends or repeats its end. Nothing of it counts as heard. Without clips that loop, the "
    "interval is {} to {}."
)
_CHANCE = " An interval that holds zero means that the difference may be chance."


@dataclass(frozen=True)
class DescribedRun:
    """A run as its cards and its report describe it, with the schedule and the commits that it really has."""

    namespace: str
    name: str
    uid: str
    spec: WhisperFineTuneSpec
    accelerator: Accelerator
    schedule: Schedule
    commits: HubCommits


def model_card(run: DescribedRun, report: TrainerReport, step: int, result: Optional[Result]) -> str:
    """Return the card, in Markdown, of the model after `step`.

    `result` has the figures of this model, or is None if it was not evaluated.
    """
    sections = [
        _front_matter(run.spec),
        _title(run.name, run.spec),
        _figures(report, result),
        _training(run, report, step),
        _use(run.spec),
    ]
    return "\n".join(sections)


def _front_matter(spec: WhisperFineTuneSpec) -> str:
    # Only what the Hub understands: base model and data set are named only if they have an id there.
    lines = ["---", f"language: {language_code(spec.language)}", "library_name: transformers"]
    lines += ["pipeline_tag: automatic-speech-recognition", "tags: [whisper]"]
    if addresses.parse_address(spec.model) is None:
        lines.append(f"base_model: {spec.model}")
    if addresses.parse_address(spec.dataset.source) is None:
        lines.append(f"datasets: [{spec.dataset.source}]")
    return "\n".join([*lines, "---", ""])


def _title(name: str, spec: WhisperFineTuneSpec) -> str:
    purpose = "translates into English from" if spec.task == "translate" else "transcribes"
    return (
        f"# {name}\n\n"
        f"Whisper that {purpose} {LANGUAGES[language_code(spec.language)].capitalize()}: `{spec.model}`, fine-tuned on "
        f"`{spec.dataset.source}`.\n"
    )


def _figures(report: TrainerReport, result: Optional[Result]) -> str:
    kind = kind_of_metric(report.metric)
    if report.baseline is None or result is None:
        return f"## {kind.heading}\n\nNot measured for this checkpoint.\n"
    if result.part == "Validation":
        return _figures_of_validation(kind, report.validation, result)
    lines = [f"## {kind.heading}", "", "| | before | after |", "|---|---|---|"]
    lines += _rows(kind.words, report.baseline, result)
    clips = f"all {report.data.eval_clips} held-out clips" if report.data else "the held-out clips"
    over = "In percent, over" if kind.unit else "Over"
    lines += ["", f"{over} {clips}, each in the model's full window, with greedy decoding."]
    if report.metric is not None:
        lines.append(f"Normalizer: {report.metric.normalizer}.")
    verdict = [*_verdict(report, result), *_acceptance(report)]
    return "\n".join([*lines, *_comparison(kind, report.baseline, result), *verdict, ""])


def _verdict(report: TrainerReport, result: Result) -> List[str]:
    validation, metric = report.validation, report.metric
    chosen = "" if validation is None else f" It was chosen by {validation.clips} other clips."
    if validation and not validation.has_gained(metric):
        chosen += " On those, no evaluation was better than the model that it was made from."
    verdict = verdict_of(result, validation, metric, report.evaluations or ())
    joined = [f"{note}\n" for note in notes_on_recordings(report)]
    return [f"Verdict: {verdict}.{chosen}", *_table_of_evaluations(evaluation_rows(report, result)), *joined]


def notes_on_recordings(report: TrainerReport) -> List[str]:
    """Return a sentence for each evaluation of joined recordings: what is joined, and how well timestamps fit."""
    joined = [(each.name, each.recordings) for each in report.evaluations or () if each.recordings]
    return [
        f"{name}: held-out clips joined to {found.recordings} recording{'s' if found.recordings > 1 else ''} of "
        f"{found.seconds} s, heard with timestamps; {found.in_words()}."
        for name, found in joined
    ]


class EvaluationRow(NamedTuple):
    """What was measured on one data set, as card and report show it in a table."""

    name: str
    clips: str
    metric: str
    before: str
    after: str
    #: Ends of the 95 % interval of the difference.
    difference: str
    verdict: str


def evaluation_rows(report: TrainerReport, result: Optional[Result]) -> List[EvaluationRow]:
    """Return the held-out clips and all further data sets as rows. There are none where nothing else is measured."""
    if not report.evaluations or report.baseline is None or result is None:
        return []
    kind, clips = kind_of_metric(report.metric), report.data.eval_clips if report.data else ""
    own = EvaluationRow(
        "held-out",
        f"{clips}{_of_few(result.speakers)}",
        kind.words,
        report.baseline.score or "",
        result.score or "",
        _interval_in_words(result.difference_low, result.difference_high),
        verdict_of(result, report.validation, report.metric),
    )
    return [own, *(_row_of_evaluation(each, report.metric) for each in report.evaluations)]


def _row_of_evaluation(found: EvaluationScores, metric: Optional[Metric]) -> EvaluationRow:
    language = f", {LANGUAGES.get(found.language, found.language).capitalize()}" if found.language else ""
    return EvaluationRow(
        f"{found.name}{language}",
        f"{found.clips or 0}{_of_few(found.speakers)}{f' ({found.copies} learned)' if found.copies else ''}",
        found.kind(metric).words,
        found.baseline or "",
        found.result or "",
        _interval_in_words(found.difference_low, found.difference_high),
        f"{found.verdict}: {found.reason}" if found.reason else found.verdict or "",
    )


def _of_few(speakers: Optional[int]) -> str:
    """Return for whom alone the interval holds, where there are too few speakers for others."""
    return "" if speakers is None else f" of {speakers} speaker{'s' if speakers > 1 else ''} alone"


def _interval_in_words(low: Optional[str], high: Optional[str]) -> str:
    return "" if low is None or high is None else f"{low} to {high}"


def _table_of_evaluations(rows: Sequence[EvaluationRow]) -> List[str]:
    if not rows:
        return []
    head = [
        "",
        "| data | clips | score | before | after | difference, 95 % | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    return [*head, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _acceptance(report: TrainerReport) -> List[str]:
    judgement = report.acceptance if isinstance(report, TrainingResult) else None
    if judgement is None:
        return []
    return [
        "Accepted by the run's `spec.acceptance`." if judgement.accepted else f"**Not accepted**: {judgement.message}."
    ]


def _figures_of_validation(kind: MetricKind, validation: Optional[Validation], result: Result) -> str:
    before = f" (before training {validation.baseline}{kind.unit})" if validation else ""
    clips = f"{validation.clips} " if validation else ""
    return (
        f"## {kind.heading}\n\n{kind.words} {result.score}{kind.unit}{before}, over the {clips}validation clips by "
        "which the best model of the run is chosen. A figure that is chosen by is flattering: that of the final model "
        "is of other clips.\n"
    )


def _rows(score: str, before: WordErrorRate, after: Result) -> List[str]:
    rows = [f"| {score} | {before.score} | {after.score} |"]
    if after.unseen_texts is not None:
        unseen = after.unseen_texts
        rows.append(f"| {score}, {unseen.clips} texts not in train | {unseen.baseline} | {unseen.result} |")
    if after.without_loops is not None:
        rest = after.without_loops
        rows.append(f"| {score}, {rest.clips} clips that never loop | {rest.baseline} | {rest.result} |")
        loops = before.score_with_loops or before.score, after.score_with_loops or after.score
        rows.append(f"| {score}, if all of the loops counted | {loops[0]} | {loops[1]} |")
        rows.append(f"| clips that loop | {before.looped_clips or 0} | {after.looped_clips or 0} |")
    if before.cut_clips or after.cut_clips:
        rows.append(f"| clips whose text is cut at the limit | {before.cut_clips or 0} | {after.cut_clips or 0} |")
    if before.bleu and after.bleu:
        rows.append(f"| BLEU | {before.bleu} | {after.bleu} |")
    return [*rows, f"| WER as written | {before.wer} | {after.wer} |"]


def _comparison(kind: MetricKind, before: WordErrorRate, after: Result) -> List[str]:
    if after.difference_low is None or after.difference_high is None:
        return []
    low, high = after.difference_low, after.difference_high
    is_worse = kind.is_better(before.score, after.score)
    worse = "**This model is worse than the one it was made from.** " if is_worse else ""
    surely = _CHANCE if after.may_be_chance else ""
    interval = f"between {low} and {high} points (95 %, paired bootstrap over {after.interval_over})"
    rest = after.without_loops
    loops = [] if rest is None else [_LOOPS.format(rest.difference_low, rest.difference_high)]
    return [f"{worse}The difference of the {kind.words} is {interval}.{surely}", *loops]


def _training(run: DescribedRun, report: TrainerReport, step: int) -> str:
    schedule, training = run.schedule, run.spec.training
    batch_size = schedule.replicas * training.batch_size
    what = "clips" if training.packing in UNPACKED else "windows"
    lines = ["## Training", "", f"- step {step} of {schedule.steps}, {batch_size} {what} each, seed {training.seed}"]
    lines.append(f"- learning rate {schedule.learning_rate:g}, linear, {schedule.warmup_steps} steps of warm-up")
    is_frozen = training.trainable == "Decoder"
    lines.append("- the decoder alone; the encoder is unchanged" if is_frozen else "- all weights")
    if report.mixing is not None:
        lines.append(f"- {report.mixing.in_words()}")
    if report.data is not None:
        data = report.data
        lines.append(f"- {data.train_clips} clips; {data.dropped_clips} of the data set could not be used")
    commits = run.commits.in_words()
    if commits:
        lines.append(f"- commits of the Hub: {commits}")
    if report.ran_on is not None:
        ran_on = report.ran_on
        lines.append(f"- on {ran_on.hardware}, precision {ran_on.precision}, with {ran_on.software}")
    return "\n".join([*lines, ""])


def _use(spec: WhisperFineTuneSpec) -> str:
    return f"{_USE}\nIt knows its language ({language_code(spec.language)}) and task ({spec.task}) by itself.\n"
