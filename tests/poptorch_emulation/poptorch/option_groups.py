"""The groups of PopTorch's Options. In all of them a setting is checked, stored and then frozen."""

import os
from typing import Any, Dict, Iterable

import torch
from typing_extensions import Self

from poptorch.enums import ReductionType


class Settings:
    """A group of settings that cannot change once an executor has them; each is read as an attribute."""

    def __init__(self, **values: Any) -> None:
        self.__dict__["values"] = values
        self.__dict__["frozen"] = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.__dict__.get("values", {}):
            raise AttributeError(f"poptorch.{type(self).__name__} (emulated) has no {name!r}")
        return self.__dict__["values"][name]

    def groups(self) -> Iterable["Settings"]:
        return [value for value in self.__dict__.values() if isinstance(value, Settings)]

    def freeze(self, *, frozen: bool = True) -> None:
        """Refuse changes from now on, in all groups within too; or (False) allow them again."""
        self.__dict__["frozen"] = frozen
        for group in self.groups():
            group.freeze(frozen=frozen)

    def changed(self, **values: Any) -> Self:
        if self.frozen:
            raise AttributeError("Can't modify frozen Options")
        self.values.update(values)
        return self


def positive(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AssertionError(f"{name} must be an integer greater than 0, got {value!r}")
    return value


class PrecisionOptions(Settings):
    def enableStochasticRounding(self, enabled: bool) -> "PrecisionOptions":
        return self.changed(stochastic_rounding=enabled)

    def enableFloatingPointExceptions(self, enabled: bool) -> "PrecisionOptions":
        return self.changed(floating_point_exceptions=enabled)

    def setPartialsType(self, dtype: torch.dtype) -> "PrecisionOptions":
        if dtype not in (torch.float16, torch.float32):
            raise ValueError("setPartialsType takes torch.float16 or torch.float32")
        return self.changed(partials=dtype)


class TrainingOptions(Settings):
    def __init__(self) -> None:
        super().__init__(gradient_accumulation=1, reduction=ReductionType.Mean, auto_loss_scaling=False)

    def gradientAccumulation(self, gradient_accumulation: int) -> "TrainingOptions":
        return self.changed(gradient_accumulation=positive("gradientAccumulation", gradient_accumulation))

    def accumulationAndReplicationReductionType(self, reduction_type: ReductionType) -> "TrainingOptions":
        return self.changed(reduction=ReductionType(reduction_type))

    def setAutomaticLossScaling(self, enabled: bool) -> "TrainingOptions":
        return self.changed(auto_loss_scaling=enabled)


class PopartOptions(Settings):
    """What is handed to PopART as it is; only the executable cache and the updatable buffers are emulated."""

    @property
    def options(self) -> Dict[str, Any]:
        return self.__dict__["values"]

    def set(self, key: str, value: Any) -> "PopartOptions":
        if not isinstance(value, (bool, int, float, str, list, set, dict)):
            raise TypeError(f"PopART's option {key} cannot be a {type(value)}")
        return self.changed(**{key: value})

    def setPatterns(self, patterns: Dict[str, bool], level: int = 2) -> "PopartOptions":
        return self.changed(patterns=dict(patterns))


class TensorLocationSettings(Settings):
    """Where tensors lie: of no effect on a CPU."""

    def useOnChipStorage(self, use: bool = True) -> "TensorLocationSettings":
        return self.changed(on_chip=use)

    def useReplicatedTensorSharding(self, use: bool = True) -> "TensorLocationSettings":
        return self.changed(replicated_tensor_sharding=use)


class TensorLocationOptions(Settings):
    def setOptimizerLocation(self, location: TensorLocationSettings) -> "TensorLocationOptions":
        return self.changed(optimizer=location)


class DistributedOptions(Settings):
    @property
    def processId(self) -> int:
        return int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))

    @property
    def numProcesses(self) -> int:
        return int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))
