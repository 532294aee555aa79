"""The hardware a run trains on and the precision it computes in."""

import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

import numpy as np
import torch
import transformers
from typing_extensions import Literal

from whisper_finetune_api.run import Accelerator
from whisper_finetune_api.v1alpha1.status import RanOn
from whisper_finetune_trainer.machine.hardware_faults import CardMemory
from whisper_finetune_trainer.messages.errors import TrainerError

Precision = Literal["Half", "Float"]
_CPU_INFO = Path("/proc/cpuinfo")
#: Names that Linux gives to instructions on bfloat16: of x86, and of Arm.
_BFLOAT16_FLAGS = frozenset(["avx512_bf16", "amx_bf16", "bf16"])
#: The first compute capability with bfloat16 and TensorFloat32.
_AMPERE = (8, 0)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """Where tensors go, and what the heavy operations compute in."""

    torch_device: torch.device
    precision: Precision
    ran_on: RanOn

    @property
    def dtype(self) -> torch.dtype:
        """What the decoder computes in: bfloat16 under autocast, else float32."""
        return torch.bfloat16 if self.precision == "Half" else torch.float32

    def autocast(self) -> torch.autocast:
        """Return a context in which the heavy operations compute in `dtype`; weights stay float32."""
        return torch.autocast(self.torch_device.type, torch.bfloat16, enabled=self.precision == "Half")


@dataclass(frozen=True)
class Card:
    """A CUDA device: its name, its compute capability, and how many of them the pod sees."""

    name: str
    capability: Tuple[int, int]
    count: int


def prepare_device(accelerator: Accelerator, wanted: Optional[Precision], cpus: int) -> Device:
    """Return the device, with as many threads as this process has `cpus`. AcceleratorUnavailable, ConfigInvalid."""
    torch.set_num_threads(min(cpus, torch.get_num_threads()))
    _make_deterministic()
    if accelerator == "cpu":
        precision = cpu_precision(_CPU_INFO.read_text("utf-8"), wanted)
        hardware = f"CPU, {torch.get_num_threads()} threads"
    elif accelerator == "cuda":
        card = _first_card()
        precision = card_precision(card, wanted)
        hardware = card_in_words(card, precision)
        # TensorFloat32 for what is Float, where the card has it: products are up to eight times as fast.
        torch.set_float32_matmul_precision("high")
    else:
        raise TrainerError("ConfigInvalid", f"accelerator {accelerator} needs the trainer image made for it")
    ran_on = RanOn(hardware=hardware, software=_software(), precision=precision)
    return Device(torch.device(accelerator), precision, ran_on)


def cpu_precision(cpu_info: str, wanted: Optional[Precision]) -> Precision:
    """Return what a CPU computes in, by the text of /proc/cpuinfo; ConfigInvalid where it has no bfloat16."""
    lines = (line.partition(":") for line in cpu_info.splitlines())
    flags = next((words for name, _, words in lines if name.strip() in ("flags", "Features")), "")
    has_bfloat16 = not _BFLOAT16_FLAGS.isdisjoint(flags.split())
    return _precision(wanted, "this CPU", "a node whose CPU has it", has_bfloat16=has_bfloat16)


def card_precision(card: Card, wanted: Optional[Precision]) -> Precision:
    """Return what a card computes in; ConfigInvalid where Half is wanted of one without bfloat16."""
    major, minor = card.capability
    others = "a runtime with cards of compute capability 8.0 or more"
    return _precision(
        wanted, f"{card.name} (compute capability {major}.{minor})", others, has_bfloat16=card.capability >= _AMPERE
    )


def _precision(wanted: Optional[Precision], hardware: str, others: str, *, has_bfloat16: bool) -> Precision:
    if wanted == "Half" and not has_bfloat16:
        raise TrainerError(
            "ConfigInvalid",
            f"training.precision: Half is bfloat16, which {hardware} does not compute in: "
            f"leave training.precision out, set Float, or take {others}",
        )
    return wanted or ("Half" if has_bfloat16 else "Float")


def card_in_words(card: Card, precision: Precision) -> str:
    """Return what a run says that it ran on."""
    text = f"{card.name} (1 of {card.count})" if card.count > 1 else card.name
    return f"{text}, TF32" if precision == "Float" and card.capability >= _AMPERE else text


def _first_card() -> Card:
    """Return the card that is used; AcceleratorUnavailable where there is none, ConfigInvalid of an image for CPUs."""
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        raise TrainerError(
            "ConfigInvalid",
            f"accelerator cuda: the image's PyTorch {torch.__version__} is made for CPUs alone; "
            "build the runtime's image with TORCH=cuda",
        )
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # the same
    except (RuntimeError, AssertionError) as error:
        words = " ".join(str(error).split())[:200]
        raise TrainerError(
            "AcceleratorUnavailable",
            f"accelerator cuda: PyTorch {torch.__version__} finds no CUDA device ({words}); "
            "look at the node's driver, its device plugin and the pod's resources",
        ) from error
    card = Card(torch.cuda.get_device_name(), torch.cuda.get_device_capability(), torch.cuda.device_count())
    if card.count > 1:
        logger.warning(
            "this pod has %d GPUs and a run uses 1: the other %d stay idle; give the runtime's pods one",
            card.count,
            card.count - 1,
        )
    return card


def card_memory() -> Optional[CardMemory]:
    """Return how the card's memory is shared out, None where the card does not answer: one that failed may not."""
    try:
        free_bytes, total_bytes = torch.cuda.mem_get_info()
        return CardMemory(torch.cuda.get_device_name(), total_bytes, free_bytes, torch.cuda.memory_reserved())
    except (RuntimeError, AssertionError) as error:
        logger.warning("the card does not say how much memory it has: %s", error)
        return None


def seed_generators(number: int) -> None:
    """Start every random generator from one number."""
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002 -- transformers masks features with the global generator


def _make_deterministic() -> None:
    # Gradients of looked-up rows, among others, are added up in any order by several threads unless told otherwise, on
    # CPUs too, and a resumed run would differ.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Part of that mode, to find reads of memory that was never written: there are none here, and it takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # made at run time


def _software() -> str:
    return f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
