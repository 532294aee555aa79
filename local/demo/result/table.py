"""The figures of a finished run, and the demo's times, as text. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from demo.stopwatch import clock
from whisper_finetune_api.v1alpha1 import (
    ClipSubset,
    EvaluationScores,
    Metric,
    Result,
    WhisperFineTuneStatus,
    WordErrorRate,
)
from whisper_finetune_api.v1alpha1.exports import Export
from whisper_finetune_api.v1alpha1.scores import kind_of_metric

Row = tuple[str, str, str, str]
WIDTHS = (36, 9, 9, 24)


def figures(before: WordErrorRate, after: Result) -> str:
    """Return the table of word error rates in percent, with notes about them."""
    rows: list[Row] = [
        ("word error rate in percent", "before", "after", "change (95 % interval)"),
        ("normalized", before.score or "", after.score or "", score_change(before, after)),
    ]
    if after.unseen_texts:
        rows.append(some("unseen texts", after.unseen_texts))
    if after.without_loops:
        rows.append(some("clips without loops", after.without_loops))
        rows.append(with_loops(before, after))
    rows.append(("as written", before.wer, after.wer, change(before.wer, after.wer)))
    return "\n".join([*(line(row) for row in rows), *notes(before, after)])


def some(which: str, clips: ClipSubset) -> Row:
    interval = f"({clips.difference_low} to {clips.difference_high})"
    return (
        f"normalized, {clips.clips} {which}",
        clips.baseline,
        clips.result,
        f"{change(clips.baseline, clips.result)} {interval}",
    )


def with_loops(before: WordErrorRate, after: Result) -> Row:
    figures = before.score_with_loops or before.score or "", after.score_with_loops or after.score or ""
    return ("normalized, if all of loops counted", *figures, change(*figures))


def score_change(before: WordErrorRate, after: Result) -> str:
    interval = f" ({after.difference_low} to {after.difference_high})" if after.difference_low else ""
    return change(before.score or "", after.score or "") + interval


def change(before: str, after: str) -> str:
    return f"{Decimal(after) - Decimal(before):+.2f}"


def line(row: Row) -> str:
    first, *others = row
    cells = [first.ljust(WIDTHS[0]), *(cell.rjust(width) for cell, width in zip(others, WIDTHS[1:], strict=True))]
    return "  ".join(cells)


def notes(before: WordErrorRate, after: Result) -> list[str]:
    """Return notes about intervals that hold zero and texts that are loops, so that no reader has to find them."""
    return [*loops(before, after), *chances(after)]


def loops(before: WordErrorRate, after: Result) -> list[str]:
    clips = before.looped_clips or 0, after.looped_clips or 0
    what = "of a text that never ends or repeats its end nothing counts as heard"
    return [f"note: {what}: {clips[0]} before, {clips[1]} after"] if any(clips) else []


def chances(after: Result) -> list[str]:
    intervals = [("all held-out clips", after.difference_low, after.difference_high)]
    if after.without_loops:
        rest = after.without_loops
        intervals.append(("clips without loops", rest.difference_low, rest.difference_high))
    if after.unseen_texts:
        texts = after.unseen_texts
        intervals.append(("texts that do not occur in train", texts.difference_low, texts.difference_high))
    return [
        f"note: the interval over {what} holds zero, so this change may be chance"
        for what, low, high in intervals
        if low is not None and high is not None and Decimal(low) <= 0 <= Decimal(high)
    ]


def facts(status: WhisperFineTuneStatus, training_seconds: float) -> str:
    """Return which clips, hardware and software the figures are from."""
    data, progress, ran_on = status.data, status.progress, status.ran_on
    lines: list[tuple[str, str]] = []
    if data:
        counts = f"{data.train_clips} trained on, {data.eval_clips} held out, {data.dropped_clips} dropped"
        lines.append(("clips", counts))
    if progress:
        lines.append(("training", f"{progress.step} steps in {training_seconds:.0f} s"))
    if status.verdict:
        lines.append(("verdict", status.verdict))
    lines.extend((each.name, of_evaluation(each, status.metric)) for each in status.evaluations or ())
    lines.extend((each.name, of_export(each, status.metric)) for each in status.exports or ())
    if ran_on:
        lines.append(("ran on", f"{ran_on.hardware}, precision {ran_on.precision}"))
        lines.append(("with", ran_on.software))
    if status.metric:
        lines.append(("normalizer", status.metric.normalizer))
    return "\n".join(fact(name, value) for name, value in lines)


def of_evaluation(found: EvaluationScores, metric: Metric | None) -> str:
    """Return the scores of an evaluation beside the held-out clips, its verdict, and how well timestamps fit."""
    if found.reason:
        return f"{found.verdict}: {found.reason}"
    kind = found.kind(metric)
    interval = f" ({found.difference_low} to {found.difference_high})" if found.difference_low else ""
    scores = f"{kind.words} {found.baseline} -> {found.result}{kind.unit}{interval}, {found.verdict}"
    return f"{scores}; {found.recordings.in_words()}" if found.recordings else scores


def of_export(found: Export, metric: Metric | None) -> str:
    """Return what an export's own engine heard on the clips of the result, and how fast."""
    if found.refused or found.bytes is None:
        return f"refused: {found.refused}"
    kind = kind_of_metric(metric)
    scores = (
        f"{kind.words} {found.score}{kind.unit} over {found.clips} clips, of the model {found.model_score}{kind.unit}"
    )
    return f"{scores}; {found.bytes / 1e6:.0f} MB; {found.speed} s of sound in a second"


def fact(name: str, value: str) -> str:
    return f"{name + ' ':12}{value}"


def breakdown(seconds: Mapping[str, float], total: float) -> str:
    """Return where the time went, with one line per step."""
    rows: Sequence[tuple[str, float]] = [*seconds.items(), ("everything", total)]
    return "\n".join(f"{clock(took):>6}  {name}" for name, took in rows)
