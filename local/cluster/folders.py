"""The folders of the clusters on the host."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster.faults import ClusterError

SOURCE = Path(__file__).resolve().parent
NAME_PATTERN = re.compile(r"[a-z]([-a-z0-9]{0,18}[a-z0-9])?")


def cache_root() -> Path:
    """Return the folder of the compiled programs and of the clusters' state."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper-finetune"


@dataclass(frozen=True)
class ClusterFolders:
    """The folders of one cluster."""

    name: str

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise ClusterError(
                f"the cluster name {self.name!r} does not fit: 1 to 20 of a-z, 0-9 and '-', beginning with a letter"
            )

    @property
    def state(self) -> Path:
        return cache_root() / "cluster" / self.name

    @property
    def admin_kubeconfig(self) -> Path:
        return self.state / "admin.kubeconfig"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def volumes(self) -> Path:
        return self.state / "volumes"

    def make_volume(self, name: str) -> Path:
        """Make a folder for a hostPath PersistentVolume, to which any user in a pod may write."""
        folder = self.volumes / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        return folder

    @property
    def image_store(self) -> Path:
        """Where containerd keeps images. It outlives a cluster, so that an image is imported once."""
        return self.state / "containerd"


def require_free_disk(folder: Path, gigabytes: int, purpose: str) -> None:
    """Raise ClusterError before the disk is full. The errors of a full disk would name something else."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < gigabytes * 10**9:
        raise ClusterError(
            f"{purpose} needs {gigabytes} GB of free disk at {folder}, and {free / 10**9:.1f} GB are free: "
            "make room, or set XDG_CACHE_HOME to a folder on a larger disk"
        )
