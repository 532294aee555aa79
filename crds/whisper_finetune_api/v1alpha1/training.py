"""How the model is trained, as a user says it in `spec.training` and `spec.ipuConfig`."""

from typing import Literal, Optional, Tuple

from pydantic import Field
from typing_extensions import Annotated

from whisper_finetune_api.contract import LATER
from whisper_finetune_api.v1alpha1.api_model import ATOMIC_LIST, ApiModel, Fraction

Layers = Annotated[int, Field(ge=0, le=64)]
Proportion = Annotated[str, Field(pattern=r"^(0\.[0-9]{1,4}|1\.0)$", max_length=6)]
Packing = Literal["None", "Recording", "Any"]
#: With these each clip is trained on alone.
UNPACKED = (None, "None")
#: Whisper itself was trained with timestamps in half of the windows.
_USUAL_TIMESTAMP_RATE = 0.5


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
    batch_size: int = Field(16, ge=1, le=4096, description="How many clips, or packed windows, a step trains on.")
    micro_batch_size: Annotated[Optional[int], LATER] = Field(
        None,
        ge=1,
        le=4096,
        description="Most clips that go through the network at once. The gradients of a step are added up, so it "
        "decides speed and memory alone. Absent: as many as fit on a GPU, 8 on a CPU. Not for IPUs.",
    )
    gradient_checkpointing: Annotated[Optional[Literal["Auto", "On", "Off"]], LATER] = Field(
        None,
        description="Compute each layer again for its gradients, which saves most of the activations' memory and takes "
        "about a third more time. Auto: where not even one clip fits otherwise. Absent: Auto. Not for IPUs.",
    )
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
    window: Annotated[Optional[Literal["Fitted", "Full"]], LATER] = Field(
        None,
        description="The window that a train clip is heard in. Fitted: the shortest of 5, 10, 20 and 30 s that "
        "holds it. Full: always the model's own of 30 s, as when it is measured, which takes longer. Absent: Fitted on "
        "GPUs and CPUs. IPUs are always Full.",
    )
    patience: Optional[int] = Field(
        None,
        ge=1,
        le=1000,
        description="Stop after so many evaluations in a row without a better score. Absent: never.",
    )
    mixing: Annotated[Optional[bool], LATER] = Field(
        None,
        description="After training weigh the weights of before and after, and the mean of the last checkpoints, on "
        "the validation clips, and take the best mixture. It needs evalEverySteps. Absent: no.",
    )
    resume_every_seconds: int = Field(
        600,
        ge=1,
        le=86_400,
        description="How often the state of the training is saved, from which a next attempt resumes.",
    )
    packing: Annotated[Optional[Packing], LATER] = Field(
        None,
        description="Join clips to windows of up to 30 s. Recording: neighbours in one recording, with their true "
        "pauses. Any: after them clips of one speaker, then others. batchSize counts windows then. Absent: None.",
    )
    timestamp_rate: Annotated[Optional[Proportion], LATER] = Field(
        None, description="Part of the packed windows that are trained on with timestamps. Absent: 0.5."
    )
    prompt_rate: Annotated[Optional[Proportion], LATER] = Field(
        None,
        description="Part of the packed windows that are trained on with the text before them as prompt, where there "
        "is one. Absent: 0.0.",
    )

    @property
    def timestamp_part(self) -> float:
        """The part of the packed windows that have timestamps. Without packing none has them."""
        if self.packing in UNPACKED:
            return 0.0
        return _USUAL_TIMESTAMP_RATE if self.timestamp_rate is None else float(self.timestamp_rate)

    @property
    def prompt_part(self) -> float:
        """The part of the packed windows that have the text before them as prompt, where there is one."""
        return 0.0 if self.packing in UNPACKED else float(self.prompt_rate or 0.0)


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
