"""Build the images that changed, and load into a cluster what its nodes lack."""

import subprocess
import sys
from pathlib import Path

from kubernetes import client

from images.recipes import REPOSITORY

#: On a node: the archives whose images it has. Their names hold a digest of all that went in.
LOADED = "whisperfinetune.dev/loaded-images"


def cluster_program(*arguments: str) -> str:
    """Run `local/cluster` and return what it prints; its own progress goes to the terminal."""
    return output_of(sys.executable, str(REPOSITORY / "local" / "cluster"), *arguments)


def images_program(*arguments: str) -> str:
    """Run `local/images` and return what it prints."""
    return output_of(sys.executable, str(REPOSITORY / "local" / "images"), *arguments)


def output_of(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def load_images(cluster: str, core: client.CoreV1Api, *wanted: str) -> str:
    """Build what changed of all or the wanted images, load what the node lacks, and return the operator's version."""
    archives = [archive for image in wanted or ("all",) for archive in images_program("build", image).splitlines()]
    for node in core.list_node(label_selector="type!=kwok").items:
        loaded = (node.metadata.annotations or {}).get(LOADED, "").split()
        if missing := [archive for archive in archives if archive not in loaded]:
            cluster_program("load", "--name", cluster, *missing)
            core.patch_node(node.metadata.name, {"metadata": {"annotations": {LOADED: " ".join(archives)}}})
    return Path(archives[0]).stem
