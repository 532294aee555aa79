"""Which runs wait for a V-IPU partition: by their specs alone, so that one not looked at yet keeps its place. Pure."""

from whisper_finetune_operator.partitions.partition_queue import Waiting
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.planning import plan
from whisper_finetune_operator.planning.plan import Pinned, TrainingPlan
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.world import Run


def queue_entry_of(run: Run, runtimes: Runtimes) -> Waiting | None:
    """Return what the run waits for while it has no partition; None where it does not want one (now)."""
    out_of_line = run.deletion or run.spec.get("suspend") or "completionTime" in run.status
    out_of_line = out_of_line or is_blocked(run) or "until" in run.status.get("partitionBackOff", {})
    out_of_line = out_of_line or "nextAttemptTime" in run.status
    if out_of_line or not runtimes.have_pools:
        return None
    pinned = Pinned(run.status.get("runtime"), run.status.get("ipus"))
    planned = plan.plan_run(run, pinned, runtimes)
    return None if isinstance(planned, Phase) else queue_entry_of_plan(planned)


def queue_entry_of_plan(planned: TrainingPlan) -> Waiting | None:
    """Return what a planned run waits for; None where its runtime has no pool."""
    run, pool, ipus = planned.run, planned.runtime.partitions, planned.config.ipus
    if pool is None or ipus is None:
        return None
    return Waiting(run.uid, (run.created, run.namespace, run.name), ipus, pool.fitting(ipus))


def is_blocked(run: Run) -> bool:
    """Return whether somebody else's object has the child's name: the run must not keep others from a partition."""
    conditions = run.status.get("conditions") or ()
    return any(each.get("type") == "Succeeded" and each.get("reason") == "NameConflict" for each in conditions)
