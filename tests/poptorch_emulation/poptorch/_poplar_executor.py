"""PoplarExecutor: when PopTorch compiles, attaches, moves weights and runs, and what it refuses in each case."""

import copy
from typing import Any, Dict, List, Optional

import torch

from poptorch import batches, executable_cache, graphs, partition
from poptorch.device import Device, copy_tensors
from poptorch.enums import ConnectionType
from poptorch.errors import Error
from poptorch.optim import Optimizer
from poptorch.options import Options, finished

NOT_COMPILED = "Model has not been compiled or has been destroyed."


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
        self._options = finished(options or Options(), training=training)
        self._training = training
        self._optimizer: Any = None
        self._device: Optional[Device] = None
        self._held: Optional[partition.Held] = None
        self._weights_are_newer_on_device = False
        self._graph: Optional[graphs.Graph] = None
        self._names_of_groups: List[List[str]] = []
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
        inputs = (arguments, keywords)
        device = Device(self._model, self._options)
        names_of_groups = graphs.named_groups(self._model, self._optimizer) if self._training else []
        graph = graphs.traced(device, inputs, self._options, training=self._training)
        offline = self._options.connection_type == ConnectionType.Never
        held = None if offline else partition.acquire(graph.ipus)
        try:
            self.loaded_from_cache = executable_cache.load_or_keep(self._options, graph)
        except Error:
            if held is not None:
                held.release()
            raise
        self._device, self._graph, self._names_of_groups = device, graph, names_of_groups
        if held is not None:
            self._on_attach(held)

    @property
    def graph(self) -> graphs.Graph:
        """The emulation's own: blocks, stages and IPUs of the compiled model."""
        if self._graph is None:
            raise Error(NOT_COMPILED)
        return self._graph

    @property
    def rng_state(self) -> List[int]:
        """Seed and state of the device's random generators."""
        device = self._compiled()
        return [device.seed, *device.random_state.tolist()]

    @rng_state.setter
    def rng_state(self, state: List[int]) -> None:
        device = self._compiled()
        device.seed, device.random_state = state[0], torch.tensor(state[1:], dtype=torch.uint8)

    def attachToDevice(self) -> None:
        """Take IPUs, and move weights and the optimizer's state there."""
        self._compiled()
        if self._options.connection_type == ConnectionType.Never:
            raise AssertionError("Trying to attach to an offline device (ConnectionType.Never)")
        if self._held is not None:
            raise Error("Device is already attached")
        self._on_attach(partition.acquire(self.graph.ipus))

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
            raise Error(NOT_COMPILED)
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

    def load_state_dict(self, state_dict: Dict[str, Any], strict: bool = True) -> Any:
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
        graphs.require_same_shapes(self.graph, (arguments, keywords))
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
