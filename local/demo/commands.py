"""The demo: `python local/demo COMMAND`, with `--help` for the commands."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.faults import ClusterError
from demo.faults import DemoError
from demo.folders import DemoFolders, default_root
from demo.input import data, sources
from demo.stopwatch import Stopwatch


def run() -> int:
    """Run the command line. Errors that a user can mend become one line."""
    try:
        return command(sys.argv[1:])
    except (DemoError, ClusterError) as problem:
        print(f"error: {problem}", file=sys.stderr)
    except subprocess.CalledProcessError as problem:
        print(f"error: `{' '.join(problem.cmd)}` failed, for the reason above", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; what is made stays, and the next start goes on from there", file=sys.stderr)
    return 1


def command(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    folders = DemoFolders(options.root)
    match options.command:
        case "data":
            data.prepare(folders, Stopwatch())
        case "licences":
            print(sources.licences(), end="")
        case "run":
            from demo import flow, scenarios  # noqa: PLC0415 (the Kubernetes client takes seconds to import)

            flow.Flow(options.name, scenarios.of(options.runtime, options.output), folders, Stopwatch()).run()
        case "verify":
            from demo import scenarios  # noqa: PLC0415 (the same)
            from demo.result import verification  # noqa: PLC0415 (the same)

            print(verification.verify(options.name, scenarios.of("cpu", options.output), options.python))
        case "picture":
            from demo import scenarios  # noqa: PLC0415 (the same)
            from demo.result import picture  # noqa: PLC0415 (the same)

            print(picture.write(options.name, scenarios.of("cpu", options.output)))
        case "screenshots":
            from demo.result import screenshots  # noqa: PLC0415 (the browser's driver takes a second to import)

            print(*screenshots.write(options.report, options.folder), sep="\n")
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python local/demo", description=__doc__)
    top.add_argument("--root", type=Path, default=default_root(), help="the demo's folder (default: %(default)s)")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("data", help="fetch Whisper base and Italian speech, and make model and data set of them")
    commands.add_parser("licences", help="say whose work the data is, and under which licences")
    cluster = argparse.ArgumentParser(add_help=False)
    name = os.environ.get("CLUSTER_NAME") or "demo"
    cluster.add_argument("--name", default=name, help="the cluster's name (default: CLUSTER_NAME, or demo)")
    where = "pvc: data and results on a volume; s3: in a bucket of a real S3 server"
    cluster.add_argument("--output", choices=("pvc", "s3"), default="pvc", help=where)
    run = commands.add_parser("run", parents=[cluster], help="all of it: cluster, operator, a fine-tune, a table")
    run.add_argument("--runtime", default="cpu", help="cpu: Italian by Whisper base; ipu-emulated: the way to IPUs")
    verify = commands.add_parser(
        "verify",
        parents=[cluster],
        help="measure the model with transformers alone, and compare with the status",
    )
    verify.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="the Python that measures (default: this one)"
    )
    what = "draw the head of the finished run's report into docs/pictures"
    commands.add_parser("picture", parents=[cluster], help=what)
    screenshots = commands.add_parser("screenshots", help="show a report as pictures: light, dark, on a phone, printed")
    screenshots.add_argument("report", type=Path, help="a report.html")
    screenshots.add_argument("folder", type=Path, help="where the pictures go")
    return top
