"""Clips of the train split whose sound is also held out: a model that has heard them is measured too well."""

from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Set

from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.clips import Clip

#: Pairs of clips with one length and one text that are compared without being asked to.
_LOOKED_AT = 2_000


class Duplicates(NamedTuple):
    """Train clips with the sound of a held-out one; `is_complete` unless only a part was compared."""

    clips: List[Clip]
    is_complete: bool


def likely(train: Sequence[Clip], evaluation: Sequence[Clip]) -> Duplicates:
    """Return duplicates among the clips of one length and text: few sounds are read."""
    suspects = _suspects(train, evaluation, lambda clip: (clip.seconds, clip.text))
    return Duplicates(_same_sound(suspects[:_LOOKED_AT], evaluation), is_complete=len(suspects) <= _LOOKED_AT)


def every(train: Sequence[Clip], evaluation: Sequence[Clip]) -> Duplicates:
    """Return all duplicates; each sound that has the length of a held-out one is read."""
    suspects = _suspects(train, evaluation, lambda clip: clip.seconds)
    return Duplicates(_same_sound(suspects, evaluation), is_complete=True)


def _suspects(train: Sequence[Clip], evaluation: Sequence[Clip], key: Callable[[Clip], Any]) -> List[Clip]:
    held_out = {key(clip) for clip in evaluation}
    return [clip for clip in train if key(clip) in held_out]


def _same_sound(suspects: Sequence[Clip], evaluation: Sequence[Clip]) -> List[Clip]:
    lengths = {clip.seconds for clip in suspects}
    held_out: Dict[float, Set[bytes]] = {}
    for clip in evaluation:
        if clip.seconds in lengths:
            held_out.setdefault(clip.seconds, set()).add(decoding.digest(clip.audio))
    return [clip for clip in suspects if decoding.digest(clip.audio) in held_out[clip.seconds]]
