"""Build the pod of a plan: one container that can do no more than train."""

from typing import Any

from whisper_finetune_api import contract
from whisper_finetune_api.contract import CONTRACT, CONTRACT_ENV
from whisper_finetune_api.run import CONFIG_ENV, SCRATCH_FOLDER, TAKES_OVER_ENV, TERMINATION_LOG
from whisper_finetune_operator.planning import pod_additions, quantities
from whisper_finetune_operator.planning.plan import TrainingPlan
from whisper_finetune_operator.planning.runtimes import Runtime, Security
from whisper_finetune_operator.workloads.pods import TRAINER_CONTAINER

MODEL_CACHE_FOLDER = "/caches/models"
EXECUTABLE_CACHE_FOLDER = "/caches/executables"
#: The V-IPU partition that the trainer attaches to.
PARTITION_ID_VARIABLE = "IPUOF_VIPU_API_PARTITION_ID"
_CERTIFICATES_FOLDER, _CERTIFICATES_FILE = "/certificates", "ca-bundle.crt"
_CERTIFICATES = f"{_CERTIFICATES_FOLDER}/{_CERTIFICATES_FILE}"
#: Read by the libraries of stores, trackers and the Hub: botocore, requests, and OpenSSL with aiohttp, httpx and Go.
_CERTIFICATES_ENV = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_DISK = "ephemeral-storage"
#: What libraries put into /tmp although TMPDIR is in the scratch space, and the container's log with all its other
#: files.
_TMP_LIMIT, _LOG_LIMIT = "2Gi", "1Gi"
#: Freed buffers stay in the process, because page faults cost up to a third of a step on a CPU.
_CPU_MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TOP_PAD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
}


def build_pod_template(plan: TrainingPlan, labels: dict[str, str]) -> dict[str, Any]:
    """Return the pod template of a workload, with the admin's additions under what the operator says."""
    return pod_additions.lay_under(plan.runtime.pod_template, _own_template(plan, labels))


def _own_template(plan: TrainingPlan, labels: dict[str, str]) -> dict[str, Any]:
    runtime, volumes = plan.runtime, _volumes(plan)
    return {
        "metadata": {"labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": runtime.grace_seconds,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": _pod_security(runtime.security),
            **_placement(runtime),
            "containers": [_container(plan, [mount for _, mount in volumes])],
            "volumes": [volume for volume, _ in volumes],
        },
    }


def _container(plan: TrainingPlan, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    runtime = plan.runtime
    container = {
        "name": TRAINER_CONTAINER,
        "image": runtime.image,
        "env": _environment(plan),
        "resources": _resources(plan),
        "securityContext": _container_security(runtime.security),
        "terminationMessagePath": TERMINATION_LOG,
        # Never the log's tail, which may have what a status must not show.
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }
    if runtime.image_pull_policy:
        container["imagePullPolicy"] = runtime.image_pull_policy
    if not runtime.shares_host_network:
        # With the host's network, the scheduler would take a declared port for a port of the host.
        container["ports"] = [{"name": "progress", "containerPort": plan.config.progress_port}]
    return container


def _environment(plan: TrainingPlan) -> list[dict[str, Any]]:
    """Return the variables by name. The run's Secrets win over the admin's, and these over the operator's own."""
    runtime = plan.runtime
    cores = runtime.resources.limits.get("cpu")
    plain = {
        "HOME": SCRATCH_FOLDER,
        "HF_HOME": MODEL_CACHE_FOLDER if runtime.model_cache else f"{SCRATCH_FOLDER}/huggingface",
        **_ipu_environment(plan),
        **({"OMP_NUM_THREADS": str(max(1, int(quantities.parse_quantity(cores))))} if cores else {}),
        **(dict.fromkeys(_CERTIFICATES_ENV, _CERTIFICATES) if runtime.ca_bundle else {}),
        **(_CPU_MALLOC if runtime.accelerator == "cpu" else {}),
        **runtime.env,
        "AWS_EC2_METADATA_DISABLED": "true",
        CONTRACT_ENV: str(CONTRACT),
        TAKES_OVER_ENV: "1",
        CONFIG_ENV: contract.config_json(plan.config),
    }
    variables: dict[str, dict[str, Any]] = {name: {"name": name, "value": value} for name, value in plain.items()}
    for reference in plan.config.spec.secret_refs:
        for key in reference.keys:
            source = {"name": reference.name, "key": key, "optional": False}
            variables[key] = {"name": key, "valueFrom": {"secretKeyRef": source}}
    return list(variables.values())


def _ipu_environment(plan: TrainingPlan) -> dict[str, str]:
    """Return the variables that the IPU software reads, by name. Without IPUs there are none."""
    if plan.config.accelerator != "ipu":
        return {}
    cache = EXECUTABLE_CACHE_FOLDER if plan.runtime.executable_cache else None
    caches = {"POPLAR_EXECUTABLE_CACHE_DIR": cache, "POPTORCH_CACHE_DIR": cache} if cache else {}
    return {
        "NUM_AVAILABLE_IPU": str(plan.config.ipus),
        # Without it libibverbs is not safe to fork, and data loaders fork.
        "RDMAV_FORK_SAFE": "1",
        **caches,
        **_vipu_partition(plan),
    }


def _vipu_partition(plan: TrainingPlan) -> dict[str, str]:
    """Return the variables that say where the run's partition is. With Graphcore's IPU operator, that one sets them."""
    if plan.partition is None:
        return {}
    return {
        "IPUOF_VIPU_API_HOST": plan.partition.api_host,
        "IPUOF_VIPU_API_PORT": str(plan.partition.api_port),
        PARTITION_ID_VARIABLE: plan.partition.id,
    }


def _resources(plan: TrainingPlan) -> dict[str, Any]:
    runtime = plan.runtime
    count = str(plan.config.ipus or 1)
    extended = {**({runtime.resource: count} if runtime.resource else {}), **runtime.extra_resources}
    disk = {_DISK: _disk_limit(runtime)}
    return {
        "requests": {**disk, **runtime.resources.requests, **extended},
        "limits": {**disk, **runtime.resources.limits, **extended},
    }


def _disk_limit(runtime: Runtime) -> str:
    """Return what a pod may write to its node's disk in all. A pod that writes more is ended, and no other one suffers.

    The API server refuses a limit below the request.
    """
    if given := runtime.resources.limits.get(_DISK):
        return given
    volumes = (runtime.model_cache, runtime.executable_cache, *runtime.pod_template.spec.volumes)
    limits = (runtime.scratch_limit, _TMP_LIMIT, _LOG_LIMIT, *(_volume_limit(volume, runtime) for volume in volumes))
    asked = quantities.parse_quantity(runtime.resources.requests.get(_DISK, "0"))
    return quantities.quantity_of_bytes(max(asked, sum(map(quantities.parse_quantity, limits))))


def _volume_limit(volume: dict[str, Any] | None, runtime: Runtime) -> str:
    """Return what a volume takes of the node's disk. Only an emptyDir takes any."""
    if not volume or "emptyDir" not in volume:
        return "0"
    source = volume["emptyDir"] or {}
    return "0" if source.get("medium") == "Memory" else str(source.get("sizeLimit") or runtime.scratch_limit)


def _volumes(plan: TrainingPlan) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each volume with its mount."""
    runtime = plan.runtime
    volumes = [
        _volume(
            f"claim-{place}",
            {"persistentVolumeClaim": {"claimName": claim.name}},
            claim.folder,
            read_only=claim.read_only,
        )
        for place, claim in enumerate(plan.claims)
    ]
    volumes.append(_volume("scratch", {"emptyDir": {"sizeLimit": runtime.scratch_limit}}, SCRATCH_FOLDER))
    volumes.append(_volume("tmp", {"emptyDir": {"sizeLimit": _TMP_LIMIT}}, "/tmp"))  # noqa: S108 (the pod's own)
    if plan.shared_memory:
        memory = {"emptyDir": {"medium": "Memory", "sizeLimit": plan.shared_memory}}
        volumes.append(_volume("shared-memory", memory, "/dev/shm"))  # noqa: S108 (the pod's own)
    if runtime.model_cache:
        volumes.append(_volume("model-cache", runtime.model_cache, MODEL_CACHE_FOLDER))
    if runtime.ca_bundle:
        items = [{"key": runtime.ca_bundle.key, "path": _CERTIFICATES_FILE}]
        bundle = {"configMap": {"name": runtime.ca_bundle.config_map, "items": items}}
        volumes.append(_volume("ca-bundle", bundle, _CERTIFICATES_FOLDER, read_only=True))
    if runtime.executable_cache:
        volumes.append(_volume("executable-cache", runtime.executable_cache, EXECUTABLE_CACHE_FOLDER))
    return volumes


def _volume(
    name: str, source: dict[str, Any], folder: str, *, read_only: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    mount: dict[str, Any] = {"name": name, "mountPath": folder}
    return {"name": name, **source}, {**mount, "readOnly": True} if read_only else mount


def _placement(runtime: Runtime) -> dict[str, Any]:
    """Return the fields of placement that the admin has set."""
    wishes = {
        "nodeSelector": runtime.node_selector,
        "tolerations": list(runtime.tolerations),
        "imagePullSecrets": [{"name": name} for name in runtime.image_pull_secrets],
        "hostNetwork": runtime.host_network,
        "dnsPolicy": "ClusterFirstWithHostNet" if runtime.host_network else None,
        "hostIPC": runtime.host_ipc,
    }
    return {field: wish for field, wish in wishes.items() if wish}


def _pod_security(security: Security) -> dict[str, Any]:
    user = security.run_as_user
    context: dict[str, Any] = {
        "runAsNonRoot": user != 0,
        # Absent, a cluster gives each namespace users of its own, as OpenShift does.
        **({"runAsUser": user, "runAsGroup": user} if user is not None else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if security.fs_group is not None:
        # To change the owner of each file of a large data set for each pod would take minutes.
        context |= {"fsGroup": security.fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    return context


def _container_security(security: Security) -> dict[str, Any]:
    if security.privileged:
        # The API server refuses a privileged container that may not gain privileges.
        return {"privileged": True, "readOnlyRootFilesystem": security.read_only_root}
    capabilities: dict[str, Any] = {"drop": ["ALL"]}
    if security.capabilities:
        capabilities["add"] = list(security.capabilities)
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": capabilities,
        "readOnlyRootFilesystem": security.read_only_root,
    }
