"""What the operator reports. Decimal numbers are strings: the Kubernetes API has no floats."""

import math
from typing import Any, Literal, Optional, Tuple

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Annotated

from whisper_finetune_api.contract import LATER
from whisper_finetune_api.v1alpha1.api_model import ATOMIC_LIST, ATOMIC_MAP, ApiModel, list_map

Percent = Annotated[str, Field(pattern=r"^[0-9]{1,5}\.[0-9]{2}$", max_length=8)]
Points = Annotated[str, Field(pattern=r"^-?[0-9]{1,5}\.[0-9]{2}$", max_length=9)]
Timestamp = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$", max_length=20)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
#: The API's integers end somewhere: a trainer that reports more is refused, not the whole status.
Count = Annotated[int, Field(ge=0, le=2_147_483_647)]
#: As many as JSON numbers hold exactly.
Generation = Annotated[int, Field(ge=-1, le=2**53 - 1)]
#: Clips that a figure is of. The held-out ones are the run's result. The best model is chosen by the validation clips.
Part = Literal["HeldOut", "Validation"]
#: What a run is worth, by `verdict_of`. Mixed is for runs that are measured on more than one data set.
Verdict = Literal["Better", "Mixed", "NotShown", "Worse"]
ConditionStatus = Literal["True", "False", "Unknown"]
State = Literal[
    "Pending", "Queued", "Running", "Preparing", "Evaluating", "Training", "Unknown", "Suspended", "Succeeded", "Failed"
]


class StatusPart(ApiModel):
    """A part of the status. The operator alone writes it, as a whole: an owner for each field makes a write dearer."""

    model_config = ConfigDict(json_schema_extra=ATOMIC_MAP)


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
    summary: Annotated[Optional[str], LATER] = Field(
        None, max_length=64, description="How far it is, for display only, such as 40/100 steps or 63/105 clips."
    )


class Metric(StatusPart):
    """What the scores measure."""

    name: Literal["wer", "cer"] = Field(
        "wer",
        description="wer counts errors in a hundred words, cer in a hundred letters where a language is written "
        "without spaces.",
    )
    normalizer: str = Field(max_length=64, description="How texts are normalized before they are compared.")

    @property
    def words(self) -> str:
        """Return what a score is, as a sentence names it."""
        return f"normalized {self.name.upper()}"


class DataSummary(StatusPart):
    """How much of the data set is used."""

    train_clips: Count = Field(description="How many clips are trained on.")
    eval_clips: Count = Field(description="How many held-out clips are measured.")
    dropped_clips: Count = Field(0, description="How many clips are left out. The trainer's log says why.")
    split: Literal["Given", "Fraction", "Hash"] = Field(description="How the held-out clips were chosen.")
    validation_clips: Annotated[Optional[Count], LATER] = Field(
        None, description="Clips by which the best model is chosen. Absent: nothing is chosen."
    )


class Validation(StatusPart):
    """How the best model is chosen. The best of many figures is flattering: the run's result is of other clips."""

    clips: Count = Field(description="The validation clips, which are neither trained on nor the result's.")
    baseline: Percent = Field(description="Score before training.")
    best: Optional[Percent] = Field(None, description="Best score after training so far.")
    step: Optional[Count] = Field(None, description="Of the model with the best score.")

    @property
    def has_gained(self) -> bool:
        """Say whether the best model is better than the baseline."""
        return self.best is not None and float(self.best) < float(self.baseline)


class RanOn(StatusPart):
    """What the trainer ran on."""

    hardware: str = Field(max_length=256, description="The hardware, such as 'CPU, 2 threads' or '4 IPUs (emulated)'.")
    software: str = Field(max_length=256, description="Versions of the libraries.")
    precision: Literal["Half", "Float"] = Field(description="Precision of the training.")


class WordErrorRate(StatusPart):
    """Error rates in percent: over the whole held-out split, or over the validation clips."""

    part: Annotated[Optional[Part], LATER] = Field(None, description="Clips that were measured. Absent: HeldOut.")
    score: Annotated[Optional[Percent], LATER] = Field(
        None, description="The figure that status.metric names, by which runs are compared."
    )
    wer: Percent = Field(description="Word error rate of the texts as they are.")
    normalized_wer: Percent = Field(description="Word error rate after normalizing.")
    cer: Optional[Percent] = Field(
        None, description="Character error rate after normalizing, where texts have no spaces."
    )

    cut_clips: Annotated[Optional[Count], LATER] = Field(
        None,
        description="Clips whose text ran into the limit of tokens, training.maxLabelTokens or fewer for a short clip.",
    )
    looped_clips: Annotated[Optional[Count], LATER] = Field(
        None,
        description="How many clips have a text that never ends or repeats its end. Nothing of such a text counts"
        " as heard.",
    )
    score_with_loops: Annotated[Optional[Percent], LATER] = Field(
        None, description="The score if every word of those texts counted."
    )

    @model_validator(mode="before")
    @classmethod
    def _find_score(cls, values: Any) -> Any:
        """Take the score of a trainer that reports none yet from what it was."""
        if not isinstance(values, dict) or values.get("score"):
            return values
        known = values.get("cer") or values.get("normalizedWer") or values.get("normalized_wer")
        return {**values, "score": known} if known else values


class ClipSubset(StatusPart):
    """Scores over some of the held-out clips."""

    clips: Count = Field(description="How many such clips there are.")
    baseline: Percent = Field(description="Score before training.")
    result: Percent = Field(description="Score after training.")
    difference_low: Points = Field(description="Lower end of the 95 % interval of the result less the baseline.")
    difference_high: Points = Field(description="Upper end of the same interval.")


class Result(WordErrorRate):
    """Error rates after training. Below zero the difference is an improvement."""

    difference_low: Optional[Points] = Field(
        None,
        description="Lower end of the 95 % interval of the score after training less the score before (paired "
        "bootstrap over clips).",
    )
    difference_high: Optional[Points] = Field(None, description="Upper end of the same interval.")
    unseen_texts: Optional[ClipSubset] = Field(
        None, description="The scores of those clips alone whose text does not occur in train."
    )
    without_loops: Annotated[Optional[ClipSubset], LATER] = Field(
        None, description="The scores without the clips whose text loops before or after training."
    )

    @property
    def may_be_chance(self) -> bool:
        """Say whether an interval of the difference holds zero: that of all clips, or of those that never loop."""
        return any(low <= 0 <= high for low, high in self.intervals)

    @property
    def intervals(self) -> Tuple[Tuple[float, float], ...]:
        """The intervals of the difference in points: of all clips, and of those that never loop where some do.

        Where nothing can be compared, the interval has no ends.
        """
        if self.difference_low is None or self.difference_high is None:
            return ((-math.inf, math.inf),)
        rest = self.without_loops
        of_rest = ((float(rest.difference_low), float(rest.difference_high)),) if rest else ()
        return ((float(self.difference_low), float(self.difference_high)), *of_rest)

    def compared_with(self, before: Optional[WordErrorRate], metric: Optional[Metric]) -> str:
        """Return the scores before and after in words. A model that became worse is called so."""
        name = metric.words if metric else "score"
        if before is None or before.score is None or self.score is None:
            return f"{name} {self.score} %, not measured before"
        is_worse = float(self.score) > float(before.score)
        return f"{name} {before.score} -> {self.score} %{', worse than before' if is_worse else ''}"


def verdict_of(result: Result, validation: Optional[Validation]) -> Verdict:
    """Return what a run is worth, by the held-out clips: Worse, Better, or NotShown where chance may explain it.

    Better asks for more: where the best model was chosen, it must be better than the baseline on the validation clips
    too. The baseline is a candidate like the evaluations after it.
    """
    if all(low > 0 for low, _ in result.intervals):
        return "Worse"
    is_better = all(high < 0 for _, high in result.intervals)
    return "Better" if is_better and (validation is None or validation.has_gained) else "NotShown"


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

    type: Literal["Succeeded", "Reconciling", "Stalled", "Suspended", "Admitted", "Running", "Finished"] = Field(
        description="What the condition is about."
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
        None, max_length=64, description="Why the run waits or has failed, for display only. Absent while all is well."
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
    baseline: Optional[WordErrorRate] = Field(None, description="The scores before training.")
    result: Optional[Result] = Field(None, description="The scores after training.")
    verdict: Optional[Verdict] = Field(
        None, description="Whether the model is better than its baseline: not shown where chance may explain it."
    )
    checkpoints: Tuple[Checkpoint, ...] = Field(
        (),
        max_length=10,
        json_schema_extra=dict(ATOMIC_LIST),
        description="The checkpoints that can be read, oldest first.",
    )
    model: Optional[Model] = None
    report: Optional[str] = Field(None, max_length=1200, description="Address of report.html.")
    running_seconds: Optional[Count] = Field(None, description="How many seconds the attempts that have ended ran.")
    conditions: Tuple[Condition, ...] = Field(
        (),
        max_length=8,
        json_schema_extra=list_map("type"),
        description="The conditions of the run, which machines read.",
    )
