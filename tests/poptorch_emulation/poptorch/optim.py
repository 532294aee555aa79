"""PopTorch's optimizers. The host's object has the settings, and the device has the moments."""

from typing import Any, Dict, Iterable, List, Optional, Set, Tuple, Type

import torch

STATE_KEYS = ("ipu_state", "ipu_param")
ACCUMULATED_TYPES = (None, torch.float16, torch.float32)


class VariableAttributes:
    """Which settings may change without another compilation."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = set(allowed)
        self.constant: Set[str] = set()

    def markAsConstant(self, attribute: str) -> None:
        assert attribute in self.allowed, f"Unknown attribute {attribute}"
        self.constant.add(attribute)

    def markAsVariable(self, attribute: str) -> None:
        self.constant.discard(attribute)

    def isConstant(self, attribute: str) -> bool:
        return attribute in self.constant


class Optimizer:
    """What PopTorch adds to an optimizer of PyTorch; it must come first among the bases."""

    defaults: Dict[str, Any]

    def _prepare(self, loss_scaling: Optional[float], accum_type: Optional[torch.dtype]) -> None:
        if accum_type not in ACCUMULATED_TYPES:
            raise ValueError("accum_type must be torch.float16 or torch.float32")
        self._state_dict: Dict[str, Any] = {"ipu_state": None, "ipu_param": None}
        self.ipu_state_is_dirty = self.host_state_is_dirty = False
        self.loss_scaling = 1.0 if loss_scaling is None else float(loss_scaling)
        self.accum_type = accum_type or torch.float32
        self.variable_attrs = VariableAttributes([*self.defaults, "loss_scaling"])

    def has_state(self) -> bool:
        return self._state_dict.get("ipu_state") is not None

    def get_state_dict(self) -> Dict[str, Any]:
        return {**self._state_dict, **torch.optim.Optimizer.state_dict(self)}  # type: ignore[arg-type] # a mixin

    def state_dict(self) -> Dict[str, Any]:
        return self.get_state_dict()

    def set_state_dict(self, state: Dict[str, Any]) -> None:
        if any(key not in state for key in STATE_KEYS):
            raise RuntimeError("Only IPU optimizer states can be loaded onto the IPU.")
        self._state_dict = {key: state[key] for key in STATE_KEYS}
        self.ipu_state_is_dirty, self.host_state_is_dirty = True, False

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        torch.optim.Optimizer.load_state_dict(self, state)  # type: ignore[arg-type] # a mixin
        self.set_state_dict(state)

    def step(self, closure: Any = None) -> None:
        raise RuntimeError("a PopTorch optimizer steps on the device, never on the host")


class _Moments(Optimizer):
    """Adam's and AdamW's settings."""

    decoupled_weight_decay: bool
    host_class: Type[torch.optim.Optimizer]

    def __init__(
        self,
        params: Any,
        lr: Optional[float] = None,
        betas: Optional[Tuple[float, float]] = None,
        eps: Optional[float] = None,
        weight_decay: Optional[float] = None,
        amsgrad: Optional[bool] = None,
        loss_scaling: Optional[float] = None,
        bias_correction: Optional[bool] = None,
        accum_type: Optional[torch.dtype] = None,
        first_order_momentum_accum_type: Optional[torch.dtype] = None,
        second_order_momentum_accum_type: Optional[torch.dtype] = None,
        max_grad_norm: Optional[float] = None,
    ) -> None:
        if max_grad_norm is not None:
            raise NotImplementedError("max_grad_norm is not emulated")
        given = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        self.host_class.__init__(self, params, **{key: value for key, value in given.items() if value is not None})
        self._prepare(loss_scaling, accum_type)
        self.bias_correction = True if bias_correction is None else bias_correction
        self.first_moment_type = first_order_momentum_accum_type or torch.float32
        self.second_moment_type = second_order_momentum_accum_type or torch.float32


class Adam(_Moments, torch.optim.Adam):
    decoupled_weight_decay = False
    host_class = torch.optim.Adam


class AdamW(_Moments, torch.optim.AdamW):
    decoupled_weight_decay = True
    host_class = torch.optim.AdamW


class SGD(Optimizer, torch.optim.SGD):
    """Without momentum."""

    def __init__(
        self,
        params: Any,
        lr: float,
        loss_scaling: Optional[float] = None,
        accum_type: Optional[torch.dtype] = None,
    ) -> None:
        torch.optim.SGD.__init__(self, params, lr=lr)
        self._prepare(loss_scaling, accum_type)


class _NotEmulated(Optimizer):
    def __init__(self, *arguments: List[Any], **keywords: Any) -> None:
        raise NotImplementedError(f"poptorch.optim.{type(self).__name__} is not emulated")


class RMSprop(_NotEmulated):
    """Refused."""


class LAMB(_NotEmulated):
    """Refused."""
