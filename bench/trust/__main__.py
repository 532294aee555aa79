"""What verdict, gate, mixing and packing are worth on real speech: Whisper base, Italian, on the CPU.

    make bench-trust                                        # everything: about an hour on two free cores
    .venv/bin/python bench/trust --only shuffled sane       # these runs alone
    .venv/bin/python bench/trust --finished                 # the table of what is finished

Each run is an object that the trainer's own command takes. A run that was stopped goes on where it was, and one that is
finished is not repeated, so the same command may be given again at any time.
"""

import argparse
import datetime as dt
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    bench = Path(__file__).resolve().parent.parent
    sys.path[0] = str(bench)
    sys.path[1:1] = [str(bench.parent / folder) for folder in ("crds", "trainer", "local", "tests")]

from trust import mixtures, packed_windows, speech, trainer_runs, verdicts
from trust.answers import Question, render_claims
from trust.experiments import EXPERIMENTS, Experiment
from trust.trainer_runs import ReportedRun, RunFailedError

from demo.folders import default_root  # the lines above make it importable

_QUESTIONS: tuple[Question, ...] = (verdicts.VERDICTS, mixtures.MIXING, packed_windows.PACKING)


def main() -> int:
    """Run what is asked for, and print the table. A run that fails costs its own lines of it alone."""
    options = _parser().parse_args()
    speech.prepare_folder(options.folder)
    runs: dict[str, ReportedRun] = {}
    failed = 0
    for name in options.only:
        try:
            run = _run(EXPERIMENTS[name], options)
        except RunFailedError as error:
            failed += 1
            print(error, file=sys.stderr, flush=True)
            continue
        if run is not None:
            runs[name] = run
            print(f"{name}: {run.result.message}", file=sys.stderr, flush=True)
    print(render_claims([(question, question.answer(runs)) for question in _QUESTIONS], _machine()))
    return 1 if failed else 0


def _run(experiment: Experiment, options: argparse.Namespace) -> ReportedRun | None:
    if options.finished:
        return trainer_runs.read_finished(experiment, options.folder, options.steps)
    print(f"{experiment.name} ...", file=sys.stderr, flush=True)
    return trainer_runs.run_experiment(experiment, options.folder, options.steps)


def _machine() -> str:
    command = " ".join(["bench/trust", *sys.argv[1:]])
    today, python = dt.datetime.now(tz=dt.UTC).date(), sys.version.split()[0]
    return f"`{command}`, {today}, {os.cpu_count()} cores, Python {python}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS), help="default: all runs")
    parser.add_argument("--finished", action="store_true", help="train nothing, and show what is finished")
    parser.add_argument("--folder", type=Path, default=default_root().parent / "trust", help="default: %(default)s")
    parser.add_argument("--steps", type=int, help="fewer steps than the figures need, to try the bench out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
