"""A real Kueue beside the control plane: its own CRDs, its webhooks for Jobs, its manager, and queues for tests."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from cluster.clusters.compiled_cluster import CompiledCluster
from cluster.components.credentials import base64_of, make_authority, make_certificate
from cluster.folders import ClusterFolders
from cluster.programs import binaries
from cluster.programs.go_toolchain import find_go
from namespace_view import Namespace
from object_store.server_process import free_port
from operator_process import until

#: Set by `make test-kueue`.
COMPILE = "WITH_KUEUE"
GROUP, VERSION = "kueue.x-k8s.io", "v1beta2"
#: Its webhooks listen inside the cluster's own network namespace, where the API server is.
_ADDRESS = "127.0.0.1"
_WEBHOOK_PORT = 9443


def kueue_program() -> Path:
    """Return Kueue's manager. Compiling it takes minutes, so that is done by a command of its own."""
    if not os.environ.get(COMPILE) and not (binaries.KUEUE.cached / "kueue").exists():
        pytest.skip("Kueue is not compiled here: `make test-kueue` does it, in 7 minutes of processor time")
    return binaries.program("kueue")


class KueueManager:
    """Kueue with plain Jobs as its only framework. Ephemeral storage is left out of its quotas."""

    def __init__(self, kubeconfig: Path, api: client.ApiClient, folder: Path) -> None:
        program = kueue_program()
        self._api = api
        self._folder = folder
        self._parts = binaries.module_folder(binaries.KUEUE, find_go()) / "config" / "components"
        make_authority(folder)
        make_certificate(folder, "tls", "/CN=kueue", f"IP:{_ADDRESS}")
        client.CoreV1Api(api).create_namespace({"metadata": {"name": "kueue-system"}})
        self._install_definitions()
        (folder / "kueue.yaml").write_text(yaml.safe_dump(self._configuration()), encoding="utf-8")
        cluster = CompiledCluster(ClusterFolders(kubeconfig.parent.name))
        command = [
            *cluster.running().enter_network, *self._with_certificates_in_place(), program,
            f"--config={folder / 'kueue.yaml'}", f"--kubeconfig={kubeconfig}",
            "--feature-gates=VisibilityOnDemand=false",
        ]  # fmt: skip
        with (folder / "kueue.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self._install_webhooks()
        self._wait_until_it_answers()

    def _with_certificates_in_place(self) -> list[str]:
        """Return the prefix of a command that alone finds them where Kueue reads those of its metrics."""
        place = self._folder / "etc" / "kueue" / "metrics" / "certs"
        place.mkdir(parents=True)
        for name in ("tls.crt", "tls.key"):
            (place / name).write_bytes((self._folder / name).read_bytes())
        layers = f"lowerdir={self._folder / 'etc'}:/etc"
        mount = f'mount -t overlay kueue -o {layers} /etc && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mount, "sh"]

    def _configuration(self) -> dict[str, Any]:
        webhook = {"host": _ADDRESS, "port": _WEBHOOK_PORT, "certDir": str(self._folder)}
        return {
            "apiVersion": f"config.{GROUP}/{VERSION}",
            "kind": "Configuration",
            "namespace": "kueue-system",
            "health": {"healthProbeBindAddress": f"{_ADDRESS}:{free_port()}"},
            "metrics": {"bindAddress": "0"},
            "webhook": webhook,
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "integrations": {"frameworks": ["batch/job"]},
            "resources": {"excludeResourcePrefixes": ["ephemeral-storage"]},
        }

    def _install_definitions(self) -> None:
        extensions = client.ApiextensionsV1Api(self._api)
        for file in sorted((self._parts / "crd" / "bases").glob("*.yaml")):
            definition = yaml.safe_load(file.read_text(encoding="utf-8"))
            extensions.create_custom_resource_definition(definition)
            name = definition["metadata"]["name"]
            until(lambda name=name: _is_established(extensions, name), what=f"the kind {name}")

    def _install_webhooks(self) -> None:
        text = (self._parts / "webhook" / "manifests.yaml").read_text(encoding="utf-8")
        authority = base64_of((self._folder / "authority.crt").read_text(encoding="utf-8"))
        admission = client.AdmissionregistrationV1Api(self._api)
        for configuration in yaml.safe_load_all(text):
            configuration["webhooks"] = [each for each in configuration["webhooks"] if _is_served(each)]
            for each in configuration["webhooks"]:
                path = each["clientConfig"].pop("service")["path"]
                address = f"https://{_ADDRESS}:{_WEBHOOK_PORT}{path}"
                each["clientConfig"] = {"url": address, "caBundle": authority}
            if configuration["kind"] == "MutatingWebhookConfiguration":
                admission.create_mutating_webhook_configuration(configuration)
            else:
                admission.create_validating_webhook_configuration(configuration)

    def _wait_until_it_answers(self) -> None:
        """Wait until an object that its webhooks look at can be made."""
        flavor = {"metadata": {"name": "any"}, "spec": {}}

        def is_made() -> bool:
            assert self.process.poll() is None, f"Kueue ended: {self.log()[-2000:]}"
            try:
                self.create("resourceflavors", "ResourceFlavor", flavor)
            except client.ApiException:
                return False
            return True

        until(is_made, what="that Kueue's webhooks answer")

    def log(self) -> str:
        """Return what the manager has logged."""
        return (self._folder / "kueue.log").read_text(encoding="utf-8")

    def create(self, plural: str, kind: str, body: dict[str, Any], namespace: str | None = None) -> None:
        """Create one of Kueue's objects."""
        custom = client.CustomObjectsApi(self._api)
        whole = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, **body}
        if namespace:
            custom.create_namespaced_custom_object(GROUP, VERSION, namespace, plural, whole)
        else:
            custom.create_cluster_custom_object(GROUP, VERSION, plural, whole)

    def stop(self) -> None:
        """End the manager. Its webhooks go first, because nobody could make a Job otherwise."""
        admission = client.AdmissionregistrationV1Api(self._api)
        for kind in ("mutating", "validating"):
            getattr(admission, f"delete_{kind}_webhook_configuration")(f"{kind}-webhook-configuration")
        self.process.kill()
        self.process.wait()


class Queues:
    """The queues of one test's namespace, and the Workloads that Kueue makes there."""

    def __init__(self, kueue: KueueManager, place: Namespace, **quota: int | str) -> None:
        self._kueue, self._place = kueue, place
        resources = [{"name": _resource(name), "nominalQuota": amount} for name, amount in quota.items()]
        flavors = [{"name": "any", "resources": resources}]
        group = {"coveredResources": [each["name"] for each in resources], "flavors": flavors}
        spec = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.name}},
            "resourceGroups": [group],
            "preemption": {"withinClusterQueue": "LowerPriority"},
        }
        kueue.create("clusterqueues", "ClusterQueue", {"metadata": {"name": place.name}, "spec": spec})
        self.add("speech")

    def add(self, name: str) -> None:
        """Add a LocalQueue to the namespace."""
        body = {"metadata": {"name": name}, "spec": {"clusterQueue": self._place.name}}
        self._kueue.create("localqueues", "LocalQueue", body, self._place.name)

    def workload_of(self, job: client.V1Job) -> dict[str, Any] | None:
        """Return the Workload that Kueue has made for the Job."""
        found = self._place.custom.list_namespaced_custom_object(GROUP, VERSION, self._place.name, "workloads")
        owned = (each for each in found["items"] if each["metadata"]["ownerReferences"][0]["uid"] == job.metadata.uid)
        return next(owned, None)

    def activate(self, workload: dict[str, Any], *, active: bool) -> None:
        """Set whether anybody may admit the Workload."""
        name, body = workload["metadata"]["name"], {"spec": {"active": active}}
        where = (GROUP, VERSION, self._place.name, "workloads", name)
        self._place.custom.patch_namespaced_custom_object(*where, body)


def _resource(name: str) -> str:
    return {"gpus": "nvidia.com/gpu", "ipus": "c600.graphcore.ai/ipu"}.get(name, name)


def _is_served(webhook: dict[str, Any]) -> bool:
    """Return whether the webhook is for Kueue's own objects or for Jobs."""
    return all(set(rule["apiGroups"]) <= {GROUP, "batch"} for rule in webhook["rules"])


def _is_established(extensions: client.ApiextensionsV1Api, name: str) -> bool:
    conditions = extensions.read_custom_resource_definition(name).status.conditions or ()
    return any(each.type == "Established" and each.status == "True" for each in conditions)
