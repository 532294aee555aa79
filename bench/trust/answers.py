"""What a question of this bench comes to: claims, whether they hold, and the figures that say so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trust.trainer_runs import ReportedRun

from whisper_finetune_api.v1alpha1.scores import EvaluationScores

Runs = Mapping[str, ReportedRun]


@dataclass(frozen=True)
class Claim:
    """One line of the table. `holds` is None where the run shows a figure and nothing is claimed of it."""

    says: str
    holds: bool | None
    found: str


@dataclass(frozen=True)
class Question:
    """A question, the runs that answer it, and what makes claims of them."""

    name: str
    experiments: tuple[str, ...]
    answer: Callable[[Runs], Sequence[Claim]]


def score_in_words(run: ReportedRun) -> str:
    """Return the scores of the held-out clips, with the interval of their difference and the verdict."""
    before, after = run.result.baseline, run.result.result
    if before is None or after is None:
        return "not measured"
    interval = f"{after.difference_low} to {after.difference_high}"
    return f"held-out {before.score} -> {after.score} ({interval}); verdict {run.result.verdict}"


def evaluation_in_words(scores: EvaluationScores) -> str:
    """Return the scores of a further evaluation, with the interval of their difference and its verdict."""
    if scores.result is None:
        return f"{scores.name} {scores.verdict}: {scores.reason}"
    interval = f"{scores.difference_low} to {scores.difference_high}"
    return f"{scores.name} {scores.baseline} -> {scores.result} ({interval}): {scores.verdict}"


def evaluation_of(run: ReportedRun, name: str) -> EvaluationScores | None:
    """Return what a run has reported of an evaluation."""
    return next((each for each in run.result.evaluations or () if each.name == name), None)


def render_claims(answered: Sequence[tuple[Question, Sequence[Claim]]], machine: str) -> str:
    """Return the Markdown table of all answers. `machine` says where and when they were measured."""
    words = {True: "yes", False: "**no**", None: ""}
    rows = [
        f"| {question.name} | {claim.says} | {words[claim.holds]} | {claim.found} |"
        for question, claims in answered
        for claim in claims
    ]
    return "\n".join([machine, "", "| question | claim | holds | what the runs report |", "|---|---|---|---|", *rows])
