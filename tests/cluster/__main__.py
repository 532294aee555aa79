"""The local Kubernetes: `python3 tests/cluster COMMAND`, with `--help` for the commands."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import binaries
from compiled_cluster import CompiledCluster
from faults import ClusterError
from folders import ClusterFolders


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    if options.command == "bin":
        print(binaries.program(options.program))
        return 0
    cluster = CompiledCluster(ClusterFolders(options.name))
    match options.command:
        case "up":
            cluster.up(with_node=options.node)
        case "down":
            cluster.down(purge=options.purge)
        case "status":
            return cluster.status()
        case "kubeconfig":
            print(cluster.kubeconfig())
        case "load":
            for archive in options.archives:
                cluster.load(archive)
        case "volume":
            print(cluster.volume(options.volume))
        case "kwok":
            cluster.simulate_node(options.termination_message.read_text() if options.termination_message else "")
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 tests/cluster", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=os.environ.get("CLUSTER_NAME", "wft"), help="the cluster's name (default: CLUSTER_NAME, or wft)")
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[common], help="start the cluster, or say that it is up")
    up.add_argument("--no-node", dest="node", action="store_false", help="the control plane alone: no pod runs")
    down = commands.add_parser("down", parents=[common], help="end the cluster; its images and volumes stay for the next one")
    down.add_argument("--purge", action="store_true", help="remove images and volumes too")
    commands.add_parser("status", parents=[common], help="say what is up; exit status 1 where it is down")
    load = commands.add_parser("load", parents=[common], help="put images into the node")
    load.add_argument("archives", nargs="+", type=Path, metavar="IMAGE_ARCHIVE", help="an OCI or Docker image archive")
    commands.add_parser("kubeconfig", parents=[common], help="print the path of the admin's kubeconfig")
    volume = commands.add_parser("volume", parents=[common], help="print a folder of the node for a hostPath volume")
    volume.add_argument("volume", metavar="VOLUME")
    kwok = commands.add_parser("kwok", parents=[common], help="add a simulated node, on which each pod runs and succeeds by itself")
    kwok.add_argument("--termination-message", type=Path, metavar="FILE", help="the text that each simulated pod ends with")
    program = commands.add_parser("bin", help="print the path of a program such as kubectl, compiled first where needed")
    program.add_argument("program")
    return top


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ClusterError as problem:
        sys.exit(f"error: {problem}")
