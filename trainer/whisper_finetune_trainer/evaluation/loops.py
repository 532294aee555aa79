"""Which texts are loops: they never end, or repeat their end. Pure.

Whisper may fall into a loop, which goes on for as long as it is let: hundreds of words for a clip of one, on one
machine and not on another that rounds differently. No rate may hang on that, so of a loop nothing counts as heard: the
words that were said are missed, and none is added.
"""

import math
from typing import Sequence, Tuple

from whisper_finetune_trainer.data.text.normalizers import normalize_gently
from whisper_finetune_trainer.model.generation import Transcript

#: How often a text's end repeats in a loop, and how many letters all of that is.
_REPEATS = 5
_REPEATED_LETTERS = 20


def find_loops(references: Sequence[str], heard: Sequence[Transcript]) -> Tuple[int, ...]:
    """Return the places of clips whose text is a loop: it was cut, or repeats its end where the reference does not."""
    return tuple(
        place
        for place, (reference, found) in enumerate(zip(references, heard))
        if found.is_cut or (_repeats_its_end(found.text) and not _repeats_its_end(reference))
    )


def _repeats_its_end(text: str) -> bool:
    spoken = normalize_gently(text)
    lengths = range(math.ceil(_REPEATED_LETTERS / _REPEATS), len(spoken) // _REPEATS + 1)
    return any(spoken.endswith(spoken[-length:] * _REPEATS) for length in lengths)
