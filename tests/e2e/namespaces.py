"""A namespace of its own for each test, with the claims that its runs use."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kubernetes import client

from e2e.waiting import wait_until

#: The strictest level: a trainer pod that asked for more than it needs would be refused.
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
#: Tells what the tests made, and which namespace a volume is for.
MARK = "whisperfinetune.dev/end-to-end-test"
SECONDS_TO_DELETE = 180


@contextmanager
def made_namespace(api: client.ApiClient, name: str, claims: Mapping[str, Path]) -> Iterator[str]:
    """Make the namespace and a bound claim for each folder of the node; all of it is gone afterwards."""
    core = client.CoreV1Api(api)
    metadata = client.V1ObjectMeta(name=name, labels={**RESTRICTED, MARK: name})
    core.create_namespace(client.V1Namespace(metadata=metadata))
    for claim, folder in claims.items():
        make_claim(core, name, claim, folder)
    yield name
    delete(core, name)


def remove_leftovers(api: client.ApiClient) -> None:
    """Wait until the namespaces of earlier tests are gone, those of interrupted ones too."""
    core = client.CoreV1Api(api)
    for namespace in core.list_namespace(label_selector=MARK).items:
        name = namespace.metadata.name
        delete(core, name)
        gone = functools.partial(is_gone, core, name)
        wait_until(gone, SECONDS_TO_DELETE, f"namespace {name} is gone", functools.partial(remains, core, name))
    core.delete_collection_persistent_volume(label_selector=MARK)


def delete(core: client.CoreV1Api, name: str) -> None:
    """Delete the namespace, unless that has been done; the cluster takes a quarter of a minute over it."""
    if not is_gone(core, name):
        core.delete_namespace(name)


def make_claim(core: client.CoreV1Api, namespace: str, claim: str, folder: Path) -> None:
    """A PersistentVolume on a folder of the node, and the claim that is bound to it from the start."""
    size = {"storage": "1Gi"}
    volume = client.V1PersistentVolume(
        metadata=client.V1ObjectMeta(name=volume_name(namespace, claim), labels={MARK: namespace}),
        spec=client.V1PersistentVolumeSpec(
            capacity=size,
            access_modes=["ReadWriteMany"],
            storage_class_name="",
            claim_ref=client.V1ObjectReference(namespace=namespace, name=claim),
            host_path=client.V1HostPathVolumeSource(path=str(folder), type="Directory"),
        ),
    )
    core.create_persistent_volume(volume)
    wanted = client.V1PersistentVolumeClaimSpec(
        access_modes=["ReadWriteMany"],
        storage_class_name="",
        volume_name=volume_name(namespace, claim),
        resources=client.V1VolumeResourceRequirements(requests=size),
    )
    metadata = client.V1ObjectMeta(name=claim)
    core.create_namespaced_persistent_volume_claim(
        namespace, client.V1PersistentVolumeClaim(metadata=metadata, spec=wanted)
    )


def volume_name(namespace: str, claim: str) -> str:
    return f"{namespace}-{claim}"


def is_gone(core: client.CoreV1Api, namespace: str) -> bool:
    try:
        core.read_namespace(namespace)
    except client.ApiException as refusal:
        if refusal.status != 404:
            raise
        return True
    return False


def remains(core: client.CoreV1Api, namespace: str) -> str:
    """What the API server says is in the way of the namespace's end."""
    conditions = core.read_namespace(namespace).status.conditions or []
    return "\n".join(f"{condition.type}: {condition.message}" for condition in conditions)
