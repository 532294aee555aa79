"""The situations in which one event is measured, and what happens in each."""

from dataclasses import dataclass, field
from typing import Any, Literal

from whisper_finetune_api.run import ReportedModel, TrainingResult
from whisper_finetune_api.v1alpha1 import DataSummary, Metric, Progress, Result, WordErrorRate

#: What each trainer says at its end. It holds for every run, because its paths are relative.
ENDING = TrainingResult(
    stage="Evaluating",
    progress=Progress(step=20, total_steps=20, percent=100),
    metric=Metric(normalizer="Basic"),
    data=DataSummary(train_clips=20, eval_clips=4, split="Fraction"),
    baseline=WordErrorRate(wer="31.20", normalized_wer="28.00"),
    result=Result(wer="10.31", normalized_wer="9.00", difference_low="-20.00", difference_high="-18.00"),
    model=ReportedModel(path="model", sha256="0" * 64, step=20),
    seconds=1,
).model_dump_json(by_alias=True, exclude_none=True)
SPEC = {
    "model": "openai/whisper-base",
    "language": "it",
    "dataset": {"source": "pvc://speech/it"},
    "output": {"uri": "pvc://speech/runs"},
}
#: The same on simulated nodes, where nobody has made a claim.
SIMULATED_SPEC = {**SPEC, "dataset": {"source": "s3://speech/it"}, "output": {"uri": "s3://speech/runs"}}
PARTITIONS = 16
RUNTIMES = {
    "defaultRuntime": "cpu",
    "runtimes": [
        {"name": "cpu", "accelerator": "cpu", "image": "localhost/none:1"},
        {
            "name": "pool",
            "accelerator": "ipu",
            "image": "localhost/none:1",
            "partitions": {
                "apiHost": "10.5.1.1",
                "pool": [{"id": f"p{index}", "ipus": 4} for index in range(PARTITIONS)],
            },
        },
    ],
}
SIMULATED_RUNTIMES = {
    "defaultRuntime": "simulated",
    "runtimes": [
        {
            "name": "simulated",
            "accelerator": "cpu",
            "image": "localhost/none:1",
            "nodeSelector": {"type": "kwok"},
            "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
            "resources": {"requests": {"cpu": "1"}},
        }
    ],
}
#: What happens, each time once: a method of Players, by the words of the table.
Event = Literal["create_run", "end_run", "admit_pod", "touch_pod", "delete_run"]
JobFate = Literal["runs", "ends", "is refused"]


@dataclass(frozen=True)
class Situation:
    """What most runs are like, and what happens beside them."""

    name: str
    title: str
    #: Titles of what happens, in its order.
    events: dict[str, Event]
    #: The reason, or else the state, in the status of the runs that are counted.
    reason: str
    #: What becomes of the Jobs of the runs that are there from the beginning, and of later ones.
    job: JobFate = "runs"
    later_job: JobFate = "runs"
    namespaces: int = 1
    spec: dict[str, Any] = field(default_factory=dict)
    #: So many runs are at work beside those that are counted.
    at_work: int = 0


WAITING = Situation(
    "waiting",
    f"waiting for {PARTITIONS} partitions",
    {
        "a run arrives": "create_run",
        "a pod's status changes": "touch_pod",
        "a run ends, and the next one has its partition": "end_run",
    },
    reason="WaitingForPartition",
    spec={"runtime": "pool", "model": "openai/whisper-small", "ipus": 4, "training": {"batchSize": 16}},
    at_work=PARTITIONS,
)
REFUSED = Situation(
    "refused",
    "refused by a quota",
    {
        "a run arrives, and its pod is refused": "create_run",
        "a pod is admitted": "admit_pod",
        "a pod's status changes": "touch_pod",
    },
    reason="PodRefused",
    job="is refused",
    later_job="is refused",
)
FINISHED = Situation(
    "finished",
    "finished",
    {
        "a run arrives, and its pod begins": "create_run",
        "a pod's status changes": "touch_pod",
        "a run ends": "end_run",
        "a finished run is deleted": "delete_run",
    },
    reason="Succeeded",
    job="ends",
)
AT_WORK = Situation(
    "at-work",
    "at work in 20 namespaces",
    {
        "a run arrives, and its pod begins": "create_run",
        "a pod's status changes": "touch_pod",
        "a run ends": "end_run",
    },
    reason="Preparing",
    namespaces=20,
)
SITUATIONS = {each.name: each for each in (WAITING, REFUSED, FINISHED, AT_WORK)}
