"""PoplarExecutor: when PopTorch compiles, attaches, moves weights and runs, and what it refuses at each of these."""

import copy
import math
from typing import Any, Dict, List, Optional, Tuple

import torch

from poptorch import batches, executable_cache, partition, tensor_trees
from poptorch.blocks import Blocks, ipus_per_replica, pipeline_stages
from poptorch.device import Device, copy_tensors
from poptorch.enums import ConnectionType, OutputMode
from poptorch.errors import Error
from poptorch.optim import Optimizer
from poptorch.options import Options, PipelinedExecution

Shapes = List[Tuple[Tuple[int, ...], torch.dtype]]


class PoplarExecutor:
    """A model on emulated IPUs; other attributes are the model's."""

    def __init__(
        self,
        model: torch.nn.Module,
        options: Optional[Options],
        *,
        training: bool,
        optimizer: Optional[Optimizer] = None,
    ) -> None:
        if options is not None and not isinstance(options, Options):
            raise TypeError("Invalid type: 'options' (Expected poptorch.Options)")
        self._user_model = model
        # A shallow copy, as in PopTorch: what the caller binds to its own module later does not matter here.
        self._model = copy.copy(model)
        self._options = _finished_options(options or Options(), training=training)
        self._training = training
        self._optimizer: Any = None
        self._device: Optional[Device] = None
        self._held: Optional[partition.Held] = None
        self._weights_are_newer_on_device = False
        self._shapes: Shapes = []
        self._names_of_groups: List[List[str]] = []
        self.blocks: Blocks = []
        self.num_ipus = self.pipeline_stages = 0
        self.loaded_from_cache = False
        if optimizer is not None:
            self.setOptimizer(optimizer)

    def __deepcopy__(self, memo: Dict[int, Any]) -> "PoplarExecutor":
        """An executable is never copied with the module that holds it."""
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_user_model" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._user_model, name)

    @property
    def model(self) -> torch.nn.Module:
        return self._user_model

    @property
    def options(self) -> Options:
        return self._options

    def isCompiled(self) -> bool:
        return self._device is not None

    def isAttachedToDevice(self) -> bool:
        return self._held is not None

    def compile(self, *arguments: Any, **keywords: Any) -> None:
        """Take the shapes and a snapshot of the weights; attach, unless the target is offline."""
        if self._device is not None:
            return
        inputs = batches.micro_batches((arguments, keywords), self._options)
        device = Device(self._model, self._options)
        self._names_of_groups = self._named_groups() if self._training else []
        self.blocks = device.trial_run(inputs[0])
        self._require_full_pipeline()
        self.num_ipus = self._rounded(ipus_per_replica(self.blocks) * self._options.replication_factor)
        self._shapes = _shapes_of((arguments, keywords))
        offline = self._options.connection_type == ConnectionType.Never
        held = None if offline else partition.acquire(self.num_ipus)
        try:
            self._load_or_keep_executable(device)
        except Error:
            if held is not None:
                held.release()
            raise
        self._device = device
        if held is not None:
            self._on_attach(held)

    def _named_groups(self) -> List[List[str]]:
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        groups = [[names.get(id(parameter)) for parameter in group["params"]] for group in self._optimizer.param_groups]
        if any(None in group for group in groups):
            raise Error("an optimizer parameter is not a parameter of the model")
        return groups  # type: ignore[return-value] # None was refused

    def _require_full_pipeline(self) -> None:
        self.pipeline_stages = stages = pipeline_stages(self.blocks, training=self._training)
        if not isinstance(self._options.execution_strategy, PipelinedExecution):
            return
        option, value = ("Training.gradientAccumulation", self._options.Training.gradient_accumulation)
        if not self._training:
            option, value = ("deviceIterations", self._options.device_iterations)
        if value < stages:
            raise Error(
                f"poptorch.Options().{option} must be greater than or equal to the number of pipeline stages "
                f"({stages}) when using poptorch.PipelinedExecution."
            )

    def _rounded(self, count: int) -> int:
        rounded = 2 ** math.ceil(math.log2(count))
        if rounded != count and not self._options.auto_round_num_ipus:
            raise Error(
                f"The model specifies the use of {count} IPUs, however PopTorch must reserve a minimum of {rounded} in "
                "order to allow the model to run. Please reconfigure your model to use a different number of IPUs or "
                "set poptorch.Options().autoRoundNumIPUs(True)."
            )
        return rounded

    def _load_or_keep_executable(self, device: Device) -> None:
        folder = executable_cache.folder_of(self._options)
        if folder is None:
            return
        graph = {
            "model": type(self._model).__name__,
            "tensors": {
                name: [*tensor.shape, str(tensor.dtype)] for name, tensor in device.module.state_dict().items()
            },
            "half": sorted(device.half),
            "inputs": str(self._shapes),
            "blocks": self.blocks,
            "training": self._training,
            "replicas": self._options.replication_factor,
            "iterations": self._options.device_iterations,
            "accumulation": self._options.Training.gradient_accumulation,
        }
        self.loaded_from_cache = executable_cache.load_or_keep(folder, graph)

    def attachToDevice(self) -> None:
        """Take IPUs, and move weights and the optimizer's state there."""
        self._compiled()
        if self._options.connection_type == ConnectionType.Never:
            raise AssertionError("Trying to attach to an offline device (ConnectionType.Never)")
        if self._held is not None:
            raise Error("Device is already attached")
        self._on_attach(partition.acquire(self.num_ipus))

    def _on_attach(self, held: partition.Held) -> None:
        self._held = held
        self.copyWeightsToDevice()
        if self._optimizer is not None and self._optimizer.has_state():
            self._load_optimizer_state()

    def detachFromDevice(self) -> None:
        """Read newer weights and the optimizer's state back, and give the IPUs back."""
        self._compiled()
        if self._held is None:
            raise Error("Device is not attached")
        if self._training:
            if self._weights_are_newer_on_device:
                self.copyWeightsToHost()
            self._optimizer.state_dict()
        self._held.release()
        self._held = None

    def destroy(self) -> None:
        """Forget the executable."""
        if self._held is not None:
            self.detachFromDevice()
        self._device = None

    def _compiled(self) -> Device:
        if self._device is None:
            raise Error("Model has not been compiled or has been destroyed.")
        return self._device

    def copyWeightsToDevice(self) -> None:
        copy_tensors(self._model, self._compiled().module)
        self._weights_are_newer_on_device = False

    def copyWeightsToHost(self) -> None:
        copy_tensors(self._compiled().module, self._model)
        self._weights_are_newer_on_device = False

    def copyNamedBuffersToDevice(self) -> None:
        names = self._options._Popart.options.get("updatableNamedBuffers")
        if names is None:
            raise Error("No named buffers marked as updatable via updatableNamedBuffers option")
        copy_tensors(self._model, self._compiled().module, set(names))

    def load_state_dict(self, state_dict: Dict[str, Any], strict: bool = True) -> Any:  # noqa: FBT001, FBT002 -- PyTorch's
        loaded = self._user_model.load_state_dict(state_dict, strict)
        if self._held is not None:
            self.copyWeightsToDevice()
        return loaded

    def setOptimizer(self, optimizer: Any) -> None:
        """Take new settings; the state only where it was loaded since the last call."""
        new = optimizer is not self._optimizer
        self._optimizer = optimizer
        optimizer.state_dict = self._optimizer_state_dict
        if self._held is not None and optimizer.has_state() and (new or optimizer.ipu_state_is_dirty):
            self._load_optimizer_state()

    def _optimizer_state_dict(self) -> Dict[str, Any]:
        if self._optimizer.host_state_is_dirty and self._device is not None:
            self._optimizer.set_state_dict(self._device.state())
            self._optimizer.ipu_state_is_dirty = False
        return self._optimizer.get_state_dict()

    def _load_optimizer_state(self) -> None:
        self._compiled().load_state(self._optimizer._state_dict)
        self._optimizer.ipu_state_is_dirty = False

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Run one batch: compile and attach first where that was not done; refuse other shapes than those compiled."""
        if self._options.connection_type == ConnectionType.Never:
            raise AssertionError("Trying to run a model on an offline device (ConnectionType.Never)")
        self.compile(*arguments, **keywords)
        shapes = _shapes_of((arguments, keywords))
        if shapes != self._shapes:
            raise Error(f"Input shapes or types changed after compilation: {self._shapes} -> {shapes}")
        if self._held is None:
            self.attachToDevice()
        inputs = batches.micro_batches((arguments, keywords), self._options)
        outputs = self._train(inputs) if self._training else self._infer(inputs)
        return batches.collected(outputs, self._options)

    def _train(self, inputs: List[Any]) -> List[Any]:
        outputs = []
        per_step = len(inputs) // self._options.device_iterations
        for place, micro_batch in enumerate(inputs, start=1):
            outputs.append(self._compiled().accumulate(micro_batch, self._optimizer))
            if place % per_step == 0:
                self._compiled().update(self._optimizer, self._names_of_groups)
        self._weights_are_newer_on_device = self._optimizer.host_state_is_dirty = True
        return outputs

    def _infer(self, inputs: List[Any]) -> List[Any]:
        replicas = self._options.replication_factor
        return [self._compiled().infer(part, place % replicas) for place, part in enumerate(inputs)]


def _finished_options(options: Options, *, training: bool) -> Options:
    """Return the options as the executor keeps them; the caller's can no longer change."""
    options.freeze()
    finished = options.clone()
    if finished.defaultOutputMode():
        finished.outputMode(OutputMode.Final if training else OutputMode.All)
    if not training and finished.Training.gradient_accumulation != 1:
        raise Error("You must set Training.gradientAccumulation to 1 for an inferenceModel")
    finished.freeze()
    return finished


def _shapes_of(inputs: Any) -> Shapes:
    return [(tuple(tensor.shape), tensor.dtype) for tensor in tensor_trees.tensors_of(inputs)]
