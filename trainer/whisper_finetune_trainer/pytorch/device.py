"""The hardware that a run trains on, and the precision in which it computes."""

import logging
import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

import numpy as np
import torch
import transformers
from typing_extensions import Literal

from whisper_finetune_api.run import Accelerator
from whisper_finetune_api.v1alpha1.status import RanOn
from whisper_finetune_trainer.machine import hardware_faults
from whisper_finetune_trainer.machine.hardware_faults import CardMemory
from whisper_finetune_trainer.messages.errors import TrainerError

Precision = Literal["Half", "Float"]
_CPU_INFO = Path("/proc/cpuinfo")
#: Linux's names of instructions on bfloat16, for x86 and for Arm.
_BFLOAT16_FLAGS = frozenset(["avx512_bf16", "amx_bf16", "bf16"])
#: The first compute capability with bfloat16 and TensorFloat32.
_AMPERE = (8, 0)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """The device of the tensors, and the precision of the heavy operations."""

    torch_device: torch.device
    precision: Precision
    ran_on: RanOn

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the heavy operations compute: bfloat16 for Half, else float32."""
        return torch.bfloat16 if self.precision == "Half" else torch.float32

    def is_out_of_memory(self, error: RuntimeError) -> bool:
        """Return whether an error says that this device's memory was too small."""
        return hardware_faults.is_out_of_memory(error, "cuda" if self.torch_device.type == "cuda" else "cpu")

    def peak_bytes(self) -> int:
        """Return the most memory so far: what PyTorch has given out on a card, or what is resident of the process."""
        if self.torch_device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def release_memory(self) -> None:
        """Give back what PyTorch holds for tensors to come. After an error its pieces may be too small for others."""
        if self.torch_device.type == "cuda":
            torch.cuda.empty_cache()

    def autocast(self) -> torch.autocast:
        """Return a context in which the heavy operations compute in `dtype`. Weights stay in float32."""
        return torch.autocast(self.torch_device.type, torch.bfloat16, enabled=self.precision == "Half")


@dataclass(frozen=True)
class Card:
    """A CUDA device: its name, its compute capability, and how many devices the pod has."""

    name: str
    capability: Tuple[int, int]
    count: int


def prepare_device(accelerator: Accelerator, wanted: Optional[Precision], cpus: int) -> Device:
    """Return the device. PyTorch gets at most `cpus` threads. Raises AcceleratorUnavailable or ConfigInvalid."""
    torch.set_num_threads(min(cpus, torch.get_num_threads()))
    _make_deterministic()
    if accelerator == "cpu":
        precision = cpu_precision(_CPU_INFO.read_text("utf-8"), wanted)
        hardware = f"CPU, {torch.get_num_threads()} threads"
    elif accelerator == "cuda":
        card = _first_card()
        precision = card_precision(card, wanted)
        hardware = card_in_words(card, precision)
        # Where the card has it, TensorFloat32 is used for Float. Products are up to eight times as fast.
        torch.set_float32_matmul_precision("high")
    else:
        raise TrainerError("ConfigInvalid", f"accelerator {accelerator} needs the trainer image made for it")
    ran_on = RanOn(hardware=hardware, software=_software(), precision=precision)
    return Device(torch.device(accelerator), precision, ran_on)


def cpu_precision(cpu_info: str, wanted: Optional[Precision]) -> Precision:
    """Return the precision of a CPU, by the text of /proc/cpuinfo.

    Raises ConfigInvalid if Half is wanted and the CPU has no bfloat16.
    """
    lines = (line.partition(":") for line in cpu_info.splitlines())
    flags = next((words for name, _, words in lines if name.strip() in ("flags", "Features")), "")
    has_bfloat16 = not _BFLOAT16_FLAGS.isdisjoint(flags.split())
    return _precision(wanted, "this CPU", "a node whose CPU has it", has_bfloat16=has_bfloat16)


def card_precision(card: Card, wanted: Optional[Precision]) -> Precision:
    """Return the precision of a card. Raises ConfigInvalid if Half is wanted and the card has no bfloat16."""
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
    """Return the name of the hardware for the status."""
    text = f"{card.name} (1 of {card.count})" if card.count > 1 else card.name
    return f"{text}, TF32" if precision == "Float" and card.capability >= _AMPERE else text


def _first_card() -> Card:
    """Return the card to use. Raises AcceleratorUnavailable without one, and ConfigInvalid in an image for CPUs."""
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
            "check the node's driver, its device plugin and the pod's resources",
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
    """Return how the card's memory is used, or None if the card does not answer, as a failed card may not."""
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
    # Without this mode several threads add up gradients of embeddings, among others, in any order, also on CPUs. Then a
    # resumed run would differ.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # That mode also fills memory, to find reads of memory that was never written. There are none here, and it is slow.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # made at run time


def _software() -> str:
    return f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
