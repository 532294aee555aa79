"""Is there a mixture of the weights that keeps Spanish and English, and most of what was gained in Italian?"""

import re
from collections.abc import Sequence

from trust.answers import Claim, Question, Runs, evaluation_in_words, score_in_words
from trust.experiments import SANE, TOO_FAST_MIXED
from trust.trainer_runs import ReportedRun

_LEAST_GAIN = 0.8
_TRAINED = 1.0
#: What a report's page says of its curve, and one point of it.
_CURVE = re.compile(r'weights mixed from before \(0\) and after \(1\)\. ([^"]*)"')
_POINT = re.compile(r"(\d(?:\.\d+)?): (\d+\.\d\d) %")


def answer_mixing(runs: Runs) -> Sequence[Claim]:
    """Return one claim for each run with mixing."""
    return [_keeps_languages(runs[name]) for name in MIXING.experiments if name in runs]


def curve_in_page(page: str) -> dict[float, float]:
    """Return the scores on the validation clips by the factor of the mixture, as a report's page shows them."""
    described = _CURVE.search(page)
    return {float(factor): float(score) for factor, score in _POINT.findall(described[1] if described else "")}


def _keeps_languages(run: ReportedRun) -> Claim:
    curve = curve_in_page(_page_of(run))
    taken = run.result.mixing
    others = [each for each in run.result.evaluations or () if each.name != "long-form"]
    kept = _part_of_gain(curve, float(taken.score)) if taken else None
    holds = kept is not None and kept >= _LEAST_GAIN and all(each.verdict != "Worse" for each in others)
    points = ", ".join(f"{factor:g}: {score:.2f}" for factor, score in sorted(curve.items()))
    words = [
        taken.in_words() if taken else "nothing was mixed",
        f"validation by factor: {points}",
        *([f"{kept:.0%} of the gain"] if kept is not None else []),
        score_in_words(run),
        *map(evaluation_in_words, others),
    ]
    return Claim(
        f"{run.name}: Spanish and English stay inside their intervals, and {_LEAST_GAIN:.0%} of the gain remain",
        holds,
        "; ".join(words),
    )


def _page_of(run: ReportedRun) -> str:
    return run.path_of("report.html").read_text(encoding="utf-8")


def _part_of_gain(curve: dict[float, float], score: float) -> float | None:
    gained = curve.get(0.0, 0.0) - curve.get(_TRAINED, 0.0)
    return (curve[0.0] - score) / gained if gained > 0 else None


MIXING = Question("mixing", (SANE.name, TOO_FAST_MIXED.name), answer_mixing)
