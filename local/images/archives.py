"""Build an image into an archive that a node can load, unless the same archive is there already."""

import os
import shutil
from pathlib import Path

from cluster.faults import ClusterError
from cluster.folders import cache_root, require_free_disk
from cluster.host.locks import exclusive
from cluster.narration import say, step
from cluster.programs import debian_packages
from images import buildah, debian_base, poplar_stand_in
from images.recipes import BUILD_BASE, GIGABYTES_TO_BUILD, RUNTIME_BASE, Recipe

NEEDED_PROGRAMS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
KEPT_ARCHIVES = 2
DIGITS_OF_A_KEY = 12


def folder() -> Path:
    return cache_root() / "images"


def archive_of(recipe: Recipe) -> Path:
    """Return the path of an image's archive, which may not be built yet."""
    return folder() / f"{recipe.name}-{recipe.key()}.tar"


def build(recipe: Recipe) -> Path:
    """Return the image's archive. It is built first if something has changed."""
    archive = archive_of(recipe)
    with exclusive(folder() / "lock", "building images"):
        if archive.exists():
            say(f"{recipe.image}: unchanged, {archive}")
            return archive
        require_what_a_build_needs(recipe)
        store = buildah.Store(folder() / "buildah")
        store.remove_leftovers()
        for base in (RUNTIME_BASE, BUILD_BASE):
            debian_base.make(store, base)
        log = folder() / f"{recipe.name}.log"
        if recipe.emulated:
            poplar_stand_in.make(store, recipe, log)
        make_base(store, recipe, log)
        with step(f"building {recipe.image}"):
            store.build(recipe.target, recipe.image, recipe.build_arguments, log)
        with step(f"writing {archive}"):
            store.write_archive(recipe.image, archive)
        forget_older_archives(recipe)
    say(f"{recipe.image}: {archive.stat().st_size / 1e6:.0f} MB")
    return archive


def make_base(store: buildah.Store, recipe: Recipe, log: Path) -> None:
    """Build the image of everything but this project's code, unless it is there. Remove the image that it replaces."""
    if recipe.base_image in store.images():
        return
    with step(f"building {recipe.base_image}"):
        store.build(f"{recipe.target}-base", recipe.base_image, recipe.base_arguments, log)
    store.forget_other_tags(recipe.base_image)


def require_what_a_build_needs(recipe: Recipe) -> None:
    if os.geteuid() != 0:
        raise ClusterError("building images needs root: use sudo, or build the Dockerfile with an engine of yours")
    debian_packages.install_missing(NEEDED_PROGRAMS)
    purpose = f"building the {recipe.name}'s image (`python3 local/images clean` forgets older ones)"
    require_free_disk(folder(), GIGABYTES_TO_BUILD[recipe.target], purpose)


def forget_older_archives(recipe: Recipe) -> None:
    """Keep the newest two archives, because somebody may be about to load the one before."""
    archives = folder().glob(f"{recipe.name}-{'[0-9a-f]' * DIGITS_OF_A_KEY}.tar")
    for archive in sorted(archives, key=lambda archive: archive.stat().st_mtime)[:-KEPT_ARCHIVES]:
        archive.unlink()


def clean() -> None:
    """Remove all archives, layers and downloaded packages."""
    with exclusive(folder() / "lock", "building images"):
        if (folder() / "buildah").exists():
            buildah.Store(folder() / "buildah").remove_images()
        for path in folder().iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()
