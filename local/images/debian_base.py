"""Make a small Debian as a base image, only from Debian's packages."""

import subprocess
from pathlib import Path

from cluster.faults import ClusterError
from cluster.narration import step
from images.buildah import Store
from images.recipes import SUITE, DebianBase


def make(store: Store, base: DebianBase) -> None:
    """Put the base into the store, unless it is there."""
    if base.image in store.images():
        return
    with step(f"making the {base.role} from Debian {SUITE}"), store.working_folder() as folder:
        root_file_system = folder / "root.tar"
        install(base, root_file_system)
        store.add_base(base.image, root_file_system)
        store.forget_other_tags(base.image)


def install(base: DebianBase, root_file_system: Path) -> None:
    command = ["mmdebstrap", "--quiet", *base.options, str(root_file_system)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise ClusterError(f"mmdebstrap could not make a Debian {SUITE}: {ran.stderr.strip()}")
