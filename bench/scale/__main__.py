"""What the operator costs by the number of runs: one event, a whole burst on simulated nodes, and a start.

    make bench-scale                                          # both of these
    .venv/bin/python bench/scale events --runs 100 1000 10000
    .venv/bin/python bench/scale burst --runs 100 1000 10000

`events` gives the processor time of one event in four situations, on a double of the API server. `burst` has a control
plane of its own with kwok's nodes, and gives time, processor, memory and requests from the creation of all runs to
their ends.
"""

import argparse
import asyncio
import sys
from pathlib import Path

if __name__ == "__main__":
    bench = Path(__file__).resolve().parent.parent
    sys.path[0] = str(bench)
    sys.path[1:1] = [str(bench.parent / folder) for folder in ("crds", "local", "tests")]

from scale.event_costs import Cost, Effort, measure_situation  # the lines above make it importable
from scale.simulated_cluster import simulated_cluster
from scale.situations import SITUATIONS
from scale.sizing import Shape, Sizing, measure_burst
from scale.tables import render_costs, render_sizings

_SIZES = (100, 1000, 10_000)
#: A pool has no longer queue.
_MOST_WAITING = 4000


def main() -> None:
    """Measure what is asked for and print its tables."""
    options = _parser().parse_args()
    options.measure(options)


def _measure_events(options: argparse.Namespace) -> None:
    effort = Effort(options.events, options.per_second, options.rest, options.quiet, options.scrapes)
    costs: list[Cost] = []
    for name in options.situations:
        for runs in options.runs:
            most = min(runs, _MOST_WAITING) if name == "waiting" else runs
            costs += asyncio.run(measure_situation(SITUATIONS[name], most, effort))
            print(*costs[-12:], sep="\n", file=sys.stderr, flush=True)
    print(render_costs(costs))


def _measure_bursts(options: argparse.Namespace) -> None:
    sizings: list[Sizing] = []
    for runs in options.runs:
        with simulated_cluster() as plane:
            sizings.append(asyncio.run(measure_burst(plane, Shape(runs, options.nodes, options.namespaces))))
        print(sizings[-1], file=sys.stderr, flush=True)
    print(render_sizings(sizings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    events = parts.add_parser("events", help="processor time of one event, in each situation")
    events.set_defaults(measure=_measure_events)
    events.add_argument("--situations", nargs="+", choices=SITUATIONS, default=list(SITUATIONS))
    events.add_argument("--runs", type=int, nargs="+", default=_SIZES, help="default: %(default)s")
    events.add_argument("--events", type=int, default=200, help="of each kind (default: %(default)s)")
    events.add_argument("--per-second", type=float, default=20, help="events (default: %(default)s)")
    events.add_argument("--rest", type=float, default=15, help="seconds to watch it at rest (default: %(default)s)")
    events.add_argument("--quiet", type=float, default=2.5, help="seconds without a request that end an event")
    events.add_argument("--scrapes", type=int, default=5, help="of the metrics (default: %(default)s)")
    burst = parts.add_parser("burst", help="runs on simulated nodes, from creation to end")
    burst.set_defaults(measure=_measure_bursts)
    burst.add_argument("--runs", type=int, nargs="+", default=_SIZES, help="default: %(default)s")
    burst.add_argument("--nodes", type=int, default=1000, help="simulated (default: %(default)s)")
    burst.add_argument("--namespaces", type=int, default=200, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    main()
