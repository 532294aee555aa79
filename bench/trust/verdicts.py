"""Does the verdict tell a good training from bad ones, and does the gate refuse the worst?"""

from collections.abc import Sequence

from trust.answers import Claim, Question, Runs, evaluation_in_words, score_in_words
from trust.experiments import SANE, SHUFFLED, STRIPPED, TOO_FAST
from trust.trainer_runs import ReportedRun


def answer_verdicts(runs: Runs) -> Sequence[Claim]:
    """Return one claim for each run that is there."""
    known = {
        SANE.name: _is_better,
        TOO_FAST.name: _tells_where_it_is_worse,
        STRIPPED.name: _tells_where_it_is_worse,
        SHUFFLED.name: _is_refused,
    }
    return [judge(runs[name]) for name, judge in known.items() if name in runs]


def _figures(run: ReportedRun) -> str:
    return "; ".join([score_in_words(run), *map(evaluation_in_words, run.result.evaluations or ())])


def _is_better(run: ReportedRun) -> Claim:
    return Claim(f"{run.name}: Better", run.result.verdict == "Better", _figures(run))


def _tells_where_it_is_worse(run: ReportedRun) -> Claim:
    worse = [each.name for each in run.result.evaluations or () if each.verdict == "Worse"]
    told = all(f"{name} " in run.result.message for name in worse)
    holds = run.result.verdict in {"Mixed", "Worse"} and told
    return Claim(f"{run.name}: Mixed or Worse, and the message says where", holds, f"{_figures(run)}; {_quoted(run)}")


def _is_refused(run: ReportedRun) -> Claim:
    judged = run.result.acceptance
    refused = judged is not None and not judged.accepted
    reason = judged.reason if judged else "nothing was asked for"
    return Claim(
        f"{run.name}: Worse, and refused by the gate",
        refused and run.result.verdict == "Worse",
        f"{_figures(run)}; {reason}",
    )


def _quoted(run: ReportedRun) -> str:
    return f'message: "{run.result.message}"'


VERDICTS = Question("verdict", (SANE.name, TOO_FAST.name, STRIPPED.name, SHUFFLED.name), answer_verdicts)
