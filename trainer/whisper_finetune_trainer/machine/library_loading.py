"""Load PyTorch and transformers in less time."""

import contextlib
import gc
import sys
from typing import Iterator


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Look for no garbage while libraries are loaded in the block, and never among what they made.

    They make 400,000 objects, and all of these stay. Going through them again and again takes a quarter of the time
    until a trainer begins.
    """
    was_enabled, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:
            gc.freeze()
        if was_enabled:
            gc.enable()
