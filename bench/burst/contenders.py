"""The contenders that are measured: what a client creates, its CRD, and the operator that makes Jobs of it."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.programs import binaries
from object_store.server_process import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
NAMESPACE = "default"
JOBSET = binaries.GoModule(
    Path(__file__).parent / "go-jobset",
    "sigs.k8s.io/jobset",
    {"jobset": "sigs.k8s.io/jobset"},
    minutes=3,
    files={"jobsets.yaml": "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml"},
)
POD_SPEC = {
    "restartPolicy": "Never",
    "containers": [
        {
            "name": "main",
            "image": "localhost/none:1",
            "command": ["true"],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        }
    ],
}
JOB_SPEC = {"backoffLimit": 0, "parallelism": 1, "completions": 1, "template": {"spec": POD_SPEC}}

#: As in its image, where the official client is missing. kopf would import it, for 9 MiB that an image does not have.
_OWN_PROGRAM = (
    "import runpy, sys; sys.modules['kubernetes'] = None; "
    "runpy.run_module('whisper_finetune_operator', run_name='__main__', alter_sys=True)"
)


@dataclass(frozen=True)
class Program:
    """How an operator is started."""

    command: list[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Resource:
    """A custom resource, and the file of its CRD in YAML or JSON."""

    api_version: str
    kind: str
    plural: str
    read_definition: Callable[[], str]

    @property
    def path(self) -> str:
        """Return the path of its objects on the API server."""
        return f"/apis/{self.api_version}/namespaces/{NAMESPACE}/{self.plural}"


@dataclass(frozen=True)
class Contender:
    """One custom resource, and the program that makes Jobs of its objects."""

    name: str
    resource: Resource
    spec: Mapping[str, Any]
    #: Returns the operator for a kubeconfig and a folder for its files. Without it the client makes Job and status.
    prepare: Callable[[Path, Path], Program] | None = None

    def object_of(self, name: str) -> dict[str, Any]:
        """Return the object that the client creates."""
        metadata = {"name": name}
        return {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": metadata,
            "spec": self.spec,
        }


def job_of(name: str) -> dict[str, Any]:
    """Return the Job that the bare client makes."""
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": JOB_SPEC}


def _own_definition() -> str:
    return (ROOT / "crds" / "whisperfinetunes.yaml").read_text(encoding="utf-8")


def _jobset_definition() -> str:
    return (binaries.compiled(JOBSET) / "jobsets.yaml").read_text(encoding="utf-8")


def _free_definition() -> str:
    """Return a CRD without a schema. It shows what it costs to write an object without one."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}},
    }
    names = {"kind": "FreeForm", "plural": "freeforms", "singular": "freeform"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "freeforms.bench.example"},
        "spec": {"group": "bench.example", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    return json.dumps(definition)


def _prepare_own(kubeconfig: Path, folder: Path) -> Program:
    runtimes = folder / "runtimes.yaml"
    cpu = {"name": "cpu", "accelerator": "cpu", "image": "localhost/none:1"}
    runtimes.write_text(json.dumps({"defaultRuntime": "cpu", "runtimes": [cpu]}), encoding="utf-8")
    arguments = ["--runtimes", str(runtimes), "--no-leader-election", "--kubeconfig", str(kubeconfig)]
    environment = {"PYTHONPATH": f"{ROOT}/crds:{ROOT}/operator", "OPERATOR_HEALTH_PORT": str(free_port())}
    return Program([sys.executable, "-c", _OWN_PROGRAM, *arguments], {**os.environ, **environment})


def _prepare_jobset(kubeconfig: Path, folder: Path) -> Program:
    """Prepare JobSet without its webhooks. The API server never calls them here, and JobSet pays nothing for them."""
    keys = kubeconfig.parent / "keys"
    for name, source in (("tls.crt", keys / "apiserver.crt"), ("tls.key", keys / "apiserver.key")):
        (folder / name).write_bytes(source.read_bytes())
    settings = {
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": "127.0.0.1", "port": free_port(), "certDir": str(folder)},
        "metrics": {"bindAddress": "0"},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{free_port()}"},
    }
    (folder / "jobset.yaml").write_text(json.dumps(settings), encoding="utf-8")
    command = [str(binaries.compiled(JOBSET) / "jobset"), "--config", str(folder / "jobset.yaml")]
    return Program(command, {**os.environ, "KUBECONFIG": str(kubeconfig)})


def _jobset_spec(*, with_service: bool) -> dict[str, Any]:
    """Return a JobSet with one Job, and with the fields that JobSet's own webhook would have filled in."""
    return {
        "suspend": False,
        "successPolicy": {"operator": "All"},
        "startupPolicy": {"startupPolicyOrder": "AnyOrder"},
        "network": {"enableDNSHostnames": with_service, "publishNotReadyAddresses": True},
        "replicatedJobs": [
            {"name": "w", "replicas": 1, "template": {"spec": {**JOB_SPEC, "completionMode": "Indexed"}}}
        ],
    }


_RUN = {
    "model": "openai/whisper-base",
    "language": "it",
    "dataset": {"source": "pvc://speech/it"},
    "output": {"uri": "pvc://speech/runs"},
}
_FREE_FORM = Resource("bench.example/v1", "FreeForm", "freeforms", _free_definition)
_JOBSET = Resource("jobset.x-k8s.io/v1alpha2", "JobSet", "jobsets", _jobset_definition)
_OWN = Resource("whisperfinetune.dev/v1alpha1", "WhisperFineTune", "whisperfinetunes", _own_definition)

BARE_CLIENT = Contender("bare client", _FREE_FORM, _RUN)
JOBSET_WITH_SERVICE = Contender("JobSet", _JOBSET, _jobset_spec(with_service=True), _prepare_jobset)
JOBSET_ALONE = Contender("JobSet without Service", _JOBSET, _jobset_spec(with_service=False), _prepare_jobset)
OURS = Contender("this operator", _OWN, _RUN, _prepare_own)
CONTENDERS = (BARE_CLIENT, JOBSET_WITH_SERVICE, JOBSET_ALONE, OURS)
