"""Load PyTorch and transformers in less time."""

import gc
import importlib
import sys
from types import ModuleType


def load_module(name: str) -> ModuleType:
    """Import a module of many libraries, and return it. No garbage is looked for meanwhile, nor among what they make.

    They make 400,000 objects, and all of these stay. Going through them again and again takes a quarter of the time
    until a trainer begins.
    """
    if name in sys.modules:
        return sys.modules[name]
    was_enabled = gc.isenabled()
    # What is garbage now would stay, too.
    gc.collect()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
