"""Which files of a model's folder are needed to train it. Pure."""

import fnmatch
from typing import List, Sequence

TEXTS = ("*.json", "merges.txt")


def weights(names: Sequence[str]) -> List[str]:
    """Return the files with weights: pickled ones only where there are no others."""
    # Only at the top: repositories hold other variants in folders.
    safe = [name for name in names if "/" not in name and name.endswith(".safetensors")]
    return safe or [name for name in names if name.startswith("pytorch_model") and name.endswith(".bin")]


def needed(names: Sequence[str]) -> List[str]:
    """Return the weights, and the texts beside them."""
    texts = [name for name in names if "/" not in name and any(fnmatch.fnmatch(name, text) for text in TEXTS)]
    return [*texts, *weights(names)]
