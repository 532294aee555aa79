"""Minutes of faults, and then the question whether any run has suffered from them.

    make chaos SEED=1                                                  # 2,000 runs and ten minutes of faults
    .venv/bin/python tests/chaos --seed 7 --runs 200 --minutes 2

Two replicas of the operator follow runs on a control plane of its own, whose pods are simulated by kwok. Replicas, API
server, etcd and controller manager are killed and stand still, a proxy loses and refuses the operator's requests, nodes
are lost, and people delete pods, Jobs and runs. What must hold afterwards is in verdict.py. The seed decides which
faults come, and in which order. When each request arrives is not repeated.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    tests = Path(__file__).resolve().parent.parent
    sys.path[0] = str(tests)
    folders = [tests / "operator", *(tests.parent / folder for folder in ("bench", "crds", "operator", "local"))]
    sys.path[1:1] = [str(folder) for folder in folders]

from chaos import audit, faults, verdict  # the lines above make it importable
from chaos.stage import LEASES, Stage, set_stage
from chaos.verdict import Aftermath

_SHOWN = 10
_SECONDS_TO_SETTLE = 1800


def main() -> None:
    """Disturb, wait, and print what holds and what does not. The exit code says whether all of it does."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.logs or Path(scratch)
        after = asyncio.run(run_chaos(options.seed, options.runs, options.minutes * 60, folder))
    found = verdict.broken(after)
    for claim, cases in found.items():
        print(f"{'ok  ' if not cases else 'NOT '} {claim}{f': {len(cases)} cases' if cases else ''}")
        for case in cases[:_SHOWN]:
            print(f"       {case}")
    sys.exit(any(found.values()))


async def run_chaos(seed: int, runs: int, seconds: float, folder: Path) -> Aftermath:
    """Return what is left of so many runs after so many seconds of faults."""
    order, chance = random.Random(seed), random.Random(seed)  # noqa: S311 (no secret)
    async with set_stage(folder, chance) as stage:
        keeping = asyncio.create_task(stage.keep_replicas())
        creating = asyncio.create_task(stage.create_runs(runs, seconds * 0.9))
        await faults.disturb(stage, seconds, order)
        await creating
        stage.say("the faults are over")
        found = await stage.until_over(runs, _SECONDS_TO_SETTLE)
        leases = await _kept_partitions(stage)
        keeping.cancel()
        _tell_fail_overs(stage)
        log = stage.cluster.running_plan().audit_log
        with log.open(encoding="utf-8") as lines:
            pods = audit.pods_in(lines)
        print(f"seed {seed}: {len(found)} runs, {len(pods)} pods")
        return Aftermath(tuple(found), pods, leases, frozenset(stage.by_hand), tuple(_own_faults(folder)))


async def _kept_partitions(stage: Stage) -> tuple[str, ...]:
    """Return the Leases of partitions that are still there a while after the last run has ended."""
    for _ in range(60):
        names = tuple(each["metadata"]["name"] for each in await stage.listed(LEASES))
        kept = tuple(name for name in names if name.startswith("partition-"))
        if not kept:
            break
        await asyncio.sleep(1)
    return kept


def _tell_fail_overs(stage: Stage) -> None:
    for what in ("killed", "updated"):
        seconds = sorted(each for kind, each in stage.fail_overs if kind == what)
        if seconds:
            middle = seconds[len(seconds) // 2]
            most = f"{seconds[-1]:.1f} s at most of {len(seconds)}"
            print(f"leader {what}: another one led after {middle:.1f} s at the median, {most}")


def _own_faults(folder: Path) -> list[str]:
    logs = (log.read_text(encoding="utf-8", errors="replace") for log in sorted(folder.glob("operator-*.log")))
    return [line[-600:] for log in logs for line in log.splitlines() if _is_own_fault(line)]


def _is_own_fault(line: str) -> bool:
    """Return whether a line has a traceback through the operator's own code. kopf has some of its own."""
    return "Traceback" in line and "/whisper_finetune_operator/" in line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2000, help="in all (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="of faults (default: %(default)s)")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="where the replicas' logs stay (default: nowhere)")
    return parser


if __name__ == "__main__":
    main()
