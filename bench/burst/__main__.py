"""From creation to Job, side by side: a bare client, JobSet with and without its Service, and this operator.

    make bench-operator                     # or: .venv/bin/python bench/burst --runs 20 1000 --rounds 3

Each contender in turn gets a fresh control plane and the same client. The next round goes in the opposite order, so
that the machine is the same for all. The table at the end has the medians, and this operator's figures relative to the
others'.
"""

import argparse
import asyncio
import sys
from pathlib import Path

if __name__ == "__main__":
    bench = Path(__file__).resolve().parent.parent
    sys.path[0] = str(bench)
    sys.path[1:1] = [str(bench.parent / folder) for folder in ("crds", "local")]

from burst.contenders import CONTENDERS, Contender  # the lines above make it importable
from burst.control_plane import control_plane
from burst.measuring import Measurement, Patience, measure_contender
from burst.table import render_table


def main() -> None:
    """Measure all contenders and print the table."""
    options = _parser().parse_args()
    patience = Patience(options.settle, options.quiet)
    found: list[Measurement] = []
    for number in range(options.rounds):
        for contender in CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]:
            for measurement in measure_round(contender, options.runs, patience):
                print(f"round {number + 1}: {measurement}", file=sys.stderr, flush=True)
                found.append(measurement)
    print(render_table(found))


def measure_round(contender: Contender, sizes: list[int], patience: Patience) -> list[Measurement]:
    """Return one measurement of each size, from a fresh control plane."""
    with control_plane() as plane:
        return asyncio.run(measure_contender(contender, plane, sizes, patience))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[20, 1000], help="of each burst (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="bursts of each contender (default: %(default)s)")
    parser.add_argument("--settle", type=float, default=10, help="seconds after each burst (default: %(default)s)")
    parser.add_argument(
        "--quiet", type=float, default=60, help="seconds that each burst waits at most for a machine at rest"
    )
    return parser


if __name__ == "__main__":
    main()
