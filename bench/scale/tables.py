"""What was measured as Markdown tables, with one column for each number of runs."""

import os
from collections.abc import Callable, Sequence

from scale.event_costs import Cost
from scale.simulated_cluster import PROGRAMS
from scale.sizing import Sizing

Value = Callable[[Sizing], str]


def render_costs(costs: Sequence[Cost]) -> str:
    """Return the lines of a table for each situation."""
    return "\n\n".join(_table(name, [each for each in costs if each.situation == name]) for name in _names(costs))


def _names(costs: Sequence[Cost]) -> list[str]:
    return list(dict.fromkeys(cost.situation for cost in costs))


def _table(situation: str, costs: Sequence[Cost]) -> str:
    sizes = sorted({cost.runs for cost in costs})
    heads = [f"runs {situation}, {os.cpu_count()} cores", *(f"{size:,}" for size in sizes), "last to first", "requests"]
    rows = [_cells_of(title, sizes, costs) for title in dict.fromkeys(cost.title for cost in costs)]
    return _markdown(heads, rows)


def _cells_of(title: str, sizes: Sequence[int], costs: Sequence[Cost]) -> list[str]:
    by_size = {cost.runs: cost for cost in costs if cost.title == title}
    values = [by_size[size].value for size in sizes]
    ratio = f"{values[-1] / values[0]:.1f}" if values[0] else ""
    requests = by_size[sizes[-1]].requests
    named = title if ":" in title or "MiB" in title else f"{title}: CPU ms"
    return [named, *(f"{value:.2f}" for value in values), ratio, "" if requests is None else f"{requests:.1f}"]


def render_sizings(sizings: Sequence[Sizing]) -> str:
    """Return the lines of the table."""
    heads = ["", *(f"{found.shape.runs:,} runs" for found in sizings)]
    rows = [[title, *map(value, sizings)] for title, value in _rows(sizings).items()]
    return _markdown(heads, rows)


def _rows(sizings: Sequence[Sizing]) -> dict[str, Value]:
    rows: dict[str, Value] = {
        "nodes; namespaces": lambda found: f"{found.shape.nodes:,}; {found.shape.namespaces}",
        "s until all are created": lambda found: f"{found.seconds_to_create:.0f}",
        "s until all have Jobs": lambda found: f"{found.seconds_to_jobs:.0f}",
        "s until all have ended": lambda found: f"{found.seconds_to_ends:.0f}",
    }
    for program in ("operator", *PROGRAMS):
        rows |= {f"{program}: CPU s; cores; peak MiB": _usage_of(program)}
    rows |= {
        "kube-apiserver: cores at rest with these nodes": lambda found: f"{found.cores_at_rest['kube-apiserver']:.2f}"
    }
    rows |= {"etcd: MiB of its file": lambda found: f"{found.database_mebibytes:.0f}"}
    asked = dict.fromkeys(verb for found in sizings for verb in sorted(found.requests))
    rows |= {f"operator: {verb}, a run": _requests_of(verb) for verb in asked if _is_frequent(verb, sizings)}
    return rows | {
        "started anew: s until it has reconciled all": lambda found: f"{found.start_seconds:.1f}",
        "started anew: CPU s; peak MiB": lambda found: f"{found.start_cpu_seconds:.1f}; {found.start_mebibytes:.0f}",
        "started anew: writes": lambda found: str(found.start_writes),
    }


def _usage_of(program: str) -> Value:
    def value(found: Sizing) -> str:
        used = found.cpu_seconds[program]
        return f"{used:.1f}; {used / found.seconds_to_ends:.2f}; {found.peak_mebibytes[program]:.0f}"

    return value


def _requests_of(verb: str) -> Value:
    return lambda found: f"{found.requests.get(verb, 0) / found.shape.runs:.2f}"


def _is_frequent(verb: str, sizings: Sequence[Sizing]) -> bool:
    return any(found.requests.get(verb, 0) >= found.shape.runs / 10 for found in sizings)


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))
