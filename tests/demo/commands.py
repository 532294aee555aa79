"""The demo: `python tests/demo COMMAND`, with `--help` for the commands."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.faults import ClusterError
from demo import data, sources
from demo.faults import DemoError
from demo.folders import DemoFolders, default_root
from demo.stopwatch import Stopwatch


def run() -> int:
    """Run the command line; what a user can mend ends as one line."""
    try:
        return command(sys.argv[1:])
    except (DemoError, ClusterError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def command(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    match options.command:
        case "data":
            data.prepare(DemoFolders(options.root), Stopwatch())
        case "licences":
            print(sources.licences(), end="")
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python tests/demo", description=__doc__)
    top.add_argument("--root", type=Path, default=default_root(), help="the demo's folder (default: %(default)s)")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("data", help="fetch Whisper base and Italian speech, and make model and data set of them")
    commands.add_parser("licences", help="say whose work the data is, and under which licences")
    return top
