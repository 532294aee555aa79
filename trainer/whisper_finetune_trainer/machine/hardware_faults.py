"""What an error of an accelerator means for the run: too little memory, or hardware that cannot be used. Pure."""

import re
import sys
from dataclasses import dataclass
from typing import List, Optional

from whisper_finetune_api.run import Accelerator, Stage
from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_trainer.messages.errors import TrainerError

#: In the words of PyTorch, CUDA and PopTorch's compiler, where an error has no type of its own. PyTorch's allocator for
#: CPUs raises a RuntimeError.
_OUT_OF_MEMORY = {
    "cpu": re.compile(r"DefaultCPUAllocator: (can't allocate|not enough) memory"),
    "cuda": re.compile(r"CUDA out of memory|CUDA error: out of memory|STATUS_ALLOC_FAILED"),
    "ipu": re.compile(r"memory_allocation_err|Out of memory: Cannot fit"),
}
_ASKED_FOR = re.compile(r"(?:Tried|you tried) to allocate ([0-9.]+ (?:[KMGT]iB|bytes))")
_GIBIBYTE = 1 << 30
#: Other processes count from this much memory on. A CUDA context alone takes some hundred megabytes.
_LEAST_FOREIGN_BYTES = 2 * _GIBIBYTE
_LARGER = {"cpu": "a runtime with more memory", "cuda": "a runtime with a larger card"}
_DOING = {"Preparing": "loading the model", "Evaluating": "evaluating", "Training": "training"}
#: What CUDA and PopTorch say of hardware that cannot be used as it is, and what helps. Errors of the program itself,
#: such as an illegal address, are not in this list.
_UNUSABLE = (
    ("no kernel image is available", "the image's PyTorch is not built for this card: take another card or image"),
    ("device kernel image is invalid", "the image's PyTorch is not built for this card: take another card or image"),
    ("driver version is insufficient", "the node's NVIDIA driver is too old for the image's CUDA: update the driver"),
    ("driver on your system is too old", "the node's NVIDIA driver is too old for the image's CUDA: update the driver"),
    ("busy or unavailable", "another process uses the card exclusively: find it with `nvidia-smi` on the node"),
    ("uncorrectable ECC error", "the card's memory is defective: drain the node, and check it with `nvidia-smi -q`"),
    ("uncorrectable NVLink error", "the card's link is defective: drain the node, and check it with `nvidia-smi`"),
    ("GPU is lost", "the card fell off its bus: drain the node, and look for Xid errors in its kernel log"),
    ("system not yet initialized", "the node's NVIDIA Fabric Manager is not running"),
    ("no CUDA-capable device", "check the node's driver, its device plugin and the pod's resources"),
    ("No CUDA GPUs are available", "check the node's driver, its device plugin and the pod's resources"),
    ("CUDA error: initialization error", "check the node's driver, and look for Xid errors in its kernel log"),
    ("CUDA error: unknown error", "check the node's driver, and look for Xid errors in its kernel log"),
    ("unspecified launch failure", "look for Xid errors in the node's kernel log"),
    ("hardware stack error", "look for Xid errors in the node's kernel log"),
    ("Recovery action required", "check the partition with `gc-info` and `gc-monitor`, and reset it"),
)


@dataclass(frozen=True)
class CardMemory:
    """The memory of a card: all of it, what is free, and what this process uses."""

    name: str
    total_bytes: int
    free_bytes: int
    own_bytes: int

    @property
    def foreign_bytes(self) -> int:
        """The memory that other processes use."""
        return max(0, self.total_bytes - self.free_bytes - self.own_bytes)

    @property
    def is_shared(self) -> bool:
        """Whether other processes use so much that this run may fit without them."""
        return self.foreign_bytes >= max(_LEAST_FOREIGN_BYTES, self.total_bytes // 10)


def is_out_of_memory(error: BaseException, accelerator: Accelerator) -> bool:
    """Return whether an error says that an accelerator's memory was too small. That of a CPU is the machine's."""
    if accelerator == "cuda" and _is_of_torch(error):
        return True
    return bool(_OUT_OF_MEMORY[accelerator].search(_line(error)))


def _is_of_torch(error: BaseException) -> bool:
    """Return whether an error has the type that PyTorch has for this. Where PyTorch is not loaded, none has."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)


def explain(
    error: BaseException, stage: Stage, accelerator: Accelerator, training: Training, card: Optional[CardMemory]
) -> Optional[TrainerError]:
    """Return the TrainerError that an accelerator's error means, or None where the error is not the accelerator's.

    OutOfMemory is final, because the same sizes would fail in the same way. Where other processes use much of the card,
    the reason is AcceleratorUnavailable, and the run is tried again. `card` is None where its memory is not known.
    """
    if isinstance(error, TrainerError):
        return None
    text = _line(error)
    if is_out_of_memory(error, accelerator):
        return _out_of_memory(text, stage, accelerator, training, card)
    if accelerator == "cpu":
        return None
    advice = next((advice for words, advice in _UNUSABLE if words in text), None)
    if advice is None:
        return None
    begun = f"accelerator {accelerator}, while {_DOING[stage]}: {text[:400]}"
    return TrainerError("AcceleratorUnavailable", f"{begun}; {advice}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _out_of_memory(
    text: str, stage: Stage, accelerator: Accelerator, training: Training, card: Optional[CardMemory]
) -> TrainerError:
    begun = f"accelerator {accelerator}: out of memory while {_DOING[stage]}{_numbers(text, card)}"
    if card and card.is_shared:
        shared = f"{_gibibytes(card.foreign_bytes)} of it are used by other processes: give the run a card of its own"
        return TrainerError("AcceleratorUnavailable", f"{begun}; {shared}")
    return TrainerError("OutOfMemory", f"{begun}; {', or '.join(_advice(stage, accelerator, training))}")


def _numbers(text: str, card: Optional[CardMemory]) -> str:
    asked = _ASKED_FOR.search(text)
    more = f"; {asked[1]} more were asked for" if asked else ""
    if card is None:
        return more
    return f"{more}; {card.name} has {_gibibytes(card.total_bytes)}, {_gibibytes(card.free_bytes)} of them free"


def _gibibytes(size: int) -> str:
    return f"{size / _GIBIBYTE:.1f} GiB"


def _advice(stage: Stage, accelerator: Accelerator, training: Training) -> List[str]:
    """Return changes that need less memory, beginning with the one that costs least.

    Where the user does not say otherwise, the training has come down to one clip at a time by itself, and computes its
    layers again for their gradients.
    """
    if accelerator == "ipu":
        return [
            "lower training.maxLabelTokens",
            "spread the layers over more IPUs by ipuConfig",
            "take a smaller model",
        ]
    at_once = training.micro_batch_size or 1
    found = ["take a smaller model", _LARGER[accelerator]]
    if stage != "Training":
        return found
    if training.trainable == "All":
        found.insert(0, "set training.trainable: Decoder")
    if training.precision == "Float":
        found.insert(0, "set training.precision: Half")
    if training.gradient_checkpointing == "Off":
        found.insert(0, "leave training.gradientCheckpointing out")
    if at_once > 1:
        found.insert(0, f"lower training.microBatchSize below {at_once}, or leave it out")
    return found
