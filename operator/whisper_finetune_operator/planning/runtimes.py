"""The admin's file: what the cluster offers to run trainers on, and who may use it."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from whisper_finetune_api import reading
from whisper_finetune_api.contract import CONTRACT_ENV
from whisper_finetune_api.planning.ipu_layout import PARTITION_SIZES
from whisper_finetune_api.run import CONFIG_ENV, TAKES_OVER_ENV, Accelerator
from whisper_finetune_api.v1alpha1.api_model import ApiModel
from whisper_finetune_operator.partitions import pools
from whisper_finetune_operator.partitions.pools import Inventory, Partitions
from whisper_finetune_operator.planning import quantities
from whisper_finetune_operator.planning.kubernetes_schema import Toleration, VolumeSource
from whisper_finetune_operator.planning.pod_additions import PodTemplate
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
_OBJECT_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
Quantity = Annotated[str, Field(pattern=quantities.PATTERN, coerce_numbers_to_str=True)]
Quantities = dict[str, Quantity]
_OWN_ENV = (CONFIG_ENV, CONTRACT_ENV, TAKES_OVER_ENV)


#: In `namespaces`, this stands for all of them.
_ALL = "*"


class RuntimesError(Exception):
    """The file cannot be used. The text is one line for the admin."""

    def __init__(self, text: str) -> None:
        super().__init__(reading.printable_text(text))


class Resources(ApiModel):
    """Requests and limits of the trainer's container, as a pod has them."""

    requests: Quantities = Field(default_factory=dict, description="What the scheduler keeps for the container.")
    limits: Quantities = Field(default_factory=dict, description="The most that the container may use.")


class Security(ApiModel):
    """What the pod may do. The defaults keep Pod Security's `restricted`."""

    privileged: bool = Field(default=False, description="All rights on the node, and all of its devices.")
    capabilities: tuple[str, ...] = Field(
        (), description="Capabilities that the container keeps. All others are dropped."
    )
    run_as_user: int | None = Field(
        65532, ge=0, description="User of the trainer's process. 0 is root. null: as the cluster or the image says."
    )
    fs_group: int | None = Field(
        65532, ge=0, description="Group to which the pod's volumes belong. null: as the cluster says."
    )
    read_only_root: bool = Field(default=True, description="The image's own files cannot be changed.")


class CaBundle(ApiModel):
    """Certificates of the authorities that a trainer trusts, in place of the image's own."""

    config_map: str = Field(
        min_length=1, max_length=253, pattern=_OBJECT_NAME, description="Name of a ConfigMap in the run's namespace."
    )
    key: str = Field(
        "ca.crt", pattern=r"^[-._a-zA-Z0-9]{1,253}$", description="Key of the ConfigMap with the certificates in PEM."
    )


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"must be {' or '.join(KINDS)}")
    return kind


#: A kind of workload, by its name.
KindName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(KINDS)})]


class Runtime(ApiModel):
    """One way to run a trainer."""

    name: Name = Field(description="Name of the runtime, by which a run asks for it.")
    accelerator: Accelerator = Field(description="What the trainer computes on.")
    image: str = Field(min_length=1, description="The trainer's image.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="When a node pulls the image. Absent: as Kubernetes chooses by the image's tag."
    )
    image_pull_secrets: tuple[str, ...] = Field(
        (), description="Names of Secrets to pull the image with, in the namespace of each run."
    )
    workload: KindName = Field(kinds.DEFAULT.name, description="What a run becomes.")
    resource: str | None = Field(None, description="Extended resource of a device plugin, such as nvidia.com/gpu.")
    accelerator_memory: Quantity | None = Field(
        None,
        description="Memory of one GPU, such as 24Gi. A new run of one of OpenAI's models that cannot fit into it by "
        "the estimate fails with InvalidSpec and with what would fit. Absent: every run is tried.",
    )
    partitions: Partitions | None = None
    ipu_sizes: tuple[Literal[1, 2, 4, 8, 16, 32, 64], ...] = Field(
        (), description="Numbers of IPUs that a run may have. Absent: all powers of two up to 64. A pool has its own."
    )
    ipu_wait_seconds: int = Field(600, ge=1, description="How long a trainer waits for IPUs that somebody still uses.")
    namespaces: tuple[str, ...] | None = Field(
        None,
        description="Namespaces that may use the runtime. Absent: all. A runtime with rights on its node must name "
        'them, or say ["*"].',
    )
    node_selector: dict[str, str] = Field(default_factory=dict, description="Labels of the nodes that take the pods.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints of nodes that the pods tolerate.")
    resources: Resources = Resources()
    extra_resources: Quantities = Field(default_factory=dict, description="Extended resources besides `resource`.")
    security: Security = Security()
    host_network: bool = Field(default=False, description="The pod has the network of its node.")
    host_ipc: bool = Field(
        default=False, alias="hostIPC", description="The pod shares the memory segments of its node."
    )
    shared_memory: Quantity | None = Field(
        None,
        description="Size of a memory-backed /dev/shm. Absent: what a run's loader on IPUs needs, without hostIPC.",
    )
    max_steps: int | None = Field(
        None,
        ge=1,
        description="Most steps that a run may train (training.steps). A new run with more fails with InvalidSpec, and "
        "one that has begun goes on. Absent: as many as the API allows.",
    )
    grace_seconds: int = Field(300, ge=1, description="From SIGTERM to SIGKILL: the time to save a checkpoint.")
    stall_seconds: int | None = Field(
        None,
        ge=60,
        description="A run that has taken no training step for so long says NoProgress, and goes on. It must be longer "
        "than a step, a save and an upload together. Absent: no run says so.",
    )
    scratch_limit: Quantity = Field(
        "10Gi",
        description="The most that a run may write to its scratch space, on its node's disk. The pod asks for it, for "
        "2Gi of /tmp and for 1Gi of its log as ephemeral-storage, unless resources say otherwise.",
    )
    model_cache: VolumeSource | None = Field(
        None, description="Volume for downloads from the Hub (HF_HOME), shared by all runs."
    )
    executable_cache: VolumeSource | None = Field(
        None, description="Volume for compiled IPU programs, shared by all runs."
    )
    ca_bundle: CaBundle | None = Field(
        None,
        description="Certificates of all authorities that trainers are to trust for stores, trackers and the Hub, with "
        "the public ones where they are needed.",
    )
    pod_template: PodTemplate = PodTemplate()
    env: dict[str, str] = Field(default_factory=dict, description="Further environment variables of the trainer.")
    progress_port: int = Field(
        8080,
        ge=1,
        le=65535,
        description="Port of the trainer's progress and metrics. With the host's network it is the first of 1,000, and "
        "each run has one of them. In a pool, each partition has the next one.",
    )

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        ipu, cuda = self.accelerator == "ipu", self.accelerator == "cuda"
        brings_ipus = self.kind.brings_ipus
        ways = [self.partitions is not None, self.resource is not None, brings_ipus]
        for_ipus = self.partitions is not None or brings_ipus
        kind = f"workload: {' or '.join(kind.name for kind in KINDS.values() if kind.brings_ipus)}"
        rules = {
            f"accelerator ipu needs one of partitions, resource or {kind}": not ipu or sum(ways) == 1,
            "accelerator cuda needs resource, such as nvidia.com/gpu": not cuda or self.resource is not None,
            "acceleratorMemory is for accelerator cuda": cuda or self.accelerator_memory is None,
            "accelerator cpu takes no resource": ipu or cuda or self.resource is None,
            f"partitions and {kind} are for accelerator ipu": ipu or not for_ipus,
            f"ipuSizes is for {kind} and for a resource of IPUs": not self.ipu_sizes
            or (ipu and self.partitions is None),
            **{f"env must not set {name}: it is the operator's own": name not in self.env for name in _OWN_ENV},
        }
        if broken := [rule for rule, holds in rules.items() if not holds]:
            raise ValueError("; ".join(broken))
        return self

    @property
    def kind(self) -> WorkloadKind:
        """What its runs become."""
        return KINDS[self.workload]

    @property
    def shares_host_network(self) -> bool:
        """Return whether its pods have their host's network, and so its ports."""
        return self.host_network or self.kind.shares_host_network

    def rights_on_node(self) -> tuple[str, ...]:
        """Return the fields that reach beyond a pod. A runtime that any tenant may have sets none of them."""
        security = self.security
        found = {
            "hostNetwork": self.host_network,
            "hostIPC": self.host_ipc,
            "security.privileged": security.privileged,
            "security.runAsUser: 0": security.run_as_user == 0,
            f"security.capabilities: {', '.join(security.capabilities)}": bool(security.capabilities),
            "modelCache.hostPath": "hostPath" in (self.model_cache or ()),
            "executableCache.hostPath": "hostPath" in (self.executable_cache or ()),
            "podTemplate.spec.volumes: hostPath": self.pod_template.has_host_paths,
        }
        return tuple(field for field, is_there in found.items() if is_there)

    def open_to(self, namespace: str) -> bool:
        """Return whether runs of that namespace may use this runtime."""
        return self.namespaces is None or bool({namespace, _ALL}.intersection(self.namespaces))

    def offered_ipus(self) -> tuple[int, ...]:
        """Return the numbers of IPUs that a run can have here, ascending. Without IPUs there are none."""
        if self.accelerator != "ipu":
            return ()
        pool = {partition.ipus for partition in self.partitions.pool} if self.partitions else set[int]()
        return tuple(sorted(pool or self.ipu_sizes or PARTITION_SIZES))

    def has_room_for(self, ipus: int) -> bool:
        """Return whether a run with so many IPUs can run here. A partition of a pool may have more than it needs."""
        offered = self.offered_ipus()
        return any(size >= ipus for size in offered) if self.partitions else ipus in offered


class Runtimes(ApiModel):
    """The whole file."""

    default_runtime: Name | None = Field(None, description="Runtime of the runs that name none. Absent: they must.")
    runtimes: tuple[Runtime, ...] = Field(min_length=1, description="What the cluster offers.")

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        names = [runtime.name for runtime in self.runtimes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two runtimes are called {', '.join(twice)}")
        if self.default_runtime not in (None, *names):
            raise ValueError(f"defaultRuntime {self.default_runtime} is not one of {', '.join(names)}")
        if doubtful := pools.doubtful_ids(self.inventory.members):
            raise ValueError(
                f"partition {', '.join(doubtful)} stands in two pools: write apiHost the same way in both where it "
                "is one V-IPU server, else give each pool the name of its own in server"
            )
        if unclear := self._partitions_of_two_sizes():
            raise ValueError(f"two runtimes disagree on the IPUs of partition {', '.join(unclear)}")
        return self

    def _partitions_of_two_sizes(self) -> list[str]:
        sizes: dict[str, set[int]] = {}
        ids = {}
        for partition in self.inventory.members:
            sizes.setdefault(partition.lease_name, set()).add(partition.ipus)
            ids[partition.lease_name] = partition.id
        return sorted(ids[lease] for lease, found in sizes.items() if len(found) > 1)

    @cached_property
    def inventory(self) -> Inventory:
        """Return the partitions of all pools. One that two runtimes share is there twice."""
        of_runtimes = (runtime.partitions for runtime in self.runtimes if runtime.partitions)
        return Inventory(tuple(partition for pool in of_runtimes for partition in pool.members))

    @property
    def have_pools(self) -> bool:
        """Return whether any runtime has partitions of its own."""
        return any(runtime.partitions for runtime in self.runtimes)

    def make(self, kind: WorkloadKind) -> bool:
        """Return whether runs of any runtime become workloads of that kind."""
        return any(runtime.kind == kind for runtime in self.runtimes)

    def named(self, name: str) -> Runtime | None:
        """Return the runtime of that name, or None."""
        return next((runtime for runtime in self.runtimes if runtime.name == name), None)


def load_runtimes(path: Path) -> Runtimes:
    """Read the admin's file. Raises RuntimesError with what is wrong, where, and what to do."""
    try:
        found = Runtimes.model_validate(_yaml(path))
    except OSError as error:
        raise RuntimesError(f"runtimes file {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise RuntimesError(f"runtimes file {path}: {'; '.join(map(_line, error.errors()))}") from error
    if unguarded := [runtime for runtime in found.runtimes if runtime.namespaces is None and runtime.rights_on_node()]:
        rights = "; ".join(f"{runtime.name} ({', '.join(runtime.rights_on_node())})" for runtime in unguarded)
        raise RuntimesError(
            f"runtimes file {path}: these runtimes give whoever may make runs rights on the node: {rights}; name the "
            'namespaces that may use each in namespaces, or write namespaces: ["*"] for all of them'
        )
    return found


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise RuntimesError(f"runtimes file {path} is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise RuntimesError(f"runtimes file {path} is not YAML: {' '.join(str(error).split())}") from error


def _line(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"{place}: {error['msg']}" if place else str(error["msg"])
