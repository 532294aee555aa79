"""Overrides of the IPU plan, by optimum-graphcore's own names (IPUConfig) in camelCase."""

from typing import Optional, Tuple

from pydantic import Field
from typing_extensions import Annotated

from whisper_finetune_api.v1alpha1.api_model import ATOMIC_LIST, ApiModel

Layers = Annotated[int, Field(ge=0, le=64)]
Proportion = Annotated[str, Field(pattern=r"^(0\.[0-9]{1,4}|1\.0)$", max_length=6)]


class IpuConfig(ApiModel):
    """What optimum-graphcore's IPUConfig is to hold instead of the plan's own values."""

    layers_per_ipu: Optional[Tuple[Layers, ...]] = Field(
        None,
        min_length=1,
        max_length=64,
        json_schema_extra=ATOMIC_LIST,
        description="Layers on each IPU of one replica.",
    )
    inference_layers_per_ipu: Optional[Tuple[Layers, ...]] = Field(
        None, min_length=1, max_length=64, json_schema_extra=ATOMIC_LIST, description="The same for evaluation."
    )
    matmul_proportion: Optional[Tuple[Proportion, ...]] = Field(
        None,
        min_length=1,
        max_length=64,
        json_schema_extra=ATOMIC_LIST,
        description="Memory for matrix products, per IPU.",
    )
    gradient_accumulation_steps: Optional[int] = Field(
        None, ge=1, le=4096, description="Micro-batches of one step; at least the stages of the pipeline."
    )
    projection_serialization_factor: Optional[int] = Field(
        None, ge=1, le=65536, description="Pieces of the output projection; must divide the vocabulary."
    )
    inference_projection_serialization_factor: Optional[int] = Field(
        None, ge=1, le=65536, description="The same for evaluation."
    )
    optimizer_state_offchip: Optional[bool] = Field(None, description="Keep the optimizer's state in streaming memory.")
    recompute_checkpoint_every_layer: Optional[bool] = Field(None, description="Trade time for memory.")
    enable_half_partials: Optional[bool] = Field(None, description="Sum matrix products in float16.")
    on_device_generation_steps: Optional[int] = Field(
        None, ge=0, le=448, description="Tokens generated on the IPU before the host looks."
    )
