"""The hardware a run trains on and the precision it computes in."""

import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import torch
import transformers
from typing_extensions import Literal

from whisper_finetune_api.run import Accelerator
from whisper_finetune_api.v1alpha1.status import RanOn
from whisper_finetune_trainer import cpu_count
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.hardware_faults import CardMemory

Precision = Literal["Half", "Float"]
_CPU_INFO = Path("/proc/cpuinfo")
#: Names that Linux gives to instructions on bfloat16: of x86, and of Arm.
_BFLOAT16_FLAGS = frozenset(["avx512_bf16", "amx_bf16", "bf16"])
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


def prepare(accelerator: Accelerator, wanted: Optional[Precision]) -> Device:
    """Return the device, with as many threads as this process has CPUs; AcceleratorUnavailable, ConfigInvalid."""
    torch.set_num_threads(min(cpu_count.available_cpus(), torch.get_num_threads()))
    _make_deterministic()
    if accelerator == "cpu":
        precision: Precision = wanted or ("Half" if cpu_has_bfloat16(_CPU_INFO.read_text("utf-8")) else "Float")
        hardware = f"CPU, {torch.get_num_threads()} threads"
    elif accelerator == "cuda":
        _require_cuda()
        precision = wanted or ("Half" if torch.cuda.is_bf16_supported(including_emulation=False) else "Float")
        hardware = torch.cuda.get_device_name()
    else:
        raise TrainerError("ConfigInvalid", f"accelerator {accelerator} needs the trainer image made for it")
    ran_on = RanOn(hardware=hardware, software=_software(), precision=precision)
    return Device(torch.device(accelerator), precision, ran_on)


def card_memory() -> Optional[CardMemory]:
    """Return how the card's memory is shared out, None where the card does not answer: one that failed may not."""
    try:
        free_bytes, total_bytes = torch.cuda.mem_get_info()
        return CardMemory(torch.cuda.get_device_name(), total_bytes, free_bytes, torch.cuda.memory_reserved())
    except (RuntimeError, AssertionError) as error:
        logger.warning("the card does not say how much memory it has: %s", error)
        return None


def cpu_has_bfloat16(cpu_info: str) -> bool:
    """Say whether the CPU computes in bfloat16 itself, from the text of /proc/cpuinfo."""
    lines = (line.partition(":") for line in cpu_info.splitlines())
    flags = next((words for name, _, words in lines if name.strip() in ("flags", "Features")), "")
    return not _BFLOAT16_FLAGS.isdisjoint(flags.split())


def _require_cuda() -> None:
    if not torch.cuda.is_available():
        raise TrainerError(
            "AcceleratorUnavailable",
            f"accelerator cuda: PyTorch {torch.__version__} finds no CUDA device; "
            "look at the node's driver, its device plugin and the pod's resources",
        )


def _make_deterministic() -> None:
    # Gradients of looked-up rows, among others, are added up in any order by several threads unless told otherwise, on
    # CPUs too, and a resumed run would differ.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Part of that mode, to find reads of memory that was never written: there are none here, and it takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # made at run time


def _software() -> str:
    return f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
