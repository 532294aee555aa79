"""PopTorch's Options: every setting is checked and remembered; the executor obeys those that change the maths."""

import copy
import os
from typing import Any, Dict, Iterable, Optional, Tuple, TypeVar, Union

import torch

from poptorch.enums import AutoStage, ConnectionType, OutputMode, ReductionType

Self = TypeVar("Self", bound="_Settings")
HIGHEST_PROPORTION = 1.0


class _Settings:
    """A group of settings that cannot change once an executor has them; each is read as an attribute."""

    def __init__(self, **values: Any) -> None:
        self.__dict__["values"] = values
        self.__dict__["frozen"] = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.__dict__.get("values", {}):
            raise AttributeError(f"poptorch.{type(self).__name__} (emulated) has no {name!r}")
        return self.__dict__["values"][name]

    def groups(self) -> Iterable["_Settings"]:
        return [value for value in self.__dict__.values() if isinstance(value, _Settings)]

    def freeze(self) -> None:
        """Refuse changes from now on."""
        self._freeze_all(frozen=True)

    def _freeze_all(self, *, frozen: bool) -> None:
        self.__dict__["frozen"] = frozen
        for group in self.groups():
            group._freeze_all(frozen=frozen)

    def _with(self: Self, **values: Any) -> Self:
        if self.frozen:
            raise AttributeError("Can't modify frozen Options")
        self.values.update(values)
        return self


def _positive(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AssertionError(f"{name} must be an integer greater than 0, got {value!r}")
    return value


class _PrecisionOptions(_Settings):
    def enableStochasticRounding(self, enabled: bool) -> "_PrecisionOptions":
        return self._with(stochastic_rounding=enabled)

    def enableFloatingPointExceptions(self, enabled: bool) -> "_PrecisionOptions":
        return self._with(floating_point_exceptions=enabled)

    def setPartialsType(self, dtype: torch.dtype) -> "_PrecisionOptions":
        if dtype not in (torch.float16, torch.float32):
            raise ValueError("setPartialsType takes torch.float16 or torch.float32")
        return self._with(partials=dtype)


class _TrainingOptions(_Settings):
    def __init__(self) -> None:
        super().__init__(gradient_accumulation=1, reduction=ReductionType.Mean, auto_loss_scaling=False)

    def gradientAccumulation(self, gradient_accumulation: int) -> "_TrainingOptions":
        return self._with(gradient_accumulation=_positive("gradientAccumulation", gradient_accumulation))

    def accumulationAndReplicationReductionType(self, reduction_type: ReductionType) -> "_TrainingOptions":
        return self._with(reduction=ReductionType(reduction_type))

    def setAutomaticLossScaling(self, enabled: bool) -> "_TrainingOptions":
        return self._with(auto_loss_scaling=enabled)


class _PopartOptions(_Settings):
    """What is handed to PopART as it is; only the executable cache and the updatable buffers are emulated."""

    @property
    def options(self) -> Dict[str, Any]:
        return self.__dict__["values"]

    def set(self, key: str, value: Any) -> "_PopartOptions":
        if not isinstance(value, (bool, int, float, str, list, set, dict)):
            raise TypeError(f"PopART's option {key} cannot be a {type(value)}")
        return self._with(**{key: value})

    def setPatterns(self, patterns: Dict[str, bool], level: int = 2) -> "_PopartOptions":
        return self._with(patterns=dict(patterns))


class TensorLocationSettings(_Settings):
    """Where tensors lie: of no effect on a CPU."""

    def useOnChipStorage(self, use: bool = True) -> "TensorLocationSettings":
        return self._with(on_chip=use)

    def useReplicatedTensorSharding(self, use: bool = True) -> "TensorLocationSettings":
        return self._with(replicated_tensor_sharding=use)


class _TensorLocationOptions(_Settings):
    def setOptimizerLocation(self, location: TensorLocationSettings) -> "_TensorLocationOptions":
        return self._with(optimizer=location)


class _DistributedOptions(_Settings):
    @property
    def processId(self) -> int:
        return int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))

    @property
    def numProcesses(self) -> int:
        return int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))


class _ExecutionStrategy:
    def __init__(self, *arguments: Any) -> None:
        self.arguments: Tuple[Any, ...] = arguments


class PipelinedExecution(_ExecutionStrategy):
    """Blocks work on several micro-batches at once."""


class ShardedExecution(_ExecutionStrategy):
    """Blocks work one after the other."""


class Options(_Settings):
    """All settings of an executor."""

    def __init__(self) -> None:
        super().__init__(
            replication_factor=1,
            device_iterations=1,
            output_mode=OutputMode.Default,
            connection_type=ConnectionType.Always,
            execution_strategy=PipelinedExecution(),
            auto_round_num_ipus=False,
        )
        popart = _PopartOptions()
        self.__dict__.update(
            Precision=_PrecisionOptions(),
            Training=_TrainingOptions(),
            TensorLocations=_TensorLocationOptions(),
            Distributed=_DistributedOptions(),
            _Popart=popart,
            _popart=popart,
            input_group_size=1,
        )

    def clone(self) -> "Options":
        """Return a copy that can be changed."""
        made = copy.deepcopy(self)
        made._freeze_all(frozen=False)
        return made

    def exists(self, name: str) -> bool:
        return name in self.values

    def defaultOutputMode(self) -> bool:
        return self.output_mode == OutputMode.Default

    def autoRoundNumIPUs(self, auto_round_num_ipus: bool = True) -> "Options":
        return self._with(auto_round_num_ipus=auto_round_num_ipus)

    def replicationFactor(self, replication_factor: int) -> "Options":
        return self._with(replication_factor=_positive("replicationFactor", replication_factor))

    def deviceIterations(self, device_iterations: int) -> "Options":
        return self._with(device_iterations=_positive("deviceIterations", device_iterations))

    def outputMode(self, output_mode: OutputMode, output_return_period: Optional[int] = None) -> "Options":
        return self._with(output_mode=OutputMode(output_mode))

    def randomSeed(self, random_seed: int) -> "Options":
        return self._with(random_seed=int(random_seed))

    def setExecutionStrategy(self, strategy: Union[AutoStage, _ExecutionStrategy]) -> "Options":
        return self._with(
            execution_strategy=PipelinedExecution(strategy) if isinstance(strategy, AutoStage) else strategy
        )

    def setAvailableMemoryProportion(self, available_memory_proportion: Dict[str, float]) -> "Options":
        for name, proportion in available_memory_proportion.items():
            if not name.startswith("IPU") or not name[3:].isdigit() or not 0 <= proportion <= HIGHEST_PROPORTION:
                raise AssertionError(f"bad available memory proportion {name}={proportion}")
        return self._with(available_memory_proportion=dict(available_memory_proportion))

    def enableExecutableCaching(self, path: Optional[str]) -> "Options":
        """Keep executables in a folder, or (None) nowhere."""
        self._Popart.set("enableEngineCaching", path is not None)
        if path is not None:
            self._Popart.set("cachePath", path)
        return self

    def useOfflineIpuTarget(self, ipu_version: int = 2) -> "Options":
        """Compile for IPUs that are not here."""
        return self._with(connection_type=ConnectionType.Never)

    def connectionType(self, connection_type: ConnectionType) -> "Options":
        return self._with(connection_type=ConnectionType(connection_type))

    def broadcastBuffers(self, broadcast_buffers: bool = True) -> "Options":
        return self._with(broadcast_buffers=broadcast_buffers)

    def updatableNamedBuffers(self, buffers: Iterable[str]) -> "Options":
        """Name the buffers that copyNamedBuffersToDevice takes to the device."""
        self._Popart.set("updatableNamedBuffers", list(buffers))
        return self
