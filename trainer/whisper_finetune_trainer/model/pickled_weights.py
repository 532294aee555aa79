"""Old models are pickled: what is read of them is weights, never code, whatever version of transformers reads."""

import contextlib
import os
from typing import Iterator

#: PyTorch reads it at each torch.load; transformers 4.29 itself does not ask for weights only.
_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


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
