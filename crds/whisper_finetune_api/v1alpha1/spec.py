"""What a user writes. Every field has a description, a bound and, where one makes sense, a default."""

from typing import Literal, Optional, Tuple

from pydantic import Field
from typing_extensions import Annotated

from whisper_finetune_api.addresses import MODEL_PATTERN, OUTPUT_PATTERN
from whisper_finetune_api.contract import LATER
from whisper_finetune_api.v1alpha1.acceptance import Acceptance
from whisper_finetune_api.v1alpha1.api_model import NO_PARENTS, ApiModel, WithoutParents, list_map
from whisper_finetune_api.v1alpha1.dataset import Dataset, EvaluationSet, Language, Task
from whisper_finetune_api.v1alpha1.exports import ExportName
from whisper_finetune_api.v1alpha1.training import IpuConfig, Training

IpuCount = Literal[1, 2, 4, 8, 16, 32, 64]
SecretKey = Literal[
    "HF_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "GOOGLE_APPLICATION_CREDENTIALS_JSON",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SAS_TOKEN",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "WANDB_API_KEY",
    "WANDB_BASE_URL",
]


class Output(ApiModel):
    """Where the run writes: everything lies in one folder of its own below `uri`."""

    uri: WithoutParents = Field(
        max_length=1024,
        pattern=OUTPUT_PATTERN,
        json_schema_extra=NO_PARENTS,
        description="pvc://claim/path, s3://, gs:// or az://. To hf:// the final model is pushed as one commit.",
    )
    keep_checkpoints: int = Field(
        2, ge=1, le=10, description="How many of the newest checkpoints are kept beside the model."
    )
    float16_copy: bool = Field(default=False, description="Also write the final weights in float16, as variant fp16.")
    publish: Optional[Literal["ModelOnly", "WithReport"]] = Field(
        None,
        description="What a repository at hf:// gets. ModelOnly: the model. WithReport: the report and the "
        "evaluation too, which hold recordings and transcripts of held-out clips. Absent: ModelOnly.",
    )
    exports: Annotated[Optional[Tuple[ExportName, ...]], LATER] = Field(
        None,
        min_length=1,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Forms of other engines that the final model is written in too. Each is heard by its own engine, "
        "and kept if its score differs from the model's by at most 0.5 points.",
    )
    export_clips: Annotated[Optional[int], LATER] = Field(
        None, ge=1, le=10_000_000, description="Most held-out clips that each export is checked with. Absent: 200."
    )

    @property
    def takes_report(self) -> bool:
        """Return whether recordings and transcripts of held-out clips go to the output: not to the Hub unasked."""
        return self.publish == "WithReport" or not self.uri.startswith("hf://")


class SecretReference(ApiModel):
    """One Secret of the run's namespace, and which of its keys the trainer gets."""

    name: str = Field(
        min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", description="Name of the Secret."
    )
    keys: Tuple[SecretKey, ...] = Field(
        min_length=1,
        max_length=17,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Keys that the trainer gets.",
    )


class SpecFields(ApiModel):
    """The fields of a run's spec. `rules.WhisperFineTuneSpec` is what holds together, and what everybody uses."""

    model: WithoutParents = Field(
        min_length=1,
        max_length=1024,
        pattern=MODEL_PATTERN,
        json_schema_extra=NO_PARENTS,
        description="Whisper model to start from: a Hub id, or a folder at pvc://claim/path, s3://, gs:// or az://.",
    )
    model_revision: Optional[str] = Field(
        None,
        min_length=1,
        max_length=96,
        description="Branch, tag or commit of the model on the Hub. Absent: its main branch.",
    )
    language: Language = Field(
        description="Language of the speech, as a code or a name that Whisper knows, such as it or italian."
    )
    task: Task = Field(
        "transcribe", description="What the model learns: to write down what is said, or to translate it into English."
    )
    dataset: Dataset = Field(description="The speech to train on, with its transcripts.")
    evaluations: Annotated[Optional[Tuple[EvaluationSet, ...]], LATER] = Field(
        None,
        max_length=8,
        json_schema_extra=list_map("name"),
        description="Further data sets that the model is measured on, before and after the training.",
    )
    long_form: Annotated[Optional[bool], LATER] = Field(
        None,
        description="Measure on held-out clips joined to recordings, too. Absent: where they make two minutes.",
    )
    ipus: Optional[IpuCount] = Field(
        None, description="IPUs of the partition. Absent: the fewest that this model can be trained on."
    )
    runtime: Optional[str] = Field(
        None,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Name of one of the cluster admin's runtimes. Absent: the default one.",
    )
    operator_class: Annotated[Optional[str], LATER] = Field(
        None,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Class of the operator that follows the run. Absent: one that was installed without a class.",
    )
    training: Training = Field(Training(), description="How the model is trained.")
    ipu_config: Optional[IpuConfig] = Field(None, description="Values that replace those of the plan for IPUs.")
    acceptance: Annotated[Optional[Acceptance], LATER] = Field(
        None, description="What must hold before latest.json names the run. Absent: every finished run is named."
    )
    output: Output = Field(description="Where checkpoints, the model and the report are written.")
    secret_refs: Tuple[SecretReference, ...] = Field(
        (),
        max_length=8,
        json_schema_extra=list_map("name"),
        description="Secrets whose keys the trainer gets as environment variables.",
    )
    suspend: bool = Field(default=False, description="True ends the pod after a checkpoint and frees its IPUs.")
    retries: int = Field(
        3, ge=0, le=20, description="How many attempts may follow one that fails for a reason that may pass."
    )
    active_deadline_seconds: Optional[int] = Field(
        None, ge=1, le=31_536_000, description="Seconds that all attempts together may run. Waiting does not count."
    )
    ttl_seconds_after_finished: Optional[int] = Field(
        None,
        ge=0,
        le=31_536_000,
        description="Seconds after which the finished Job and its pod are deleted. This object stays.",
    )
