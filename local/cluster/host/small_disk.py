"""A disk that is so small that a test can fill it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.faults import ClusterError


def mount_small_disk(enter_node: Sequence[str], folder: Path, megabytes: int) -> None:
    """Mount an empty file system of that size on the folder, as the node sees it. It replaces one that is there."""
    # The first time there is nothing to unmount, so the answer does not matter.
    subprocess.run([*enter_node, "umount", str(folder)], check=False, capture_output=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(folder)]
    ran = subprocess.run([*enter_node, *mount], check=False, capture_output=True, text=True)
    if ran.returncode:
        raise ClusterError(f"cannot mount a disk of {megabytes} MB at {folder}: {ran.stderr.strip()}")
