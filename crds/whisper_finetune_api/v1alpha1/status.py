"""What the operator reports. Decimal numbers are strings: the Kubernetes API has no floats."""

from typing import Any, Dict, Literal, Optional, Tuple

from pydantic import Field
from typing_extensions import Annotated

from whisper_finetune_api.contract import LATER
from whisper_finetune_api.v1alpha1.api_model import ATOMIC_LIST, ApiModel, Count, Digest, StatusPart, list_map
from whisper_finetune_api.v1alpha1.exports import Export
from whisper_finetune_api.v1alpha1.scores import (
    MOST_EVALUATIONS,
    EvaluationName,
    EvaluationScores,
    Metric,
    Mixing,
    Part,
    Percent,
    Result,
    Validation,
    Verdict,
    WordErrorRate,
)

Timestamp = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$", max_length=20)]
#: As many as JSON numbers hold exactly.
Generation = Annotated[int, Field(ge=-1, le=2**53 - 1)]
ConditionStatus = Literal["True", "False", "Unknown"]
State = Literal[
    "Pending", "Queued", "Running", "Preparing", "Evaluating", "Training", "Unknown", "Suspended", "Succeeded", "Failed"
]


class Attempts(StatusPart):
    """Pods so far, over all Jobs or IPUJobs of the run."""

    started: Count = Field(0, description="Pods that were seen.")
    failed: Count = Field(0, description="Pods that ended and count against spec.retries.")
    interrupted: Count = Field(0, description="Pods that were stopped from outside. They cost no retry.")
    interrupted_in_vain: Count = Field(
        0, description="How many of the newest interrupted pods in a row brought the run no further."
    )
    reached_step: Optional[Count] = Field(
        None, description="Step of the newest checkpoint when a pod was last stopped from outside."
    )
    out_of_memory: Count = Field(0, description="Pods that were killed for memory.")
    unreadable: Count = Field(0, description="Pods that ended well with a result that could not be read.")
    counted_until: Optional[Timestamp] = Field(
        None, description="When the newest pod was created whose end is counted here."
    )
    seen_until: Optional[Timestamp] = Field(
        None, description="When the newest pod was created that is counted as started."
    )


class PartitionBackOff(StatusPart):
    """Partitions that were given back because no pod got to run on them."""

    times: int = Field(ge=1, le=2_147_483_647, description="How often this happened since a pod last ran.")
    until: Optional[Timestamp] = Field(None, description="The run stays out of the queue until then.")


class Progress(StatusPart):
    """How far the newest attempt is."""

    step: Count = Field(description="How many optimizer steps are done.")
    total_steps: int = Field(ge=1, le=2_147_483_647, description="How many optimizer steps the run has.")
    percent: int = Field(ge=0, le=100, description="Per cent of the whole run. It is 100 only when there is a result.")
    loss: Optional[str] = Field(
        None, max_length=16, pattern=r"^[0-9]+\.[0-9]{1,6}$", description="Training loss of that step."
    )
    eta_seconds: Optional[Count] = Field(
        None, description="Seconds until the last step, by the speed of the newest steps."
    )
    update_time: Optional[Timestamp] = Field(None, description="When the operator read this from the trainer.")
    evaluated_clips: Annotated[Optional[Count], LATER] = Field(
        None, description="How many clips of the evaluation under way are done."
    )
    clips_to_evaluate: Annotated[Optional[Count], LATER] = Field(
        None, description="How many clips the evaluation under way has. Absent: none is under way."
    )
    evaluated_part: Annotated[Optional[Part], LATER] = Field(
        None, description="Clips of the evaluation under way. Absent, as in older trainers: HeldOut."
    )
    evaluated_name: Annotated[Optional[EvaluationName], LATER] = Field(
        None, description="Evaluation of spec.evaluations that is under way. Absent: the run's own clips."
    )
    summary: Annotated[Optional[str], LATER] = Field(
        None, max_length=64, description="How far it is, for display only, such as 40/100 steps or 63/105 clips."
    )


class DataSummary(StatusPart):
    """How much of the data set is used."""

    train_clips: Count = Field(description="How many clips are trained on.")
    eval_clips: Count = Field(description="How many held-out clips are measured.")
    dropped_clips: Count = Field(0, description="How many clips are left out. The trainer's log says why.")
    split: Literal["Given", "Fraction", "Hash"] = Field(description="How the held-out clips were chosen.")
    validation_clips: Annotated[Optional[Count], LATER] = Field(
        None, description="Clips by which the best model is chosen. Absent: nothing is chosen."
    )
    train_windows: Annotated[Optional[Count], LATER] = Field(
        None, description="Windows that the train clips of an epoch are packed into. Absent: none are packed."
    )


class RanOn(StatusPart):
    """What the trainer ran on."""

    hardware: str = Field(max_length=256, description="The hardware, such as 'CPU, 2 threads' or '4 IPUs (emulated)'.")
    software: str = Field(max_length=256, description="Versions of the libraries.")
    precision: Literal["Half", "Float"] = Field(description="Precision of the training.")
    micro_batch_size: Annotated[Optional[int], LATER] = Field(
        None,
        ge=1,
        le=4096,
        description="Most clips that go through the network at once. Absent: not known yet, or these are IPUs.",
    )
    gradient_checkpointing: Annotated[Optional[bool], LATER] = Field(
        None, description="Whether layers are computed again for their gradients. Absent: no, or these are IPUs."
    )
    estimated_mebibytes: Annotated[Optional[Count], LATER] = Field(
        None,
        description="Memory that the training takes by the estimate, in MiB. On a CPU, Python and its libraries come "
        "on top.",
    )
    peak_mebibytes: Annotated[Optional[Count], LATER] = Field(
        None,
        description="Most memory so far, in MiB, in steps of 64: on a GPU what PyTorch has given out, on a CPU all of "
        "the process that is resident.",
    )


class Checkpoint(StatusPart):
    """A checkpoint that is complete, because its manifest is written last."""

    step: Count = Field(description="Optimizer steps after which it was written.")
    uri: str = Field(max_length=1200, description="Address of its folder.")
    score: Optional[Percent] = Field(
        None, description="The figure that status.metric names, where the checkpoint was measured."
    )
    wer: Optional[Percent] = Field(
        None, description="Word error rate of the texts as they are, where the checkpoint was measured."
    )
    part: Annotated[Optional[Part], LATER] = Field(None, description="Clips that were measured. Absent: HeldOut.")
    sha256: Optional[Digest] = Field(
        None, description="The sha256 of its manifest.json, which holds that of each file."
    )


class Model(StatusPart):
    """The final model, as a plain Hugging Face folder."""

    uri: str = Field(max_length=1200, description="Address of its folder.")
    sha256: Digest = Field(description="The sha256 of its manifest.json, which holds that of each file.")
    step: Count = Field(description="Step of the checkpoint that was chosen.")


class Condition(StatusPart):
    """One condition of the run, in the form of metav1.Condition."""

    type: Literal["Succeeded", "Reconciling", "Stalled", "Suspended", "Admitted", "Running", "Finished", "Accepted"] = (
        Field(description="What the condition is about.")
    )
    status: ConditionStatus = Field(description="Whether it holds: True, False or Unknown.")
    reason: str = Field(
        min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$", description="Why, in one word for machines."
    )
    message: str = Field("", max_length=1024, description="What is so and what to do, in words.")
    last_transition_time: Timestamp = Field(description="When the status of the condition changed last.")
    observed_generation: Generation = Field(description="Generation of the spec that the condition is about.")


class WhisperFineTuneStatus(ApiModel):
    """What the operator last observed."""

    observed_generation: Generation = Field(
        -1, description="Generation of the spec that this status is about. -1: the operator has not seen the run yet."
    )
    state: Optional[State] = Field(
        None, description="The state in a word, for display only. Machines read the conditions."
    )
    reason: Optional[str] = Field(
        None,
        max_length=64,
        description="Why the run waits or has failed, or NotAccepted, for display only. Absent: all is well.",
    )
    runtime: Optional[str] = Field(
        None, max_length=63, description="Name of the runtime that the run uses. It is chosen once."
    )
    ipus: Optional[int] = Field(None, ge=1, le=64, description="IPUs of the run. They are chosen once.")
    partition: Optional[str] = Field(
        None, max_length=63, description="V-IPU partition that the run holds, or held last."
    )
    partition_back_off: Optional[PartitionBackOff] = None
    job_name: Optional[str] = Field(None, max_length=63, description="Name of its Job or IPUJob.")
    pod_name: Optional[str] = Field(
        None, max_length=253, description="Name of the newest pod, whose log is the trainer's."
    )
    attempts: Optional[Attempts] = None
    next_attempt_time: Optional[Timestamp] = Field(
        None,
        description="No pod starts before then, because the run was stopped from outside again and again without "
        "getting further.",
    )
    start_time: Optional[Timestamp] = Field(None, description="When the first trainer of the run began.")
    completion_time: Optional[Timestamp] = Field(None, description="When the run was over, with a result or without.")
    progress: Optional[Progress] = None
    metric: Optional[Metric] = None
    data: Optional[DataSummary] = None
    ran_on: Optional[RanOn] = None
    validation: Optional[Validation] = Field(
        None, description="How the best model is chosen. Absent: the last model is taken."
    )
    mixing: Optional[Mixing] = Field(
        None, description="The mixture that is taken of the weights before and after training. Absent: none."
    )
    baseline: Optional[WordErrorRate] = Field(None, description="The scores before training.")
    result: Optional[Result] = Field(None, description="The scores after training.")
    evaluations: Optional[Tuple[EvaluationScores, ...]] = Field(
        None,
        max_length=MOST_EVALUATIONS,
        json_schema_extra=dict(ATOMIC_LIST),
        description="The scores on further data sets, before and after training.",
    )
    verdict: Optional[Verdict] = Field(
        None,
        description="Whether the model is better than its baseline: not shown where chance may explain it, mixed where "
        "it is better on some data and worse on other.",
    )
    checkpoints: Tuple[Checkpoint, ...] = Field(
        (),
        max_length=10,
        json_schema_extra=dict(ATOMIC_LIST),
        description="The checkpoints that can be read, oldest first.",
    )
    model: Optional[Model] = None
    report: Optional[str] = Field(None, max_length=1200, description="Address of report.html.")
    exports: Optional[Tuple[Export, ...]] = Field(
        None,
        max_length=8,
        json_schema_extra=dict(ATOMIC_LIST),
        description="What became of each of output.exports.",
    )
    running_seconds: Optional[Count] = Field(None, description="How many seconds the attempts that have ended ran.")
    conditions: Tuple[Condition, ...] = Field(
        (),
        max_length=8,
        json_schema_extra=list_map("type"),
        description="The conditions of the run, which machines read.",
    )

    def to_json_object(self) -> Dict[str, Any]:
        """Return the status as it stands in YAML: camelCase, without what is absent. An empty list is absent."""
        return {field: value for field, value in super().to_json_object().items() if value != []}
