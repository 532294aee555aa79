"""The outcome of a run: figures after training, the texts that were heard, the final model and result.json."""

import json
import shutil
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterable, List, Optional, Sequence

from whisper_finetune_api.run import ReportedModel, TrainerReport, TrainingResult
from whisper_finetune_api.v1alpha1 import acceptance
from whisper_finetune_api.v1alpha1.acceptance import Acceptance
from whisper_finetune_api.v1alpha1.scores import (
    EvaluationScores,
    Metric,
    Result,
    Validation,
    kind_of_metric,
    verdict_of,
)
from whisper_finetune_trainer.checkpoints import earlier_attempts
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.evaluation import evaluations, intervals, wer
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.output.folder_manifest import StoredFolder
from whisper_finetune_trainer.output.run_folder import CHECKPOINTS, MODEL, RunFolder
from whisper_finetune_trainer.progress.progress import Snapshot

_TEXTS_FILE = "evaluation.jsonl"


def compare_with_baseline(before: Evaluation, after: Evaluation, clips: Clips, loaded: LoadedModel) -> Result:
    """Return the figures after training, with the intervals of their difference to the baseline."""
    unseen = wer.unseen(
        before.measurement,
        after.measurement,
        clips.train.texts(),
        loaded.text_language_code,
        loaded.spellings,
    )
    return evaluations.compare_evaluations(before, after).model_copy(update={"unseen_texts": unseen})


#: The evaluation of the held-out texts with their punctuation and case, which a run reports only where it is worse.
_AS_WRITTEN = "as-written"


def find_worse_as_written(before: Evaluation, after: Evaluation) -> Optional[EvaluationScores]:
    """Return the word error rates of the texts as they are written, where these are shown to be worse, else None.

    The score is of normalized texts, so it does not see punctuation and case. A model that is trained on transcripts
    without them forgets them, and would be called Better all the same. Letters are counted where words are not
    separated, and chrF is of the texts as they are written: then there is nothing more to see.
    """
    if after.measurement.metric != "wer":
        return None
    old, new = before.measurement.written, after.measurement.written
    interval = intervals.of_difference(old, new)
    if interval is None or interval.low <= 0:
        return None
    return EvaluationScores(
        name=_AS_WRITTEN,
        verdict="Worse",
        clips=len(after.heard),
        baseline=wer.percent_text(old.percent()),
        result=wer.percent_text(new.percent()),
        difference_low=wer.points_text(interval.low),
        difference_high=wer.points_text(interval.high),
        drawn=evaluations.units_drawn(old),
        speakers=intervals.few_speakers(old),
    )


def describe_result(
    baseline: Evaluation,
    result: Result,
    metric: Optional[Metric],
    validation: Optional[Validation] = None,
    further: Sequence[EvaluationScores] = (),
) -> str:
    """Return result and verdict in one sentence.

    It says where the model is worse, also on `further` data, where chance may explain the change, and where nothing
    beat the baseline on the validation clips.
    """
    chosen = "" if validation is None or validation.has_gained(metric) else _without_gain(validation, metric)
    figures = f"{_describe_figures(baseline, result, metric)}{_cut(baseline, result)}"
    verdict = verdict_of(result, validation, metric, further)
    return f"{figures}{chosen}{_worse_on(further, metric)}; verdict: {verdict}"


#: The message has room for so many. The status has all of them.
_NAMED_EVALUATIONS = 5


def _worse_on(further: Sequence[EvaluationScores], metric: Optional[Metric]) -> str:
    worse = [each.in_words(metric) for each in further if each.verdict == "Worse"]
    more = len(worse) - _NAMED_EVALUATIONS
    named = ", ".join([*worse[:_NAMED_EVALUATIONS], *([f"{more} more"] if more > 0 else [])])
    return f"; worse on {named}" if worse else ""


def _without_gain(validation: Validation, metric: Optional[Metric]) -> str:
    return (
        f"; no evaluation on the {validation.clips} validation clips was better than the baseline's "
        f"{validation.baseline}{kind_of_metric(metric).unit}"
    )


def _describe_figures(baseline: Evaluation, result: Result, metric: Optional[Metric]) -> str:
    scores = result.compared_with(baseline.to_report(), metric)
    text = f"{scores}, over {len(baseline.heard)} clips{_loops(baseline, result)}"
    if result.difference_low is None or result.difference_high is None:
        return f"{text}; their texts have no word to compare"
    text += (
        f", difference {result.difference_low} to {result.difference_high} (95 % interval over {result.interval_over})"
    )
    if not result.may_be_chance:
        return text
    rest = result.without_loops
    of_rest = f" ({rest.difference_low} to {rest.difference_high} without clips that loop)" if rest else ""
    return f"{text}; an interval{of_rest} holds zero, so chance may explain the difference"


def _loops(baseline: Evaluation, result: Result) -> str:
    before, after = len(baseline.measurement.loops), result.looped_clips or 0
    return f" (loops, which do not count as heard: {before} before, {after} after)" if before or after else ""


def _cut(baseline: Evaluation, result: Result) -> str:
    before, after = baseline.to_report().cut_clips or 0, result.cut_clips or 0
    return f"; texts cut at the limit of tokens: {before} before, {after} after" if before or after else ""


def write_texts(folder: RunFolder, clips: Clips, before: Evaluation, after: Evaluation) -> None:
    """Write evaluation.jsonl: for each held-out clip its reference, and what was heard before and after training.

    `loops` of a line says which of the two is a loop.
    """
    rows = zip(clips.evaluation, before.hypotheses, after.hypotheses)
    lines: List[Dict[str, Any]] = [
        {"id": clip.identifier, "reference": clip.text, "before": old, "after": new} for clip, old, new in rows
    ]
    for when, evaluation in (("before", before), ("after", after)):
        for index in evaluation.measurement.loops:
            lines[index].setdefault("loops", []).append(when)
    folder.write_text(_TEXTS_FILE, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def conclude(
    folder: RunFolder,
    snapshot: Snapshot,
    baseline: Evaluation,
    final: Evaluation,
    figures: Result,
    keep_checkpoints: int,
) -> TrainingResult:
    """Return the result of a run whose final model is about to be written."""
    report, written = snapshot.report, find_worse_as_written(baseline, final)
    further = (*(report.evaluations or ()), *([written] if written else []))
    known = {name: getattr(report, name) for name in TrainerReport.model_fields}
    known["evaluations"] = further or report.evaluations
    # The other checkpoints are removed once the model is whole.
    kept = earlier_attempts.reported_checkpoints(folder, (CHECKPOINTS,))[-keep_checkpoints:]
    return TrainingResult(
        **{**known, "checkpoints": kept},
        result=figures,
        verdict=verdict_of(figures, report.validation, report.metric, further),
        message=describe_result(baseline, figures, report.metric, report.validation, further),
        seconds=round(snapshot.training_seconds),
    )


def judge_outcome(result: TrainingResult, asked: Optional[Acceptance]) -> TrainingResult:
    """Return the result with whether its model is accepted, or as it is where nothing is asked for."""
    if asked is None or result.result is None or result.verdict is None:
        return result
    of_held_out = verdict_of(result.result, result.validation, result.metric)
    compared = acceptance.compare_all(result.result, of_held_out, result.evaluations or (), result.metric)
    judgement = acceptance.judge_model(asked, result.verdict, compared)
    word = "accepted" if judgement.accepted else f"not accepted ({judgement.reason})"
    return result.model_copy(update={"acceptance": judgement, "message": f"{result.message}; {word}"})


def publish(
    folder: RunFolder, result: TrainingResult, step: int, fill: Callable[[Path], None], made_from: str
) -> TrainingResult:
    """Have `fill` write the final model, and write result.json just before the model becomes whole.

    `made_from` is the digest by which a later run knows that it would make the same model. Return the result with the
    model named in it.
    """

    def with_model(stored: StoredFolder) -> TrainingResult:
        return result.model_copy(update={"model": ReportedModel(path=MODEL, sha256=stored.sha256, step=step)})

    # In this order a whole model always has its result. A result without its model does not count.
    stored = folder.write_folder(
        MODEL,
        step,
        fill,
        figures=result.result,
        made_from=made_from,
        before_whole=lambda stored: folder.write_json(
            earlier_attempts.RESULT_FILE, with_model(stored).to_json_object()
        ),
    )
    return with_model(stored)


def copy_model(source: ContextManager[Path], names: Iterable[str], card: str, folder: Path) -> None:
    """Copy the named files of a checkpoint into `folder`, and write the final model's card there."""
    with source as opened:
        for name in names:
            shutil.copyfile(opened / name, folder / name)
    (folder / "README.md").write_text(card, encoding="utf-8")
