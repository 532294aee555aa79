"""The plan of a cluster: `up` makes it on the host, and the programs inside the cluster's namespaces follow it."""

import json
from dataclasses import dataclass
from pathlib import Path

from cluster.components.addresses import ClusterAddresses
from cluster.folders import ClusterFolders

NODE_NAME = "local"


@dataclass(frozen=True)
class ClusterPlan:
    """The plan of one compiled cluster."""

    folders: ClusterFolders
    addresses: ClusterAddresses
    programs: Path
    pause_image: Path
    with_node: bool
    #: Its programs are killed on purpose: they are started anew, and the API server keeps an audit log.
    disturbed: bool = False

    @property
    def audit_log(self) -> Path:
        return self.folders.logs / "audit.log"

    @property
    def cgroup(self) -> str:
        """The parent of all the cluster's containers, under the root of each cgroup hierarchy."""
        return cgroup_name(self.folders.name)

    def file(self, name: str) -> Path:
        return self.folders.state / name

    def write(self) -> None:
        values = {
            "name": self.folders.name,
            "choice": self.addresses.choice,
            "programs": str(self.programs),
            "pauseImage": str(self.pause_image),
            "withNode": self.with_node,
            "disturbed": self.disturbed,
        }
        plan_file(self.folders).write_text(json.dumps(values, indent=1))


def cgroup_name(cluster: str) -> str:
    return f"whisper-finetune-{cluster}"


def plan_file(folders: ClusterFolders) -> Path:
    return folders.state / "plan.json"


def read_plan(folders: ClusterFolders) -> ClusterPlan | None:
    """Return the plan of the cluster that is up, or was last. Return None where there is none, or only half of it."""
    try:
        values = json.loads(plan_file(folders).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return ClusterPlan(
        folders=folders,
        addresses=ClusterAddresses(values["choice"]),
        programs=Path(values["programs"]),
        pause_image=Path(values["pauseImage"]),
        with_node=values["withNode"],
        disturbed=values.get("disturbed", False),
    )
