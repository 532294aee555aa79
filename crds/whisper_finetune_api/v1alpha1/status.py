"""What the operator reports. Decimal numbers are strings: the Kubernetes API has no floats."""

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
ConditionStatus = Literal["True", "False", "Unknown"]
State = Literal[
    "Pending", "Queued", "Running", "Preparing", "Evaluating", "Training", "Unknown", "Suspended", "Succeeded", "Failed"
]


class StatusPart(ApiModel):
    """A part of the status. The operator alone writes it, as a whole: an owner for each field makes a write dearer."""

    model_config = ConfigDict(json_schema_extra=ATOMIC_MAP)


class Attempts(StatusPart):
    """Pods so far, over all workloads of the run."""

    started: Count = Field(0, description="Pods that were seen.")
    failed: Count = Field(0, description="Pods that ended and count against spec.retries.")
    interrupted: Count = Field(0, description="Pods that were stopped from outside; they cost no retry.")
    interrupted_in_vain: Count = Field(
        0, description="Of these, the newest ones in a row after which the run was no further than before."
    )
    reached_step: Optional[Count] = Field(None, description="Newest checkpoint when a pod was last stopped so.")
    out_of_memory: Count = Field(0, description="Pods that were killed for memory.")
    unreadable: Count = Field(0, description="Pods that ended well with a result that could not be read.")
    counted_until: Optional[Timestamp] = Field(None, description="Creation of the newest pod that is counted here.")
    seen_until: Optional[Timestamp] = Field(None, description="Creation of the newest pod in `started`.")


class PartitionBackOff(StatusPart):
    """Partitions that were given back because no pod got to run on them."""

    times: int = Field(ge=1, le=2_147_483_647, description="How often, since a pod ran last.")
    until: Optional[Timestamp] = Field(None, description="Until then the run stays out of the queue.")


class Progress(StatusPart):
    """How far the current attempt is."""

    step: Count = Field(description="Optimizer steps that are done.")
    total_steps: int = Field(ge=1, le=2_147_483_647, description="Optimizer steps of the run.")
    percent: int = Field(ge=0, le=100, description="100 only with a result.")
    loss: Optional[str] = Field(
        None, max_length=16, pattern=r"^[0-9]+\.[0-9]{1,6}$", description="Training loss of that step."
    )
    eta_seconds: Optional[Count] = Field(None, description="Until the last step, by the newest steps' speed.")
    update_time: Optional[Timestamp] = Field(None, description="When the operator learned it.")
    evaluated_clips: Annotated[Optional[Count], LATER] = Field(None, description="Of the evaluation under way.")
    clips_to_evaluate: Annotated[Optional[Count], LATER] = Field(
        None, description="That the evaluation under way takes; absent: none is."
    )
    summary: Annotated[Optional[str], LATER] = Field(
        None, max_length=64, description="For display only, by the operator: 40/100 steps, or 63/105 clips."
    )


class Metric(StatusPart):
    """What the scores are."""

    name: Literal["wer", "cer"] = Field(
        "wer", description="Errors per hundred words or, where texts have no spaces, letters."
    )
    normalizer: str = Field(max_length=64, description="What is done to texts before they are compared.")

    @property
    def words(self) -> str:
        """Return what a score is, as a sentence names it."""
        return f"normalized {self.name.upper()}"


class DataSummary(StatusPart):
    """What was used of the data set."""

    train_clips: Count = Field(description="Clips that are trained on.")
    eval_clips: Count = Field(description="Held-out clips that are measured.")
    dropped_clips: Count = Field(0, description="Clips that are left out: the trainer's log says why.")
    split: Literal["Given", "Fraction", "Hash"] = Field(description="How the held-out clips were chosen.")


class RanOn(StatusPart):
    """What the trainer really ran on."""

    hardware: str = Field(max_length=256, description="Such as 'CPU, 2 threads' or '4 IPUs (emulated)'.")
    software: str = Field(max_length=256, description="Versions of the libraries.")
    precision: Literal["Half", "Float"] = Field(description="Of the training.")


class WordErrorRate(StatusPart):
    """Error rates over the whole held-out split, in percent."""

    score: Annotated[Optional[Percent], LATER] = Field(
        None, description="The figure of status.metric: what runs are compared by."
    )
    wer: Percent = Field(description="Word error rate of the texts as they are.")
    normalized_wer: Percent = Field(description="Word error rate after normalizing.")
    cer: Optional[Percent] = Field(
        None, description="Character error rate after normalizing, where texts have no spaces."
    )

    looped_clips: Annotated[Optional[Count], LATER] = Field(
        None, description="Clips whose text never ends or repeats its end: nothing of it counts as heard."
    )
    score_with_loops: Annotated[Optional[Percent], LATER] = Field(
        None, description="Score if every word of those texts counted."
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

    clips: Count = Field(description="How many they are.")
    baseline: Percent = Field(description="Score before training.")
    result: Percent = Field(description="Score after training.")
    difference_low: Points = Field(description="Lower end of the 95 % interval of result less baseline.")
    difference_high: Points = Field(description="Upper end of the same interval.")


class Result(WordErrorRate):
    """Error rates after training. Below zero the difference is an improvement."""

    difference_low: Optional[Points] = Field(
        None,
        description="Lower end of the 95 % interval of the score after less before (paired bootstrap over clips).",
    )
    difference_high: Optional[Points] = Field(None, description="Upper end of the same interval.")
    unseen_texts: Optional[ClipSubset] = Field(None, description="The same without texts that occur in train.")
    without_loops: Annotated[Optional[ClipSubset], LATER] = Field(
        None, description="The same without clips that loop before or after."
    )

    @property
    def may_be_chance(self) -> bool:
        """Say whether an interval of the difference holds zero: that of all clips, or of those that never loop."""
        rest = self.without_loops
        intervals = [(self.difference_low, self.difference_high)]
        intervals += [(rest.difference_low, rest.difference_high)] if rest else []
        return any(low is None or high is None or float(low) <= 0 <= float(high) for low, high in intervals)

    def compared_with(self, before: Optional[WordErrorRate], metric: Optional[Metric]) -> str:
        """Return the scores before and after in words. A model that became worse is called so."""
        name = metric.words if metric else "score"
        if before is None or before.score is None or self.score is None:
            return f"{name} {self.score} %, not measured before"
        is_worse = float(self.score) > float(before.score)
        return f"{name} {before.score} -> {self.score} %{', worse than before' if is_worse else ''}"


class Checkpoint(StatusPart):
    """A checkpoint that is whole: its manifest was written last."""

    step: Count = Field(description="Optimizer steps that it has seen.")
    uri: str = Field(max_length=1200, description="Address of its folder.")
    score: Optional[Percent] = Field(None, description="Where it was measured.")
    wer: Optional[Percent] = Field(None, description="Where it was measured.")
    sha256: Optional[Digest] = Field(None, description="Of its manifest.")


class Model(StatusPart):
    """The final model, a plain Hugging Face folder."""

    uri: str = Field(max_length=1200, description="Address of its folder.")
    sha256: Digest = Field(description="Of its manifest.json, which holds the sha256 of each file.")
    step: Count = Field(description="Of the checkpoint that it is.")


class Condition(StatusPart):
    """metav1.Condition."""

    type: Literal["Succeeded", "Reconciling", "Stalled", "Suspended", "Admitted", "Running", "Finished"] = Field(
        description="What is said."
    )
    status: ConditionStatus = Field(description="Whether it holds.")
    reason: str = Field(
        min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$", description="One word, for machines."
    )
    message: str = Field("", max_length=1024, description="What is so and what to do, for people.")
    last_transition_time: Timestamp = Field(description="When its status changed last.")
    observed_generation: Generation = Field(description="Of the spec that it is about.")


class WhisperFineTuneStatus(ApiModel):
    """What the operator last observed."""

    observed_generation: Generation = Field(-1, description="Of the spec that this is about; -1: not seen yet.")
    state: Optional[State] = Field(None, description="For display only; conditions are what machines read.")
    reason: Optional[str] = Field(
        None, max_length=64, description="For display only: why it waits or has failed; absent while all is well."
    )
    runtime: Optional[str] = Field(None, max_length=63, description="Pinned at first sight.")
    ipus: Optional[int] = Field(None, ge=1, le=64, description="IPUs of the run, pinned at first sight.")
    partition: Optional[str] = Field(
        None, max_length=63, description="V-IPU partition that the run holds, or held last."
    )
    partition_back_off: Optional[PartitionBackOff] = None
    job_name: Optional[str] = Field(None, max_length=63, description="Its Job or IPUJob.")
    pod_name: Optional[str] = Field(None, max_length=253, description="Newest pod: its log is the trainer's.")
    attempts: Optional[Attempts] = None
    next_attempt_time: Optional[Timestamp] = Field(
        None, description="No pod starts before: the run was stopped from outside again and again in vain."
    )
    start_time: Optional[Timestamp] = Field(None, description="When its first trainer began.")
    completion_time: Optional[Timestamp] = Field(None, description="When it was over, either way.")
    progress: Optional[Progress] = None
    metric: Optional[Metric] = None
    data: Optional[DataSummary] = None
    ran_on: Optional[RanOn] = None
    baseline: Optional[WordErrorRate] = Field(None, description="Before training.")
    result: Optional[Result] = Field(None, description="After training.")
    checkpoints: Tuple[Checkpoint, ...] = Field(
        (), max_length=10, json_schema_extra=dict(ATOMIC_LIST), description="Those that are there, oldest first."
    )
    model: Optional[Model] = None
    report: Optional[str] = Field(None, max_length=1200, description="Address of report.html.")
    running_seconds: Optional[Count] = Field(None, description="Of ended attempts.")
    conditions: Tuple[Condition, ...] = Field(
        (), max_length=8, json_schema_extra=list_map("type"), description="What machines read."
    )
