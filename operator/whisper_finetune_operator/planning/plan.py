"""From a spec to a plan: which runtime, which volumes, and all that the trainer is told."""

import math
import zlib
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from whisper_finetune_api import addresses
from whisper_finetune_api.planning import ipu_planning, run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlanError
from whisper_finetune_api.planning.model_dimensions import dimensions_of
from whisper_finetune_api.planning.run_plan import RunPlan
from whisper_finetune_api.run import VOLUMES_FOLDER, TrainerConfig
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_operator.next_steps import Phase, Pinned
from whisper_finetune_operator.partitions.pools import PoolPartition
from whisper_finetune_operator.planning import quantities
from whisper_finetune_operator.planning.runtimes import Runtime, Runtimes
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.workloads.workload_kind import QUEUE_LABEL

#: The only labels of a run that its Job gets. A copied instance label would make Argo CD prune the Job.
_COPIED_LABELS = (QUEUE_LABEL, "kueue.x-k8s.io/priority-class", "kueue.x-k8s.io/max-exec-time-seconds")
#: The rest of the scratch space is for temporary copies.
_CACHE_SHARE = 0.75
_MEBIBYTE = 1024**2
_GIBIBYTE = 1024**3
_ESTIMATE_MARGIN = 1.1
#: So many ports of a host are for the trainers that share its network, one for each run.
HOST_PORTS = 1000
_LAST_PORT = 65535
_NO_RESUME = "output.uri is a repository of the Hub, which gets one commit at the end: every attempt starts at step 0"


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim of the run's namespace, and where it is mounted."""

    name: str
    folder: str
    read_only: bool


@dataclass(frozen=True)
class TrainingPlan:
    """All that a workload is built from."""

    run: Run
    runtime: Runtime
    config: TrainerConfig
    claims: tuple[Claim, ...]
    #: Of the run, for Kueue.
    labels: dict[str, str]
    #: Size of a memory-backed /dev/shm. None: the node's own, or the container engine's.
    shared_memory: str | None = None
    #: What the user should know about the plan.
    warnings: tuple[str, ...] = ()
    #: Set for a runtime with a pool, once the run has a partition.
    partition: PoolPartition | None = None

    @property
    def pinned(self) -> Pinned:
        """What the run keeps of the plan."""
        return Pinned(self.runtime.name, self.config.ipus)

    def on(self, partition: PoolPartition) -> "TrainingPlan":
        """Return the plan for that partition. Pods that share a host's network have a port each."""
        shift = partition.index if self.runtime.host_network else 0
        config = self.config.model_copy(update={"progress_port": self.runtime.progress_port + shift})
        return replace(self, config=config, partition=partition)


def read_spec(run: Run) -> WhisperFineTuneSpec | Phase:
    """Return the run's typed spec, or the phase of one that the API server takes and this operator does not.

    The CRD has the same rules, so it is of another version then, and this operator must not ignore a field.
    """
    try:
        return WhisperFineTuneSpec.model_validate(run.spec)
    except ValidationError as error:
        faults = (f"spec.{'.'.join(map(str, fault['loc']))}: {_in_words(fault)}" for fault in error.errors())
        text = f"this operator is older than the CRD, or of another version: {'; '.join(faults)}; upgrade the operator"
        return Phase.waiting("VersionMismatch", text)


def _in_words(fault: Any) -> str:
    return "it does not know this field" if fault["type"] == "extra_forbidden" else str(fault["msg"])


def plan_run(run: Run, pinned: Pinned, runtimes: Runtimes) -> TrainingPlan | Phase:
    """Return the plan of a run, or the phase of a run whose spec is not understood or cannot be planned for now."""
    spec = read_spec(run)
    return spec if isinstance(spec, Phase) else make_plan(run, spec, pinned, runtimes)


def make_plan(run: Run, spec: WhisperFineTuneSpec, pinned: Pinned, runtimes: Runtimes) -> TrainingPlan | Phase:
    """Return the plan, or the phase of a run that cannot be planned for now."""
    keys = [key for reference in spec.secret_refs for key in reference.keys]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        return Phase.failed("InvalidSpec", f"secretRefs: {', '.join(twice)} is taken from more than one Secret")
    runtime = _choose(run, spec, pinned.runtime, runtimes)
    if isinstance(runtime, Phase):
        return runtime
    # A run that has begun was allowed: a limit that is lowered later must not end it between two attempts.
    if pinned.runtime is None and (refused := _above_limit(spec, runtime) or _above_memory(spec, runtime)):
        return refused
    planned = _run_plan(run, spec, pinned.ipus, runtime, runtimes)
    if isinstance(planned, Phase):
        return planned
    ipus, run_planned = planned
    claims = _claims(spec)
    config = TrainerConfig(
        name=run.name,
        namespace=run.namespace,
        uid=run.uid,
        generation=run.generation,
        spec=_told_to_trainers(spec),
        accelerator=runtime.accelerator,
        ipus=ipus,
        ipu_wait_seconds=runtime.ipu_wait_seconds,
        schedule=run_plan.schedule_for_older_trainers(run_planned.schedule, spec.training.batch_size),
        volumes={claim.name: claim.folder for claim in claims},
        progress_port=_progress_port(run, runtime),
        grace_seconds=runtime.grace_seconds,
        scratch_limit_bytes=int(quantities.parse_quantity(runtime.scratch_limit) * _CACHE_SHARE),
    )
    labels = {label: run.labels[label] for label in _COPIED_LABELS if label in run.labels}
    shared_memory = _shared_memory(runtime, run_planned)
    return TrainingPlan(run, runtime, config, claims, labels, shared_memory, _warnings(spec, run_planned))


def _told_to_trainers(spec: WhisperFineTuneSpec) -> WhisperFineTuneSpec:
    """Return the spec without what only operators read. Older trainers refuse fields that they do not know."""
    return spec.model_copy(update={"operator_class": None}) if spec.operator_class else spec


def _above_limit(spec: WhisperFineTuneSpec, runtime: Runtime) -> Phase | None:
    """Return the phase of a run that asks for more than the runtime's admin allows."""
    steps, most = spec.training.steps, runtime.max_steps
    if most is None or steps <= most:
        return None
    return Phase.failed(
        "InvalidSpec",
        f"training.steps is {steps}, and the cluster's admin allows at most {most} on runtime {runtime.name} "
        "(maxSteps); make a new run with fewer steps, or on another runtime",
    )


def _above_memory(spec: WhisperFineTuneSpec, runtime: Runtime) -> Phase | None:
    """Return the phase of a run that cannot fit into the memory that the runtime's cards have."""
    dimensions = dimensions_of(spec.model)
    if dimensions is None or runtime.accelerator_memory is None:
        return None
    # The estimate may be too high by a tenth, and nobody is to be refused who may fit.
    limit = quantities.parse_quantity(runtime.accelerator_memory) * _ESTIMATE_MARGIN
    least = run_plan.least_bytes(spec.training, dimensions)
    if least <= limit:
        return None
    advice = (*run_plan.changes_that_fit(spec.model, spec.training, int(limit)), "name a runtime with larger cards")
    return Phase.failed(
        "InvalidSpec",
        f"training {spec.model} takes at least {least / _GIBIBYTE:.1f} GiB, and a card of runtime {runtime.name} has "
        f"{runtime.accelerator_memory} (acceleratorMemory): {', or '.join(advice)}",
    )


def _progress_port(run: Run, runtime: Runtime) -> int:
    """Return the trainer's port. With the host's network it is the run's own, because several may share a host.

    With a pool, each partition has a port of its own instead (TrainingPlan.on).
    """
    if not runtime.shares_host_network:
        return runtime.progress_port
    ports = min(HOST_PORTS, _LAST_PORT - runtime.progress_port + 1)
    return runtime.progress_port + zlib.crc32(run.uid.encode()) % ports


def _warnings(spec: WhisperFineTuneSpec, planned: RunPlan) -> tuple[str, ...]:
    of_ipus = planned.ipu.warnings if planned.ipu else ()
    output = addresses.parse_address(spec.output.uri)
    return (*of_ipus, _NO_RESUME) if output and output.scheme == "hf" else of_ipus


def _shared_memory(runtime: Runtime, planned: RunPlan) -> str | None:
    """Return the size that the admin gives, else what the loader's processes need. They take half of what they find."""
    if runtime.shared_memory or runtime.host_ipc or planned.loader is None or not planned.loader.shared_memory_bytes:
        return runtime.shared_memory
    return f"{math.ceil(2 * planned.loader.shared_memory_bytes / _MEBIBYTE)}Mi"


def _run_plan(
    run: Run, spec: WhisperFineTuneSpec, pinned_ipus: int | None, runtime: Runtime, runtimes: Runtimes
) -> tuple[int | None, RunPlan] | Phase:
    if runtime.accelerator == "ipu":
        return plan_ipus(run, spec, pinned_ipus, runtime, runtimes)
    return None, run_plan.make_run_plan(spec, runtime.accelerator)


def _choose(run: Run, spec: WhisperFineTuneSpec, pinned: str | None, runtimes: Runtimes) -> Runtime | Phase:
    name = spec.runtime or pinned or runtimes.default_runtime
    if name is None:
        return _not_found("spec.runtime is absent and the admin has set no default", run, runtimes)
    runtime = runtimes.named(name)
    if runtime is None or not runtime.open_to(run.namespace):
        return _not_found(f"there is no runtime {name} for namespace {run.namespace}", run, runtimes)
    if spec.ipus is not None and runtime.accelerator != "ipu":
        text = f"ipus is {spec.ipus}, but runtime {name} has no IPUs"
        return Phase.failed("InvalidSpec", text) if spec.runtime else _not_found(text, run, runtimes)
    if spec.output.exports and runtime.accelerator == "ipu":
        text = (
            f"output.exports: runtime {name} has IPUs, and trainers for IPUs have none of the engines that hear an "
            "export; leave output.exports out, or take a runtime with CPUs or GPUs"
        )
        return Phase.failed("InvalidSpec", text) if spec.runtime else _not_found(text, run, runtimes)
    if QUEUE_LABEL in run.labels and (runtime.partitions or not runtime.kind.is_queued_by_kueue):
        makes = f"makes workloads of kind {runtime.workload}, which Kueue does not know"
        why = "has its own queue" if runtime.partitions else makes
        text = f"runtime {name} {why}; take the label {QUEUE_LABEL} away, or take another runtime"
        return Phase.waiting("QueueNotSupported", text)
    return runtime


def _not_found(what: str, run: Run, runtimes: Runtimes) -> Phase:
    offered = ", ".join(runtime.name for runtime in runtimes.runtimes if runtime.open_to(run.namespace)) or "none"
    return Phase.waiting("RuntimeNotFound", f"{what}; offered here: {offered}")


def _claims(spec: WhisperFineTuneSpec) -> tuple[Claim, ...]:
    """Return each claim once, in order of name. Only the output's may be written to."""
    output = addresses.claim_of(spec.output.uri)
    sources = (spec.dataset.source, *(each.source for each in spec.evaluations or ()))
    addressed = (addresses.claim_of(text) for text in (spec.model, *sources, spec.output.uri))
    named = sorted({claim for claim in addressed if claim})
    return tuple(Claim(name, f"{VOLUMES_FOLDER}/{name}", read_only=name != output) for name in named)


def plan_ipus(
    run: Run, spec: WhisperFineTuneSpec, pinned: int | None, runtime: Runtime, runtimes: Runtimes
) -> tuple[int, RunPlan] | Phase:
    """Return the number of IPUs and the plan for them, or the phase where that is impossible or not offered here.

    `pinned` is the number in the status.
    """
    ipus = spec.ipus or pinned or _fewest(spec, runtime)
    if ipus is None:
        text = (
            f"the fewest IPUs for {spec.model} are not known, because it is not one of OpenAI's models; set spec.ipus"
        )
        return Phase.failed("InvalidSpec", text)
    try:
        planned = run_plan.make_run_plan(spec, "ipu", ipus=ipus)
    except IpuPlanError as impossible:
        return Phase.failed("InvalidSpec", str(impossible))
    return (ipus, planned) if runtime.has_room_for(ipus) else _not_offered(run, ipus, runtime, runtimes)


def _fewest(spec: WhisperFineTuneSpec, runtime: Runtime) -> int | None:
    """Return the fewest IPUs that the model needs and the runtime offers. Where that offers too few, those it needs."""
    dimensions = dimensions_of(spec.model)
    if dimensions is None:
        return None
    needed = ipu_planning.smallest_partition(dimensions, spec.ipu_config)
    return next((size for size in runtime.offered_ipus() if size >= needed), needed)


def _not_offered(run: Run, ipus: int, runtime: Runtime, runtimes: Runtimes) -> Phase:
    here = [each for each in runtimes.runtimes if each.accelerator == "ipu" and each.open_to(run.namespace)]
    others = ", ".join(each.name for each in here if each.has_room_for(ipus))
    most = max(size for each in here for size in each.offered_ipus())
    instead = f"runtimes with so many: {others}" if others else f"the most that any runtime offers here is {most}"
    sizes = ", ".join(map(str, runtime.offered_ipus()))
    text = f"the run needs {ipus} IPUs; runtime {runtime.name} offers {sizes}; {instead}"
    return Phase.waiting("RuntimeNotFound", text)
