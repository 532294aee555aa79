"""A look at the sound of some clips before the money is spent: silence, clipping, sampling rates, broken files."""

import logging
from collections import Counter
from itertools import islice
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_trainer.data import clips
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.decoding import Loudness
from whisper_finetune_trainer.data.audio.features import SAMPLE_RATE
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.files import reader_threads
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted

#: Clips that are decoded, evenly over the data set: all of a large one would take hours.
_LOOKED_AT = 500
_READERS = 8
#: Held-out clips that are decoded before it is said how many are done.
_DECODED_AT_ONCE = 2_000
#: 60 dB below full scale: no speech is that faint.
_SILENT_BELOW = 0.001
#: More samples at full scale than this are an overdriven recording.
_CLIPPED_ABOVE = 0.001
#: Full scale is 1; samples of whole numbers that are written as floats go up to 32768.
_TOO_LOUD_ABOVE = 2.0
_ODD: Mapping[str, Callable[[Loudness], bool]] = {
    "clipped": lambda found: found.clipped > _CLIPPED_ABOVE and found.peak <= _TOO_LOUD_ABOVE,
    "far beyond full scale, as whole numbers are that were written as floats": lambda found: (
        found.peak > _TOO_LOUD_ABOVE
    ),
    "their channels cancel each other, so only the louder one is heard": lambda found: found.is_one_channel,
}
logger = logging.getLogger(__name__)


class Look(NamedTuple):
    """One clip that was looked at: how loud it is, or why it cannot be read."""

    clip: Clip
    loudness: Optional[Loudness]
    fault: str


class Findings(NamedTuple):
    """What is odd about the sound, in words, and the clips that cannot be decoded, by their identifiers."""

    warnings: Tuple[str, ...]
    undecodable: Dict[str, Drop]


def look_at_some(found: Sequence[Clip], max_dropped_fraction: str) -> Findings:
    """Return what a look at some clips finds; DatasetInvalid where too much of them is silent or broken."""
    looks = _look(_spread(found))
    undecodable = _faults(looks)
    bad = [*undecodable.values(), *_silent(looks)]
    clips.refuse_too_many(bad, len(looks), max_dropped_fraction)
    said = [f"{number} of {len(looks)} clips looked at: {reason}" for reason, number in clips.count(bad).items()]
    return Findings((*said, *_oddities(looks), *_rates(looks)), undecodable)


def undecodable(found: Sequence[Clip], wanted: Optional[int]) -> Dict[str, Drop]:
    """Return the clips that cannot be decoded, by their identifiers; as soon as `wanted` can be, no more are tried."""
    rest = iter(found)
    faults: Dict[str, Drop] = {}
    decoded = 0
    while wanted is None or decoded - len(faults) < wanted:
        missing = _DECODED_AT_ONCE if wanted is None else wanted - (decoded - len(faults))
        portion = list(islice(rest, min(missing, _DECODED_AT_ONCE)))
        if not portion:
            break
        faults.update(_faults(_look(portion)))
        decoded += len(portion)
        if decoded % _DECODED_AT_ONCE == 0:
            logger.info("%d of %d held-out clips decoded", decoded, len(found))
    return faults


def _spread(found: Sequence[Clip]) -> Sequence[Clip]:
    return found[:: max(1, -(-len(found) // _LOOKED_AT))]


def _look(found: Sequence[Clip]) -> List[Look]:
    with reader_threads.pool(_READERS) as readers:
        return list(readers.map(_look_at, found))


def _look_at(clip: Clip) -> Look:
    try:
        return Look(clip, decoding.loudness(clip.audio), "")
    except TrainerError as error:
        if error.reason != "DatasetInvalid":
            raise
        return Look(clip, None, error.message)


def _faults(looks: Sequence[Look]) -> Dict[str, Drop]:
    return {look.clip.identifier: Drop("cannot be decoded", look.fault) for look in looks if look.fault}


def _silent(looks: Sequence[Look]) -> List[Drop]:
    silent = [look.clip for look in looks if look.loudness and look.loudness.peak < _SILENT_BELOW]
    return [
        Drop("silent", f"{quoted(clip.identifier)} is silent, and its text is {quoted(clip.text)}") for clip in silent
    ]


def _oddities(looks: Sequence[Look]) -> List[str]:
    said = []
    for what, is_so in _ODD.items():
        odd = [look.clip.identifier for look in looks if look.loudness and is_so(look.loudness)]
        if odd:
            said.append(f"{len(odd)} of {len(looks)} clips looked at: {what}, such as {quoted(odd[0])}")
    return said


def _rates(looks: Sequence[Look]) -> List[str]:
    rates = Counter(look.loudness.sample_rate for look in looks if look.loudness)
    low = sum(number for rate, number in rates.items() if rate < SAMPLE_RATE)
    shown = ", ".join(f"{rate} Hz ({number})" for rate, number in rates.most_common(5))
    found = []
    if len(rates) > 1:
        found.append(f"sampling rates differ: {shown}")
    if low:
        found.append(f"{low} of {len(looks)} clips looked at are below 16,000 Hz, as over a telephone ({shown})")
    return found
