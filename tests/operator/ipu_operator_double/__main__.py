"""A double of the controller of Graphcore's IPU operator, which needs IPUs and is closed source.

It does what public pages of its users show. For each IPUJob it makes one pod, NAME-worker-0, from the template, with
the partition that it "made" in its environment, and writes the pod's state into the status. A finalizer keeps the
IPUJob until its pod is gone. The real one's keeps it until the partition is gone.

usage: python tests/operator/ipu_operator_double KUBECONFIG
"""

import copy
import sys
import time
from typing import Any

from kubernetes import client, config

GROUP, VERSION, PLURAL, KIND = "graphcore.ai", "v1alpha1", "ipujobs", "IPUJob"
FINALIZER = "graphcore.ai/partition"
SECONDS_BETWEEN_LOOKS = 0.1
FORBIDDEN, NOT_FOUND, CONFLICT, NOT_READY = 403, 404, 409, 429
IpuJob = dict[str, Any]


def look_at_all(core: client.CoreV1Api, custom: client.CustomObjectsApi) -> None:
    """Bring each IPUJob one step further."""
    for ipu_job in custom.list_cluster_custom_object(GROUP, VERSION, PLURAL)["items"]:
        pod = pod_of(core, ipu_job)
        try:
            look_at(core, custom, ipu_job, pod)
        except client.ApiException as refusal:
            # It changed or went meanwhile, or its namespace has no service account yet: the next look sees how it is.
            if refusal.status not in (FORBIDDEN, NOT_FOUND, CONFLICT):
                raise


def look_at(core: client.CoreV1Api, custom: client.CustomObjectsApi, ipu_job: IpuJob, pod: client.V1Pod | None) -> None:
    metadata = ipu_job["metadata"]
    if "deletionTimestamp" in metadata:
        if pod is None:
            hold(custom, ipu_job, [each for each in metadata.get("finalizers", []) if each != FINALIZER])
        elif not pod.metadata.deletion_timestamp:
            core.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace)
    elif FINALIZER not in metadata.get("finalizers", []):
        hold(custom, ipu_job, [*metadata.get("finalizers", []), FINALIZER])
    elif pod is None and not ipu_job.get("status", {}).get("iPUPartitionCreated"):
        core.create_namespaced_pod(metadata["namespace"], worker(ipu_job))
        tell(custom, ipu_job, {"active": 1})
    elif pod is not None and pod.status.phase in ("Succeeded", "Failed"):
        tell(custom, ipu_job, {pod.status.phase.lower(): 1})


def worker(ipu_job: IpuJob) -> dict[str, Any]:
    """Return the pod of an IPUJob."""
    metadata, template = ipu_job["metadata"], copy.deepcopy(ipu_job["spec"]["workers"]["template"])
    partition = {
        "IPUOF_VIPU_API_HOST": "10.21.21.129",
        "IPUOF_VIPU_API_PORT": "8090",
        "IPUOF_VIPU_API_PARTITION_ID": f"p-{metadata['name']}-{metadata['uid'][:8]}",
        "IPUOF_VIPU_API_TIMEOUT": "120",
        "IPUOF_VIPU_API_GCD_ID": "0",
    }
    for container in template["spec"]["containers"]:
        container["env"] = [*container.get("env", []), *({"name": key, "value": partition[key]} for key in partition)]
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    own = {"name": f"{metadata['name']}-worker-0", "namespace": metadata["namespace"], "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template.get("metadata", {}), **own}}


def pod_of(core: client.CoreV1Api, ipu_job: IpuJob) -> client.V1Pod | None:
    metadata = ipu_job["metadata"]
    pods = core.list_namespaced_pod(
        metadata["namespace"], field_selector=f"metadata.name={metadata['name']}-worker-0"
    ).items
    return pods[0] if pods else None


def hold(custom: client.CustomObjectsApi, ipu_job: IpuJob, finalizers: list[str]) -> None:
    """Write who must let the IPUJob go before it is gone, if it is still the one that was seen."""
    metadata = ipu_job["metadata"]
    changes = {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}
    custom.patch_namespaced_custom_object(
        GROUP, VERSION, metadata["namespace"], PLURAL, metadata["name"], {"metadata": changes}
    )


def tell(custom: client.CustomObjectsApi, ipu_job: IpuJob, workers: dict[str, int]) -> None:
    """Write the status, unless it says so already."""
    metadata, known = ipu_job["metadata"], ipu_job.get("status", {})
    status = {
        "iPUPartitionCreated": True,
        "workersStatus": {"active": 0, "succeeded": 0, "failed": 0, **workers},
        "desiredReplicas": 1,
        "lastMessage": f"workers: {workers}",
    }
    if known.get("workersStatus") != status["workersStatus"]:
        custom.patch_namespaced_custom_object_status(
            GROUP, VERSION, metadata["namespace"], PLURAL, metadata["name"], {"status": status}
        )


def main(kubeconfig: str) -> None:
    """Work until killed; a cluster that does not know IPUJobs yet is waited for."""
    with config.new_client_from_config(kubeconfig) as api:
        core, custom = client.CoreV1Api(api), client.CustomObjectsApi(api)
        while True:
            try:
                look_at_all(core, custom)
            except client.ApiException as refusal:
                if refusal.status not in (NOT_FOUND, NOT_READY):
                    raise
            time.sleep(SECONDS_BETWEEN_LOOKS)


if __name__ == "__main__":
    main(sys.argv[1])
