"""Which texts are loops: they never end, or they repeat their end. Pure.

Whisper may fall into a loop and go on until a limit stops it: hundreds of words for a clip of one word. A machine that
rounds differently may not loop on the same clip. An error rate must not depend on that. So nothing of a loop counts as
heard: the words of the reference are missed, and no word is inserted.
"""

import math
from typing import Sequence, Tuple

from whisper_finetune_trainer.data.text.normalizers import normalize_gently
from whisper_finetune_trainer.model.generation import Transcript

#: How often a loop repeats its end at least, and how many letters the repetitions have together at least.
_REPEATS = 5
_REPEATED_LETTERS = 20


def find_loops(references: Sequence[str], heard: Sequence[Transcript]) -> Tuple[int, ...]:
    """Return the indexes of the clips whose text is a loop.

    A loop was cut, or it repeats its end and the reference does not.
    """
    return tuple(
        index
        for index, (reference, found) in enumerate(zip(references, heard))
        if found.is_cut or (_repeats_its_end(found.text) and not _repeats_its_end(reference))
    )


def _repeats_its_end(text: str) -> bool:
    spoken = normalize_gently(text)
    lengths = range(math.ceil(_REPEATED_LETTERS / _REPEATS), len(spoken) // _REPEATS + 1)
    return any(spoken.endswith(spoken[-length:] * _REPEATS) for length in lengths)
