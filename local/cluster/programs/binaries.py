"""The cluster's programs, compiled once from pinned Go modules and cached by a digest of their sources."""

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.faults import ClusterError
from cluster.folders import SOURCE, cache_root, require_free_disk
from cluster.host.locks import exclusive
from cluster.narration import say, step
from cluster.programs.go_toolchain import find_go

SECONDS_BETWEEN_REPORTS = 20


@dataclass(frozen=True)
class GoModule:
    """A go.mod of this repository, and the programs that it pins: the Go package of each name."""

    folder: Path
    pinned: str
    programs: dict[str, str]
    version_variables: tuple[str, ...] = ()
    minutes: int = 1
    tags: str = ""
    """Tags of the build, such as those that leave parts out."""
    files: dict[str, str] = field(default_factory=dict)
    """Data that a program needs from its module: name in the cache to path in the module."""

    @property
    def version(self) -> str:
        found = re.search(rf"{re.escape(self.pinned)} (v\S+)", (self.folder / "go.mod").read_text())
        return found[1] if found else "v1"

    @property
    def build_flags(self) -> list[str]:
        variables = [f"-X {variable}={self.version}" for variable in self.version_variables]
        tags = ["-tags", self.tags] if self.tags else []
        return [*tags, "-trimpath", "-buildvcs=false", "-ldflags", " ".join(["-s", "-w", *variables])]

    @property
    def cached(self) -> Path:
        """The folder of the compiled programs. It is another one once the source, the version or a flag changes."""
        digest = hashlib.sha256(" ".join(self.build_flags).encode())
        for file in sorted(self.folder.iterdir()):
            digest.update(file.read_bytes())
        return cache_root() / "bin" / f"{self.folder.name.removeprefix('go-')}-{self.version}-{digest.hexdigest()[:12]}"


KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
CONTROL_PLANE_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def kubernetes_module(folder: str, programs: Sequence[str]) -> GoModule:
    return GoModule(
        SOURCE / folder,
        "k8s.io/kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in programs} | {"etcd": "go.etcd.io/etcd/server/v3"},
        ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
        minutes=6,
    )


KUBERNETES = kubernetes_module("go-kubernetes", KUBERNETES_PROGRAMS)
#: The control plane of the oldest version that the chart takes. It has no node.
OLDEST_KUBERNETES = kubernetes_module("go-kubernetes-oldest", CONTROL_PLANE_PROGRAMS)
PAUSE = GoModule(SOURCE / "go-pause", "", {"pause": "whisperfinetune.dev/cluster-pause"})
PROBE = GoModule(SOURCE / "go-probe", "", {"probe": "whisperfinetune.dev/cluster-probe"})
HELM = GoModule(
    SOURCE / "go-helm", "helm.sh/helm/v4", {"helm": "helm.sh/helm/v4/cmd/helm"},
    ("helm.sh/helm/v4/internal/version.version",), minutes=3,
)  # fmt: skip
KWOK = GoModule(
    SOURCE / "go-kwok", "sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, minutes=2,
    files={
        "node-initialize.yaml": "kustomize/stage/node/fast/node-initialize.yaml",
        "node-heartbeat.yaml": "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    },
)  # fmt: skip
KIND = GoModule(
    SOURCE / "go-kind", "sigs.k8s.io/kind", {"kind": "sigs.k8s.io/kind"},
    files={"node-image.go": "pkg/apis/config/defaults/image.go"},
)  # fmt: skip
#: Without the clients of all clouds, by which Prometheus could find what it scrapes.
PROMETHEUS = GoModule(
    SOURCE / "go-prometheus", "github.com/prometheus/prometheus",
    {name: f"github.com/prometheus/prometheus/cmd/{name}" for name in ("prometheus", "promtool")},
    minutes=4, tags="remove_all_sd",
)  # fmt: skip
#: Kueue's manager. Its chart and its CRDs lie in the module's folder, which `module_folder` finds.
KUEUE = GoModule(
    SOURCE / "go-kueue", "sigs.k8s.io/kueue", {"kueue": "sigs.k8s.io/kueue/cmd/kueue"},
    ("sigs.k8s.io/kueue/pkg/version.GitVersion",), minutes=6,
)  # fmt: skip
MODULES = (KUBERNETES, OLDEST_KUBERNETES, PAUSE, PROBE, HELM, KWOK, KIND, PROMETHEUS, KUEUE)


def program(name: str) -> Path:
    """Return the path of one program. It is compiled first if it is not cached."""
    for module in MODULES:
        if name in module.programs:
            return compiled(module, [name]) / name
    known = sorted({name for module in MODULES for name in module.programs})
    raise ClusterError(f"no program {name!r}: there are {', '.join(known)}")


def compiled(module: GoModule, names: Sequence[str] = ()) -> Path:
    """Return the folder with these programs of the module, or with all. Missing programs are compiled first."""
    wanted = list(names or module.programs)
    with exclusive(module.cached / "lock", f"compiling {module.folder.name}"):
        missing = [name for name in wanted if not (module.cached / name).exists()]
        if missing:
            compile_programs(module, missing)
    return module.cached


def compile_programs(module: GoModule, names: Sequence[str]) -> None:
    require_free_disk(module.cached, 5, "compiling the cluster's programs")
    go = find_go()
    unfinished = module.cached / "unfinished"
    unfinished.mkdir(exist_ok=True)
    log = module.cached / "compile.log"
    title = f"compiling {', '.join(names)} {module.version}"
    with step(f"{title} (about {module.minutes} min on 2 cores the first time; log: {log})"):
        packages = {name: module.programs[name] for name in names}
        build = [str(go), "build", "-v", *module.build_flags, "-o", f"{unfinished}/", *packages.values()]
        run_and_report(build, module.folder, log)
        copy_files(module, go)
        for name, package in packages.items():
            (unfinished / built_name(package)).rename(module.cached / name)


def built_name(package: str) -> str:
    """The file name that `go build` gives: the package's last part that is not a version, so etcd's is `server`."""
    return next(part for part in reversed(package.split("/")) if not re.fullmatch(r"v\d+", part))


def run_and_report(command: list[str], folder: Path, log: Path) -> None:
    """Run a compilation, and say now and then how far it is."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    with log.open("ab") as output:
        began = output.tell()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=environment)
        next_report = time.monotonic() + SECONDS_BETWEEN_REPORTS
        while process.poll() is None:
            try:
                process.wait(max(0.0, next_report - time.monotonic()))
            except subprocess.TimeoutExpired:
                packages = log.read_bytes()[began:].count(b"\n")
                say(f"  {packages} packages compiled")
                next_report += SECONDS_BETWEEN_REPORTS
    if process.returncode:
        raise ClusterError(f"`go build` failed in {folder}: see the end of {log}")


def copy_files(module: GoModule, go: Path) -> None:
    if not module.files:
        return
    source = module_folder(module, go)
    for name, path in module.files.items():
        (module.cached / name).write_text((source / path).read_text())


def module_folder(module: GoModule, go: Path) -> Path:
    """Return where Go keeps the pinned module's own files."""
    listing = [str(go), "list", "-m", "-f", "{{.Dir}}", module.pinned]
    listed = subprocess.run(listing, check=True, capture_output=True, text=True, cwd=module.folder)
    return Path(listed.stdout.strip())
