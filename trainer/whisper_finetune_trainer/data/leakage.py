"""Train clips that have heard a held-out one: a model that is trained on them is measured too well."""

from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Set, Tuple

from whisper_finetune_trainer.data import held_out
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.messages.quoting import quoted

#: Pairs of clips with one length and one text that are compared without being asked to.
_COMPARED_UNASKED = 2_000


class _Duplicates(NamedTuple):
    """Train clips with the sound of a held-out one. `is_complete` unless only a part was compared."""

    clips: List[Clip]
    is_complete: bool


def find_leaks(
    train: Sequence[Clip], evaluation: Sequence[Clip], *, leave_out: bool
) -> Tuple[List[Drop], Tuple[str, ...]]:
    """Return the train clips to leave out because a held-out one is heard in them, or warnings where they stay.

    To leave out all, each sound is read that has the length of a held-out one. To warn, only those that have its text
    too.
    """
    copies = _all_duplicates(train, evaluation) if leave_out else _likely_duplicates(train, evaluation)
    names = {clip.identifier for clip in copies.clips}
    others = [clip for clip in train if clip.identifier not in names]
    overlapping = held_out.find_overlapping(others, evaluation)
    if leave_out:
        return [*map(copy_dropped, copies.clips), *map(overlap_dropped, overlapping)], ()
    return [], (
        *_warnings(copies.clips, "have the sound of a held-out one", is_complete=copies.is_complete),
        *_warnings(overlapping, "overlap a held-out segment of their recording", is_complete=True),
    )


def copy_dropped(clip: Clip) -> Drop:
    """Return what is said of a train clip that is left out because it has the sound of a held-out one."""
    return Drop("audio also held out", quoted(clip.identifier), is_expected=True, identifier=clip.identifier)


def overlap_dropped(clip: Clip) -> Drop:
    """Return what is said of a train clip that is left out because it overlaps a held-out one."""
    return Drop("overlaps a held-out segment", quoted(clip.identifier), is_expected=True, identifier=clip.identifier)


def _warnings(found: Sequence[Clip], what: str, *, is_complete: bool) -> Tuple[str, ...]:
    if not found:
        return ()
    warning = (
        f"{'' if is_complete else 'at least '}{len(found)} train clips {what}, such as {quoted(found[0].identifier)}: "
        "the result looks better than it is; dataset.removeDuplicates leaves them out"
    )
    return (warning,)


def _likely_duplicates(train: Sequence[Clip], evaluation: Sequence[Clip]) -> _Duplicates:
    suspects = _suspects(train, evaluation, lambda clip: (clip.seconds, clip.text))
    compared = suspects[:_COMPARED_UNASKED]
    return _Duplicates(_same_sound(compared, evaluation), is_complete=len(suspects) <= _COMPARED_UNASKED)


def _all_duplicates(train: Sequence[Clip], evaluation: Sequence[Clip]) -> _Duplicates:
    suspects = _suspects(train, evaluation, lambda clip: clip.seconds)
    return _Duplicates(_same_sound(suspects, evaluation), is_complete=True)


def _suspects(train: Sequence[Clip], evaluation: Sequence[Clip], key: Callable[[Clip], Any]) -> List[Clip]:
    held = {key(clip) for clip in evaluation}
    return [clip for clip in train if key(clip) in held]


def _same_sound(suspects: Sequence[Clip], evaluation: Sequence[Clip]) -> List[Clip]:
    lengths = {clip.seconds for clip in suspects}
    digests: Dict[float, Set[bytes]] = {}
    for clip in evaluation:
        if clip.seconds in lengths:
            digests.setdefault(clip.seconds, set()).add(decoding.digest_audio(clip.audio))
    return [clip for clip in suspects if decoding.digest_audio(clip.audio) in digests[clip.seconds]]
