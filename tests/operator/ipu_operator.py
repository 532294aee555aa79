"""Start the double of Graphcore's IPU operator, and install its CRD."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from kubernetes import client

FOLDER = Path(__file__).parent / "ipu_operator_double"
DEFINITION = yaml.safe_load((FOLDER / "ipujobs.yaml").read_text(encoding="utf-8"))
NAME: str = DEFINITION["metadata"]["name"]
NOT_FOUND, NOT_READY = 404, 429


@contextmanager
def running(kubeconfig: Path) -> Iterator[None]:
    """Run its controller for as long as the block lasts."""
    process = subprocess.Popen([sys.executable, str(FOLDER), str(kubeconfig)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def install(api: client.ApiClient) -> None:
    """Make the cluster know IPUJobs."""
    extensions = client.ApiextensionsV1Api(api)
    if NAME not in definitions(extensions):
        extensions.create_custom_resource_definition(DEFINITION)


def is_served(api: client.ApiClient) -> bool:
    """Return whether IPUJobs can be listed: a definition is established moments before its storage is ready."""
    where = DEFINITION["spec"]["group"], DEFINITION["spec"]["versions"][0]["name"], "ipujobs"
    try:
        client.CustomObjectsApi(api).list_cluster_custom_object(*where)
    except client.ApiException as refusal:
        if refusal.status not in (NOT_FOUND, NOT_READY):
            raise
        return False
    return True


def remove(api: client.ApiClient) -> None:
    """Make the cluster forget IPUJobs, and every one of them, those that no controller lets go any more too."""
    extensions, custom = client.ApiextensionsV1Api(api), client.CustomObjectsApi(api)
    if NAME not in definitions(extensions):
        return
    where = DEFINITION["spec"]["group"], DEFINITION["spec"]["versions"][0]["name"]
    for left in custom.list_cluster_custom_object(*where, "ipujobs")["items"]:
        place = left["metadata"]["namespace"], "ipujobs", left["metadata"]["name"]
        custom.patch_namespaced_custom_object(*where, *place, {"metadata": {"finalizers": None}})
    extensions.delete_custom_resource_definition(NAME)


def definitions(extensions: client.ApiextensionsV1Api) -> list[str]:
    return [each.metadata.name for each in extensions.list_custom_resource_definition().items]
