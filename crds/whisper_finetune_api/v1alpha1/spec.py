"""What a user writes. Every field has a description, a bound and, where one makes sense, a default."""

from typing import Literal, Optional, Tuple

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic.config import JsonDict
from typing_extensions import Annotated

from whisper_finetune_api.addresses import MODEL_PATTERN, NO_PARENT_RULE, OUTPUT_PATTERN, SOURCE_PATTERN
from whisper_finetune_api.contract import LATER
from whisper_finetune_api.languages import LANGUAGE_NAMES
from whisper_finetune_api.v1alpha1.api_model import ATOMIC_LIST, ApiModel, cel_rule, list_map

_NO_PARENT: JsonDict = {
    "x-kubernetes-validations": [cel_rule(NO_PARENT_RULE, "must not have . or .. as a part of its path")]
}
_SPLIT = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def _known_language(language: str) -> str:
    if language not in LANGUAGE_NAMES:
        raise ValueError(
            f"{language!r} is not a language Whisper knows; take a code or name of its table, such as it or italian, "
            "and for a language outside of it the nearest one"
        )
    return language


def _without_parents(address: str) -> str:
    if {".", ".."} & set(address.split("/")):
        raise ValueError("must not have . or .. as a part of its path")
    return address


Language = Annotated[
    str, AfterValidator(_known_language), WithJsonSchema({"type": "string", "enum": list(LANGUAGE_NAMES)})
]
Fraction = Annotated[str, Field(pattern=r"^0\.[0-9]{1,4}$", max_length=6)]
HeldOutFraction = Annotated[str, Field(pattern=r"^0\.0{0,3}[1-9][0-9]{0,3}$", max_length=6)]
IpuCount = Literal[1, 2, 4, 8, 16, 32, 64]
Layers = Annotated[int, Field(ge=0, le=64)]
Proportion = Annotated[str, Field(pattern=r"^(0\.[0-9]{1,4}|1\.0)$", max_length=6)]

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


class Dataset(ApiModel):
    """The speech to train on, with its transcripts."""

    source: Annotated[str, AfterValidator(_without_parents)] = Field(
        min_length=1,
        max_length=1024,
        pattern=SOURCE_PATTERN,
        json_schema_extra=_NO_PARENT,
        description="A Hub id, or a folder or manifest at pvc://claim/path, s3://, gs://, az:// or hf://.",
    )
    config: Optional[str] = Field(
        None,
        min_length=1,
        max_length=96,
        description="Configuration (subset) of a data set of the Hub. Absent: its only or default one.",
    )
    revision: Optional[str] = Field(
        None,
        min_length=1,
        max_length=96,
        description="Branch, tag or commit of the data set on the Hub. Absent: its main branch.",
    )
    train_split: str = Field("train", max_length=96, pattern=_SPLIT, description="Split that the model is trained on.")
    eval_split: Optional[str] = Field(
        None,
        max_length=96,
        pattern=_SPLIT,
        description="Split that the model is measured on. Absent: evalFraction of the train split is held out for it.",
    )
    eval_fraction: HeldOutFraction = Field(
        "0.2",
        description="Part of the train split that is held out to measure on where there is no evalSplit. It is "
        "drawn with seed 0.",
    )
    hold_out: Annotated[Optional[Literal["Speakers", "Clips"]], LATER] = Field(
        None,
        description="Clips: draw held-out clips one by one. Absent: whole speakers, where a column names them.",
    )
    validation_split: Annotated[Optional[str], LATER] = Field(
        None,
        max_length=96,
        pattern=_SPLIT,
        description="Split by which training.evalEverySteps chooses. Absent: validationFraction of the train split.",
    )
    validation_fraction: Annotated[Optional[HeldOutFraction], LATER] = Field(
        None,
        description="Part of the train split by which it chooses else. Absent: a tenth, of 20 to 500 clips.",
    )
    audio_column: Optional[str] = Field(
        None, min_length=1, max_length=96, description="Column of the sounds. Absent: it is found by its name."
    )
    text_column: Optional[str] = Field(
        None, min_length=1, max_length=96, description="Column of the transcripts. Absent: it is found by its name."
    )
    max_train_clips: Optional[int] = Field(None, ge=1, le=100_000_000, description="Most clips that are trained on.")
    max_eval_clips: Optional[int] = Field(None, ge=1, le=10_000_000, description="Most clips that are measured.")
    max_clip_seconds: int = Field(
        30, ge=1, le=30, description="Clips that are longer are dropped, counted and reported."
    )
    max_dropped_fraction: Fraction = Field(
        "0.1", description="Most of the clips that may be dropped. Where more are, the data set is refused."
    )
    text_normalization: Literal["None", "Basic", "Whisper"] = Field(
        "None", description="How transcripts are normalized before they are trained on."
    )
    text_rules: Literal["Known", "None"] = Field(
        "Known",
        description="Known: transcripts of known data sets are cleaned by the rules for these. None: they stay as"
        " they are.",
    )
    script: Optional[Literal["Language", "Any"]] = Field(
        None,
        description="Language: texts in another script than the language's are refused. Any: they are trained on "
        "too. Absent: Language.",
    )
    remove_duplicates: bool = Field(default=False, description="Drop clips of train whose audio is held out too.")
    allow_partial: bool = Field(
        default=False, description="Accept a data set of which the Hub has converted only a part."
    )


class Training(ApiModel):
    """The schedule of one replica: R replicas divide the steps by R and multiply the learning rate by R."""

    steps: int = Field(1000, ge=1, le=1_000_000, description="How many optimizer steps to train.")
    learning_rate: str = Field(
        "1e-5",
        max_length=16,
        pattern=r"^[0-9]+(\.[0-9]+)?([eE]-?[0-9]{1,2})?$",
        description="Highest learning rate, in quotes.",
    )
    warmup_fraction: Fraction = Field(
        "0.25", description="Part of the steps over which the learning rate rises to its highest value."
    )
    batch_size: int = Field(16, ge=1, le=4096, description="How many clips one optimizer step trains on.")
    seed: int = Field(
        0, ge=0, le=2_147_483_647, description="Seed of the order of the clips and of all else that is drawn."
    )
    eval_every_steps: Optional[int] = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Measure on the validation clips so often, and take the best model. Absent: take the last one.",
    )
    save_every_steps: Optional[int] = Field(
        None, ge=1, le=1_000_000, description="Write a checkpoint after so many steps each. Absent: at the end only."
    )
    max_label_tokens: int = Field(
        224, ge=8, le=448, description="Most tokens of a transcript. Clips of train with longer ones are dropped."
    )
    trainable: Literal["All", "Decoder"] = Field(
        "All", description="Which weights are trained. Decoder: the encoder stays as it is. All: every weight."
    )
    precision: Optional[Literal["Half", "Float"]] = Field(
        None,
        description="Half: float16 on IPUs, bfloat16 on GPUs and CPUs, refused where the hardware has none. Float: "
        "float32, of which GPUs multiply in TF32 where they have it. Absent: Half where the hardware has it.",
    )
    patience: Optional[int] = Field(
        None,
        ge=1,
        le=1000,
        description="Stop after so many evaluations in a row without a better score. Absent: never.",
    )
    resume_every_seconds: int = Field(
        600,
        ge=1,
        le=86_400,
        description="How often the state of the training is saved, from which a next attempt resumes.",
    )


class IpuConfig(ApiModel):
    """Overrides of the IPU plan, by the names of optimum-graphcore's IPUConfig in camelCase."""

    layers_per_ipu: Optional[Tuple[Layers, ...]] = Field(
        None,
        min_length=1,
        max_length=64,
        json_schema_extra=ATOMIC_LIST,
        description="How many layers each IPU of one replica has in training.",
    )
    inference_layers_per_ipu: Optional[Tuple[Layers, ...]] = Field(
        None,
        min_length=1,
        max_length=64,
        json_schema_extra=ATOMIC_LIST,
        description="How many layers each IPU of one replica has in evaluation.",
    )
    matmul_proportion: Optional[Tuple[Proportion, ...]] = Field(
        None,
        min_length=1,
        max_length=64,
        json_schema_extra=ATOMIC_LIST,
        description="Part of the memory of each IPU that matrix products may use.",
    )
    gradient_accumulation_steps: Optional[int] = Field(
        None,
        ge=1,
        le=4096,
        description="How many micro-batches one step has. The pipeline needs at least one for each of its stages.",
    )
    projection_serialization_factor: Optional[int] = Field(
        None,
        ge=1,
        le=65536,
        description="How many pieces the output projection is computed in. The number must divide the size of the"
        " vocabulary.",
    )
    inference_projection_serialization_factor: Optional[int] = Field(
        None,
        ge=1,
        le=65536,
        description="How many pieces the output projection is computed in when the model is measured. The number "
        "must divide the size of the vocabulary.",
    )
    optimizer_state_offchip: Optional[bool] = Field(
        None,
        description="Keep the optimizer's state in streaming memory, which leaves room on the IPUs and takes time.",
    )
    recompute_checkpoint_every_layer: Optional[bool] = Field(
        None,
        description="Compute each layer again for the backward pass, which leaves room on the IPUs and takes time.",
    )
    enable_half_partials: Optional[bool] = Field(
        None, description="Sum matrix products in float16, which is faster and less exact."
    )
    on_device_generation_steps: Optional[int] = Field(
        None, ge=0, le=448, description="How many tokens the IPU generates before the host sees them."
    )


class Output(ApiModel):
    """Where the run writes: everything lies in one folder of its own below `uri`."""

    uri: Annotated[str, AfterValidator(_without_parents)] = Field(
        max_length=1024,
        pattern=OUTPUT_PATTERN,
        json_schema_extra=_NO_PARENT,
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

    model: Annotated[str, AfterValidator(_without_parents)] = Field(
        min_length=1,
        max_length=1024,
        pattern=MODEL_PATTERN,
        json_schema_extra=_NO_PARENT,
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
    task: Literal["transcribe", "translate"] = Field(
        "transcribe", description="What the model learns: to write down what is said, or to translate it into English."
    )
    dataset: Dataset = Field(description="The speech to train on, with its transcripts.")
    ipus: Optional[IpuCount] = Field(
        None, description="IPUs of the partition. Absent: the fewest that this model can be trained on."
    )
    runtime: Optional[str] = Field(
        None,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Name of one of the cluster admin's runtimes. Absent: the default one.",
    )
    training: Training = Field(Training(), description="How the model is trained.")
    ipu_config: Optional[IpuConfig] = Field(None, description="Values that replace those of the plan for IPUs.")
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
