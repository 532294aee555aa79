"""The measurements as one Markdown table: medians of all rounds, and this operator's relative to the others'."""

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from burst.contenders import BARE_CLIENT, CONTENDERS, JOBSET_ALONE, OURS
from burst.measuring import Measurement

_COMPARED = (BARE_CLIENT.name, JOBSET_ALONE.name)


@dataclass(frozen=True)
class _Row:
    title: str
    value: Callable[[Measurement], float | None]
    digits: int = 2


_ROWS = (
    _Row("Jobs", lambda found: found.jobs, 0),
    _Row("Jobs a second", lambda found: found.jobs_per_second, 1),
    _Row("POST to Job, p50, s", lambda found: found.p50_seconds),
    _Row("POST to Job, p99, s", lambda found: found.p99_seconds),
    _Row("POST to first status, p99, s", lambda found: found.status_p99_seconds),
    _Row("creating the objects, s", lambda found: found.create_seconds),
    _Row("API server, CPU ms a run", lambda found: found.api_server_milliseconds, 1),
    _Row("API server, CPU ms to create an object alone", lambda found: found.api_server_create_milliseconds, 1),
    _Row("operator, CPU ms a run", lambda found: found.own_milliseconds, 1),
    _Row("operator, CPU ms a run when settled", lambda found: found.settled_milliseconds, 1),
    _Row("operator, resident MiB", lambda found: found.resident_mebibytes, 0),
    _Row("whole machine, busy cores", lambda found: found.busy_cores, 1),
)


def render_table(measurements: Sequence[Measurement]) -> str:
    """Return the lines of the table."""
    names = [contender.name for contender in CONTENDERS]
    rounds = len(measurements) // len({(found.contender, found.runs) for found in measurements})
    heads = [
        f"medians of {rounds} on {os.cpu_count()} cores",
        *names,
        *(f"{OURS.name} to {name}" for name in _COMPARED),
    ]
    sizes = sorted({found.runs for found in measurements})
    rows = [cells for size in sizes for cells in _rows_of(size, names, measurements)]
    return "\n".join(_line(cells) for cells in (heads, ["---"] * len(heads), *rows))


def _rows_of(size: int, names: Sequence[str], measurements: Sequence[Measurement]) -> list[list[str]]:
    rows = []
    for row in _ROWS:
        medians = {name: _median(row, name, size, measurements) for name in names}
        ratios = [_ratio(medians[OURS.name], medians[name]) for name in _COMPARED]
        rows.append([f"N = {size}: {row.title}", *(_number(medians[name], row.digits) for name in names), *ratios])
    return rows


def _median(row: _Row, name: str, size: int, measurements: Sequence[Measurement]) -> float | None:
    values = [row.value(found) for found in measurements if (found.contender, found.runs) == (name, size)]
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _ratio(own: float | None, other: float | None) -> str:
    return f"{own / other:.2f}" if own is not None and other else ""


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
