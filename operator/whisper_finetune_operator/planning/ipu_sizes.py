"""How many IPUs a run gets: what its spec says, else the fewest that its model and its runtime allow. Pure."""

from whisper_finetune_api.planning import ipu_planning, run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlanError
from whisper_finetune_api.planning.model_dimensions import dimensions_of
from whisper_finetune_api.planning.run_plan import RunPlan
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_operator import phases
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.planning.runtimes import Runtime, Runtimes
from whisper_finetune_operator.world import Run


def plan_ipus(
    run: Run, spec: WhisperFineTuneSpec, pinned: int | None, runtime: Runtime, runtimes: Runtimes
) -> tuple[int, RunPlan] | Phase:
    """Return the number of IPUs and the plan for them, or the phase of what cannot be, or cannot be had here.

    `pinned` is the status' number.
    """
    ipus = spec.ipus or pinned or _fewest(spec, runtime)
    if ipus is None:
        text = f"the fewest IPUs for {spec.model} are not known, for it is no model of OpenAI's; set spec.ipus"
        return phases.failed("InvalidSpec", text)
    try:
        planned = run_plan.make_run_plan(spec, "ipu", ipus=ipus)
    except IpuPlanError as impossible:
        return phases.failed("InvalidSpec", str(impossible))
    return (ipus, planned) if runtime.has_room_for(ipus) else _not_offered(run, ipus, runtime, runtimes)


def _fewest(spec: WhisperFineTuneSpec, runtime: Runtime) -> int | None:
    """Return the fewest IPUs that the model needs and the runtime offers; those it needs where it offers too few."""
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
    return phases.waits("RuntimeNotFound", text)
