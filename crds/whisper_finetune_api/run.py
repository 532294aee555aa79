"""What operator and trainer exchange: a TrainerConfig in, a TrainerReport and a TrainingResult out."""

from typing import Dict, Literal, Optional, Tuple

from pydantic import Field, field_validator
from typing_extensions import Annotated

from whisper_finetune_api.contract import LATER
from whisper_finetune_api.reading import printable_text
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.acceptance import Judgement
from whisper_finetune_api.v1alpha1.api_model import ApiModel, Count, Digest
from whisper_finetune_api.v1alpha1.exports import Export, ExportFigures
from whisper_finetune_api.v1alpha1.scores import (
    MOST_EVALUATIONS,
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
from whisper_finetune_api.v1alpha1.status import DataSummary, Progress, RanOn

#: The environment variable with the TrainerConfig as JSON.
CONFIG_ENV = "WHISPER_FINETUNE_CONFIG"
#: Set by an operator that reads `TrainerReport.folder`. In the TrainerConfig, trainers of contract 0 would refuse it.
TAKES_OVER_ENV = "WHISPER_FINETUNE_TAKES_OVER"
#: Kubernetes keeps at most this many bytes of the termination message.
TERMINATION_LOG = "/dev/termination-log"
TERMINATION_MESSAGE_MAX_BYTES = 4096
PROGRESS_PATH = "/progress"
METRICS_PATH = "/metrics"
#: Where the operator mounts each claim of a run.
VOLUMES_FOLDER = "/volumes"
#: Where a run's scratch files go (encoder cache, temporary copies), because the root file system is read-only.
SCRATCH_FOLDER = "/scratch"

Accelerator = Literal["ipu", "cuda", "cpu"]
Stage = Literal["Preparing", "Evaluating", "Training"]
RelativePath = Annotated[
    str,
    Field(
        max_length=160,
        pattern=r"^(checkpoints/checkpoint-[0-9]{1,9}|resume/checkpoint-[0-9]{1,9}|model|exports/[a-z0-9-]{1,40}"
        r"|report\.html)$",
    ),
]


class Schedule(ApiModel):
    """The schedule as it is run: already divided and multiplied by the replicas."""

    replicas: int = Field(ge=1)
    steps: int = Field(ge=1)
    warmup_steps: int = Field(ge=0)
    learning_rate: float = Field(gt=0)
    micro_batch_size: int = Field(ge=1)
    gradient_accumulation_steps: int = Field(ge=1)
    eval_every_steps: Optional[int] = Field(None, ge=1)
    save_every_steps: Optional[int] = Field(None, ge=1)


class HubCommits(ApiModel):
    """Commits of the Hub's repositories that a run reads. None for what does not come from the Hub."""

    model: Optional[str] = None
    dataset: Optional[str] = None
    conversion: Optional[str] = Field(None, description="Of the Hub's own Parquet files of the data set.")

    def in_words(self) -> str:
        """Return the known commits as a list in words, empty where none is known."""
        return ", ".join(f"{name} {commit}" for name, commit in self.to_json_object().items())


class TrainerConfig(ApiModel):
    """All that a trainer is told."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    spec: WhisperFineTuneSpec
    accelerator: Accelerator
    ipus: Optional[int] = Field(None, ge=1, le=64, description="Of the partition, with accelerator ipu.")
    ipu_wait_seconds: int = Field(600, ge=1, description="How long IPUs that somebody still uses are waited for.")
    schedule: Schedule
    volumes: Dict[str, str] = Field(default_factory=dict, description="Claim to the folder where it is mounted.")
    progress_port: int = Field(ge=0, le=65535, description="0: any free port.")
    grace_seconds: Optional[int] = Field(None, ge=1, description="From SIGTERM to SIGKILL; absent: nobody kills it.")
    scratch_folder: str = SCRATCH_FOLDER
    scratch_limit_bytes: int = Field(ge=0, description="Caches that would be larger are not made.")
    takes_over: Annotated[Optional[bool], LATER] = Field(
        None, description="Report the result of an earlier run that was made from the same. By the environment alone."
    )

    @property
    def run_folder_name(self) -> str:
        """Return the folder below output.uri that belongs to this run alone."""
        return run_folder_name(self.name, self.uid)


class ReportedCheckpoint(ApiModel):
    """A whole checkpoint, by its path below the run's folder."""

    step: Count
    path: RelativePath
    score: Annotated[Optional[Percent], LATER] = None
    wer: Optional[Percent] = None
    part: Annotated[Optional[Part], LATER] = Field(None, description="Clips of the score. Absent: HeldOut.")
    sha256: Optional[Digest] = None


class ReportedModel(ApiModel):
    """The final model, by its path below the run's folder."""

    path: RelativePath
    sha256: Digest
    step: Count


class ReportedExport(ExportFigures):
    """One export, by its path below the run's folder. A refused one has none."""

    path: Optional[RelativePath] = None

    def written_below(self, run_folder: str) -> Export:
        """Return the export as the status has it: with its whole address, if it has one."""
        figures = {name: getattr(self, name) for name in ExportFigures.model_fields}
        return Export(**figures, uri=f"{run_folder}/{self.path}" if self.path else None)


class TrainerReport(ApiModel):
    """What is known so far: GET /progress answers it, and every ending carries it."""

    contract: Annotated[Optional[int], LATER] = Field(None, ge=0, description="What the answer is written in.")
    uid: Optional[str] = Field(
        None, max_length=64, description="Only in /progress: an address may belong to another pod by now."
    )
    stage: Optional[Stage] = Field("Preparing", description="None only where a reader does not know the word.")
    progress: Optional[Progress] = None
    metric: Optional[Metric] = None
    data: Optional[DataSummary] = None
    ran_on: Optional[RanOn] = None
    validation: Annotated[Optional[Validation], LATER] = None
    mixing: Annotated[Optional[Mixing], LATER] = None
    baseline: Optional[WordErrorRate] = None
    evaluations: Annotated[Optional[Tuple[EvaluationScores, ...]], LATER] = Field(None, max_length=MOST_EVALUATIONS)
    checkpoints: Tuple[ReportedCheckpoint, ...] = Field((), max_length=10)
    folder: Annotated[Optional[str], LATER] = Field(
        None,
        max_length=262,
        pattern=r"^[a-z0-9][-a-z0-9.]*-[0-9a-f]{8}$",
        description="Folder below output.uri of an earlier run, whose result this is. Absent: the run's own folder.",
    )


class TrainingResult(TrainerReport):
    """The termination message, of good and bad endings alike."""

    reason: Optional[str] = Field(None, max_length=64, description="A reason of causes.py; absent: all is well.")
    message: str = Field("", max_length=1024)
    result: Optional[Result] = None
    verdict: Annotated[Optional[Verdict], LATER] = None
    acceptance: Annotated[Optional[Judgement], LATER] = Field(None, description="Absent: nothing was asked for.")
    model: Optional[ReportedModel] = None
    report: Optional[RelativePath] = None
    exports: Annotated[Optional[Tuple[ReportedExport, ...]], LATER] = Field(None, max_length=8)
    seconds: Optional[Count] = Field(None, description="Training time of this attempt.")

    @property
    def interval_over(self) -> str:
        """What the intervals of the result are drawn from, in words."""
        return self.result.interval_over if self.result else "clips"

    @field_validator("message")
    @classmethod
    def _printable(cls, text: str) -> str:
        return printable_text(text)


def run_folder_name(name: str, uid: str) -> str:
    """Return `NAME-UID8`: no two runs share a folder, so nothing needs locking."""
    return f"{name}-{uid[:8]}"
