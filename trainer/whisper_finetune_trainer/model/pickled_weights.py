"""Old models are pickled: what is read of them is weights, never code, whatever version of transformers reads."""

import contextlib
import os
import re
from typing import Iterator

import torch

from whisper_finetune_trainer.messages.errors import TrainerError

#: PyTorch reads it at each torch.load; transformers 4.29 itself does not ask for weights only.
_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
#: Before it, a file could run code, or write beyond its memory, although weights alone were asked for.
_SAFE_SINCE = (2, 10)


def require_safe(address: str) -> None:
    """Raise ConfigInvalid where this version of PyTorch cannot read pickled weights without running what they hold."""
    found = re.findall(r"\d+", str(torch.__version__))
    if tuple(map(int, found[:2])) >= _SAFE_SINCE:
        return
    needed = ".".join(map(str, _SAFE_SINCE))
    raise TrainerError(
        "ConfigInvalid",
        f"model: the weights of {address} are pickled, and a pickle can run code here: PyTorch is {torch.__version__}, "
        f"and reads weights alone from {needed} on. Write them anew where it is newer, such as in the trainer's image "
        'for CPUs: python -c "from transformers import WhisperForConditionalGeneration as W; '
        "W.from_pretrained('MODEL').save_pretrained('FOLDER')\", and copy the tokenizer's files to the same FOLDER",
    )


@contextlib.contextmanager
def weights_only() -> Iterator[None]:
    """Have torch.load refuse everything but weights, for now: the library's own resume files hold more."""
    before = os.environ.get(_WEIGHTS_ONLY)
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WEIGHTS_ONLY]
        else:
            os.environ[_WEIGHTS_ONLY] = before
