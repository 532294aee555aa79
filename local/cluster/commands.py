"""The local Kubernetes of tests and demo.

CLUSTER chooses its kind: compiled (from Go modules, on Linux and as root), kind (in Docker), or current (the current
kubeconfig context, after asking). Without CLUSTER it is kind if Docker can pull the node image, else compiled.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.components.component_logs import show_logs
from cluster.faults import ClusterError
from cluster.folders import ClusterFolders, cache_root
from cluster.kinds import Cluster, choose_kind, forget_kind, make_cluster, record_kind, recorded_kind
from cluster.programs import binaries


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    if options.command == "bin":
        print(binaries.program(options.program))
        return 0
    folders = ClusterFolders(options.name)
    if options.command == "logs":
        show_logs(folders.logs, options.component)
        return 0
    kind = choose_kind(os.environ.get("CLUSTER", ""), recorded_kind(folders), starting=options.command == "up")
    cluster = make_cluster(kind, folders)
    if options.command == "up":
        cluster.up(with_node=options.node)
        record_kind(folders, kind)
        return 0
    return use_or_end(cluster, options)


def use_or_end(cluster: Cluster, options: argparse.Namespace) -> int:
    match options.command:
        case "down":
            cluster.down(purge=options.purge)
            forget_kind(cluster.folders)
        case "status":
            return cluster.status()
        case "kubeconfig":
            print(cluster.kubeconfig())
        case "load":
            for archive in options.archives:
                cluster.load(archive)
        case "volume":
            print(cluster.volume(options.volume))
            if options.megabytes:
                cluster.limit_volume(options.volume, options.megabytes)
        case "kwok":
            cluster.simulate_node(options.termination_message.read_text() if options.termination_message else "")
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 local/cluster", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    name = os.environ.get("CLUSTER_NAME") or "wft"
    common.add_argument("--name", default=name, help="the cluster's name (default: CLUSTER_NAME, or wft)")
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[common], help="start the cluster, or say that it is up")
    up.add_argument("--no-node", dest="node", action="store_false", help="the control plane alone: no pod runs")
    down = commands.add_parser(
        "down", parents=[common], help="end the cluster; its images and volumes stay for the next one"
    )
    down.add_argument("--purge", action="store_true", help="remove images and volumes too")
    commands.add_parser("status", parents=[common], help="say what is up; exit status 1 where it is down")
    load = commands.add_parser("load", parents=[common], help="put images into the node")
    load.add_argument(
        "archives", nargs="+", type=existing_file, metavar="IMAGE_ARCHIVE", help="an OCI or Docker image archive"
    )
    logs = commands.add_parser("logs", parents=[common], help="show the end of the logs of the cluster's programs")
    logs.add_argument("component", nargs="?", default="", metavar="COMPONENT", help="one program, such as kubelet")
    commands.add_parser("kubeconfig", parents=[common], help="print the path of the admin's kubeconfig")
    volume = commands.add_parser("volume", parents=[common], help="print a folder of the node for a hostPath volume")
    volume.add_argument("volume", metavar="VOLUME", help="any name: the same one gives the same folder")
    volume.add_argument(
        "--megabytes", type=int, metavar="N", help="make it, empty, a disk of this size, which only the node sees"
    )
    kwok = commands.add_parser(
        "kwok", parents=[common], help="add a simulated node, on which each pod succeeds by itself"
    )
    kwok.add_argument(
        "--termination-message", type=existing_file, metavar="FILE", help="the text that each simulated pod ends with"
    )
    program = commands.add_parser(
        "bin", help="print the path of a program such as kubectl, compiled first where needed"
    )
    program.add_argument("program", metavar="PROGRAM", help="kubectl, helm, kwok, kind, kube-apiserver, ...")
    return top


def existing_file(path: str) -> Path:
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {path}")
    return Path(path)


def run() -> int | str:
    """Run the command line. Return the exit status, or one line that says what is wrong."""
    try:
        return main(sys.argv[1:])
    except ClusterError as problem:
        return f"error: {problem}"
    except KeyboardInterrupt:
        return "interrupted"
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as problem:
        if problem.errno != errno.ENOSPC:
            raise
        return f"error: the disk is full at {problem.filename or cache_root()}: make room there, and run it again"
