"""The cluster of the current kubeconfig context. It belongs to somebody: it is used after asking, and never ended."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster.clusters import simulated_nodes
from cluster.components.addresses import FOR_BENCHMARKS
from cluster.components.credentials import write_secret
from cluster.faults import ClusterError
from cluster.folders import ClusterFolders
from cluster.narration import say
from cluster.programs import binaries


@dataclass(frozen=True)
class CurrentCluster:
    folders: ClusterFolders

    def up(self, *, with_node: bool) -> None:
        """Keep a kubeconfig of that context only, so that a later switch of the context changes nothing here."""
        del with_node
        context = self.kubectl("config", "current-context").strip()
        if self.kept_context() != context:
            require_consent(context, os.environ.get("CLUSTER_CONFIRM", ""))
            self.folders.logs.mkdir(parents=True, exist_ok=True)
            write_secret(
                self.folders.admin_kubeconfig,
                self.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"),
            )
        self.kubectl(f"--kubeconfig={self.folders.admin_kubeconfig}", "get", "--raw=/readyz")
        say(f"the cluster of context {context!r} answers")

    def kept_context(self) -> str:
        """The context that was agreed to before. It is empty where there is none."""
        if not self.folders.admin_kubeconfig.exists():
            return ""
        context: str = json.loads(self.folders.admin_kubeconfig.read_text())["current-context"]
        return context

    def down(self, *, purge: bool) -> None:
        del purge
        simulated_nodes.remove_simulated_node(self.folders)
        self.folders.admin_kubeconfig.unlink(missing_ok=True)
        say("the cluster itself lives on")

    def status(self) -> int:
        print(
            f"the cluster of context {self.kept_context()!r}"
            if self.kept_context()
            else "no context is in use: run `up`"
        )
        return 0 if self.kept_context() else 1

    def kubeconfig(self) -> Path:
        if not self.kept_context():
            raise ClusterError("no context is in use yet: `up` asks which")
        return self.folders.admin_kubeconfig

    def load(self, archive: Path) -> None:
        raise ClusterError(
            f"cannot load {archive} into the nodes of somebody's cluster: push the images to a registry that it can "
            "pull from, and give the chart their names there (REGISTRY/NAME:TAG), for the operator and for its runtimes"
        )

    def volume(self, name: str) -> Path:
        raise ClusterError(
            f"volume {name!r} cannot be a folder of this cluster's nodes: make a claim of one of its storage classes"
        )

    def limit_volume(self, name: str, megabytes: int) -> None:
        raise ClusterError(f"volume {name!r} cannot be a disk of {megabytes} MB on somebody's node")

    def simulate_node(self, termination_message: str) -> None:
        simulated_nodes.simulate_node(
            self.folders, [], FOR_BENCHMARKS, simulated_nodes.succeeding_pods(termination_message)
        )

    def kubectl(self, *arguments: str) -> str:
        installed = shutil.which("kubectl") or str(binaries.program("kubectl"))
        ran = subprocess.run([installed, *arguments], check=False, capture_output=True, text=True)
        if ran.returncode:
            raise ClusterError(f"CLUSTER=current: `kubectl {' '.join(arguments)}` failed: {ran.stderr.strip()}")
        return ran.stdout


def require_consent(context: str, confirmed: str) -> None:
    """Require a yes on the terminal, or CLUSTER_CONFIRM with the name of the context."""
    if confirmed == context:
        return
    if not sys.stdin.isatty():
        raise ClusterError(
            f"CLUSTER=current would use context {context!r}: set CLUSTER_CONFIRM={context} to allow that"
        )
    say(f"Objects of tests or demo will be made in the cluster of context {context!r}. Use it? [y/N] ")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise ClusterError(f"context {context!r} is not used")
