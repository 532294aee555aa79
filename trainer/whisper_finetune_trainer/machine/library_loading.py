"""Load PyTorch and transformers in less time."""

import contextlib
import gc
import sys
from typing import Iterator


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Turn garbage collection off while libraries are loaded in the context. Their objects are not searched later.

    The libraries make 400,000 objects, and all of them stay. To search them again and again takes a quarter of the time
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
