"""PopTorch's Options. Every setting is checked and stored. The executor applies those that change the arithmetic."""

import copy
from typing import Any, Dict, Iterable, Optional, Tuple, Union

from poptorch import option_groups
from poptorch.enums import AutoStage, ConnectionType, OutputMode
from poptorch.errors import Error
from poptorch.option_groups import TensorLocationSettings

__all__ = ["Options", "PipelinedExecution", "ShardedExecution", "TensorLocationSettings"]
HIGHEST_PROPORTION = 1.0


class _ExecutionStrategy:
    def __init__(self, *arguments: Any) -> None:
        self.arguments: Tuple[Any, ...] = arguments


class PipelinedExecution(_ExecutionStrategy):
    """Blocks work on several micro-batches at once."""


class ShardedExecution(_ExecutionStrategy):
    """Blocks work one after the other."""


class Options(option_groups.Settings):
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
        popart = option_groups.PopartOptions()
        self.__dict__.update(
            Precision=option_groups.PrecisionOptions(),
            Training=option_groups.TrainingOptions(),
            TensorLocations=option_groups.TensorLocationOptions(),
            Distributed=option_groups.DistributedOptions(),
            _Popart=popart,
            _popart=popart,
            input_group_size=1,
        )

    def clone(self) -> "Options":
        """Return a copy that can be changed."""
        made = copy.deepcopy(self)
        made.freeze(frozen=False)
        return made

    def exists(self, name: str) -> bool:
        return name in self.values

    def defaultOutputMode(self) -> bool:
        return self.output_mode == OutputMode.Default

    def autoRoundNumIPUs(self, auto_round_num_ipus: bool = True) -> "Options":
        return self.changed(auto_round_num_ipus=auto_round_num_ipus)

    def replicationFactor(self, replication_factor: int) -> "Options":
        return self.changed(replication_factor=option_groups.positive("replicationFactor", replication_factor))

    def deviceIterations(self, device_iterations: int) -> "Options":
        return self.changed(device_iterations=option_groups.positive("deviceIterations", device_iterations))

    def outputMode(self, output_mode: OutputMode, output_return_period: Optional[int] = None) -> "Options":
        return self.changed(output_mode=OutputMode(output_mode))

    def randomSeed(self, random_seed: int) -> "Options":
        return self.changed(random_seed=int(random_seed))

    def setExecutionStrategy(self, strategy: Union[AutoStage, _ExecutionStrategy]) -> "Options":
        return self.changed(
            execution_strategy=PipelinedExecution(strategy) if isinstance(strategy, AutoStage) else strategy
        )

    def setAvailableMemoryProportion(self, available_memory_proportion: Dict[str, float]) -> "Options":
        for name, proportion in available_memory_proportion.items():
            if not name.startswith("IPU") or not name[3:].isdigit() or not 0 <= proportion <= HIGHEST_PROPORTION:
                raise AssertionError(f"bad available memory proportion {name}={proportion}")
        return self.changed(available_memory_proportion=dict(available_memory_proportion))

    def enableExecutableCaching(self, path: Optional[str]) -> "Options":
        """Keep executables in a folder, or (None) nowhere."""
        self._Popart.set("enableEngineCaching", path is not None)
        if path is not None:
            self._Popart.set("cachePath", path)
        return self

    def useOfflineIpuTarget(self, ipu_version: int = 2) -> "Options":
        """Compile for IPUs that are not here."""
        return self.changed(connection_type=ConnectionType.Never)

    def connectionType(self, connection_type: ConnectionType) -> "Options":
        return self.changed(connection_type=ConnectionType(connection_type))

    def broadcastBuffers(self, broadcast_buffers: bool = True) -> "Options":
        return self.changed(broadcast_buffers=broadcast_buffers)

    def updatableNamedBuffers(self, buffers: Iterable[str]) -> "Options":
        """Name the buffers that copyNamedBuffersToDevice takes to the device."""
        self._Popart.set("updatableNamedBuffers", list(buffers))
        return self


def finished(options: Options, *, training: bool) -> Options:
    """Return the options as an executor keeps them; the caller's can no longer change."""
    options.freeze()
    own = options.clone()
    if own.defaultOutputMode():
        own.outputMode(OutputMode.Final if training else OutputMode.All)
    if not training and own.Training.gradient_accumulation != 1:
        raise Error("You must set Training.gradientAccumulation to 1 for an inferenceModel")
    own.freeze()
    return own
