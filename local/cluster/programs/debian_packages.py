"""The Debian packages that the cluster takes programs from."""

import os
import shutil
import subprocess
from pathlib import Path

from cluster.faults import ClusterError
from cluster.narration import step

PROGRAMS_OF_THE_CONTROL_PLANE = {
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
PROGRAMS_OF_THE_NODE = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}


def missing_packages(programs: dict[str, str]) -> list[str]:
    """Return the packages of the programs that are missing. A program is a name on PATH or an absolute path."""
    return sorted({package for program, package in programs.items() if not is_there(program)})


def is_there(program: str) -> bool:
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return Path(program).exists() if program.startswith("/") else shutil.which(program, path=search) is not None


def install_missing(programs: dict[str, str]) -> None:
    packages = missing_packages(programs)
    if not packages:
        return
    if not Path("/usr/bin/apt-get").exists():
        raise ClusterError(f"missing {', '.join(packages)}, and this is not Debian: install them, or use CLUSTER=kind")
    with step(f"installing {' '.join(packages)}"):
        apt_get("update", "-q")
        apt_get("install", "-q", "-y", "--no-install-recommends", *packages)


def apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    ran = subprocess.run(["apt-get", *arguments], check=False, capture_output=True, text=True, env=environment)
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise ClusterError(f"`apt-get {' '.join(arguments)}` failed: {reason}")
