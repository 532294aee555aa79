"""One way to lay a Whisper out on a partition of IPUs, by the names of optimum-graphcore's IPUConfig."""

from typing import Any, Dict, Optional, Tuple

from pydantic import Field

from whisper_finetune_api.v1alpha1.api_model import ApiModel


class IpuPlan(ApiModel):
    """One replica's layout and how often it is repeated; the names are those of IPUConfig."""

    ipus: int = Field(description="Of the partition.")
    ipus_per_replica: int
    replication_factor: int
    micro_batch_size: int
    gradient_accumulation_steps: int
    layers_per_ipu: Tuple[int, ...]
    matmul_proportion: Tuple[float, ...]
    projection_serialization_factor: int
    optimizer_state_offchip: bool
    recompute_checkpoint_every_layer: bool
    enable_half_partials: bool
    inference_layers_per_ipu: Tuple[int, ...]
    inference_projection_serialization_factor: Optional[int] = None
    on_device_generation_steps: int
    bytes_per_ipu: Tuple[int, ...] = Field(description="Estimate of what training needs of each IPU's memory.")
    warnings: Tuple[str, ...] = ()

    def ipu_config(self) -> Dict[str, Any]:
        """Return what IPUConfig.from_dict takes, without the cache of executables."""
        generation: Dict[str, Any] = {"use_cache": True, "use_encoder_output_buffer": True}
        if self.on_device_generation_steps:
            generation["on_device_generation_steps"] = self.on_device_generation_steps
        values: Dict[str, Any] = {
            "optimizer_state_offchip": self.optimizer_state_offchip,
            "recompute_checkpoint_every_layer": self.recompute_checkpoint_every_layer,
            "enable_half_partials": self.enable_half_partials,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "replication_factor": self.replication_factor,
            "layers_per_ipu": list(self.layers_per_ipu),
            "matmul_proportion": list(self.matmul_proportion),
            "projection_serialization_factor": self.projection_serialization_factor,
            # Replicated generation and its buffer of encoder outputs exclude each other.
            "inference_replication_factor": 1,
            "inference_layers_per_ipu": list(self.inference_layers_per_ipu),
            "inference_parallelize_kwargs": generation,
        }
        if self.inference_projection_serialization_factor is not None:
            values["inference_projection_serialization_factor"] = self.inference_projection_serialization_factor
        return values
