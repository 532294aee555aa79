"""The sounds of some clips, inspected before the money is spent: silence, clipping, sampling rates, broken files."""

import logging
from collections import Counter
from itertools import islice
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_api.v1alpha1 import Dataset
from whisper_finetune_trainer.data import clips
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.decoding import Loudness
from whisper_finetune_trainer.data.audio.features import SAMPLE_RATE
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.files import reader_threads
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted

#: Clips that are decoded, evenly over the data set: all of a large one would take hours.
_SAMPLED_CLIPS = 500
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


class Inspected(NamedTuple):
    """One clip whose sound was decoded: how loud it is, or why that cannot be done."""

    clip: Clip
    loudness: Optional[Loudness]
    fault: str


class Findings(NamedTuple):
    """What is odd about the sound, in words, and the clips that cannot be decoded, by their identifiers."""

    warnings: Tuple[str, ...]
    undecodable: Dict[str, Drop]


def inspect_sounds(found: Sequence[Clip], max_dropped_fraction: str) -> Findings:
    """Return what is found in a sample of the clips. DatasetInvalid where too much of it is silent or broken."""
    sample = _inspect(_spread(found))
    undecodable = _faults(sample)
    bad = [*undecodable.values(), *_silent(sample)]
    clips.refuse_too_many(bad, len(sample), max_dropped_fraction)
    said = [f"{number} of {len(sample)} clips looked at: {reason}" for reason, number in clips.count_drops(bad).items()]
    return Findings((*said, *_oddities(sample), *_rates(sample)), undecodable)


def leave_out_undecodable(found: Sequence[Clip], total: int, dataset: Dataset) -> Tuple[List[Clip], List[Drop]]:
    """Return the held-out clips without those that cannot be decoded, and these, before `maxEvalClips` cuts them.

    Every evaluation decodes the clips, so they are tried now, until `maxEvalClips` of them can be. DatasetInvalid where
    too many cannot, of so many clips in `total`.
    """
    faults = _find_undecodable(found, dataset.max_eval_clips)
    drops = list(faults.values())
    clips.refuse_too_many(drops, total, dataset.max_dropped_fraction)
    return clips.without_clips(found, faults), drops


def _find_undecodable(found: Sequence[Clip], wanted: Optional[int]) -> Dict[str, Drop]:
    rest = iter(found)
    faults: Dict[str, Drop] = {}
    decoded = 0
    while wanted is None or decoded - len(faults) < wanted:
        missing = _DECODED_AT_ONCE if wanted is None else wanted - (decoded - len(faults))
        portion = list(islice(rest, min(missing, _DECODED_AT_ONCE)))
        if not portion:
            break
        faults.update(_faults(_inspect(portion)))
        decoded += len(portion)
        if decoded % _DECODED_AT_ONCE == 0:
            logger.info("%d of %d held-out clips decoded", decoded, len(found))
    return faults


def _spread(found: Sequence[Clip]) -> Sequence[Clip]:
    return found[:: max(1, -(-len(found) // _SAMPLED_CLIPS))]


def _inspect(found: Sequence[Clip]) -> List[Inspected]:
    with reader_threads.reader_pool(_READERS) as readers:
        return list(readers.map(_inspect_clip, found))


def _inspect_clip(clip: Clip) -> Inspected:
    try:
        return Inspected(clip, decoding.measure_loudness(clip.audio), "")
    except TrainerError as error:
        if error.reason != "DatasetInvalid":
            raise
        return Inspected(clip, None, error.message)


def _faults(sample: Sequence[Inspected]) -> Dict[str, Drop]:
    return {each.clip.identifier: Drop("cannot be decoded", each.fault) for each in sample if each.fault}


def _silent(sample: Sequence[Inspected]) -> List[Drop]:
    silent = [each.clip for each in sample if each.loudness and each.loudness.peak < _SILENT_BELOW]
    return [
        Drop("silent", f"{quoted(clip.identifier)} is silent, and its text is {quoted(clip.text)}") for clip in silent
    ]


def _oddities(sample: Sequence[Inspected]) -> List[str]:
    said = []
    for what, is_so in _ODD.items():
        odd = [each.clip.identifier for each in sample if each.loudness and is_so(each.loudness)]
        if odd:
            said.append(f"{len(odd)} of {len(sample)} clips looked at: {what}, such as {quoted(odd[0])}")
    return said


def _rates(sample: Sequence[Inspected]) -> List[str]:
    rates = Counter(each.loudness.sample_rate for each in sample if each.loudness)
    low = sum(number for rate, number in rates.items() if rate < SAMPLE_RATE)
    shown = ", ".join(f"{rate} Hz ({number})" for rate, number in rates.most_common(5))
    found = []
    if len(rates) > 1:
        found.append(f"sampling rates differ: {shown}")
    if low:
        found.append(f"{low} of {len(sample)} clips looked at are below 16,000 Hz, as over a telephone ({shown})")
    return found
