"""Sample the first clips of a stream before the training costs money. The held-out clips are among them."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import List, NamedTuple, Set, Tuple

from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.layouts.layout import StreamLimits
from whisper_finetune_trainer.data.streams import streamed_clips
from whisper_finetune_trainer.data.streams.shard_stream import Position, ShardStream
from whisper_finetune_trainer.data.streams.streamed_clips import ClipChecks, Found, HeldOutClip

#: The key of the order in which the sample reads the shards. No epoch has this order, and every seed has the same.
_KEY = "look"
#: How many clips stay in memory with their sounds, so that these can be inspected.
_LISTENED_TO = 500
_LOG_EVERY = 2_000
logger = logging.getLogger(__name__)


@dataclass
class StreamSample:
    """The sampled clips: to train on and held out without their sounds, those left out, and some with their sounds."""

    #: How many rows were sampled. Held-out clips beyond those wanted are only counted here.
    rows: int = 0
    train: List[Clip] = field(default_factory=list)
    held_out: List[Clip] = field(default_factory=list)
    validation: List[Clip] = field(default_factory=list)
    drops: List[Drop] = field(default_factory=list)
    inspected: List[Clip] = field(default_factory=list)
    #: The digests of the held-out sounds, those of validation clips too. `train_sounds` has the digest of every sampled
    #: train clip.
    held_out_sounds: Set[bytes] = field(default_factory=set)
    train_sounds: List[Tuple[bytes, Clip]] = field(default_factory=list)
    #: How often each rule changed a text.
    rewritten: "Counter[str]" = field(default_factory=Counter)
    #: How many rows name each language.
    languages: "Counter[str]" = field(default_factory=Counter)

    def copies(self) -> List[Clip]:
        """Return the sampled train clips that have the sound of a held-out one."""
        return [clip for digest, clip in self.train_sounds if digest in self.held_out_sounds]


class WantedClips(NamedTuple):
    """How many clips of the stream are held out, and how many are kept to choose the best model by."""

    held_out: int
    validation: int


def take_sample(stream: ShardStream, checks: ClipChecks, limits: StreamLimits, wanted: WantedClips) -> StreamSample:
    """Read the shards until the wanted clips are held out and enough are sampled, or until `most_sampled` are sampled.

    The order of the shards is the same in every attempt.
    """
    found = StreamSample()
    for streamed in streamed_clips.check_clips(stream, _KEY, Position(), checks.of_sampled_row):
        found.rows += 1
        _keep(found, streamed.checked.found, checks, wanted)
        found.rewritten.update(streamed.checked.rewritten_by)
        found.languages[streamed.checked.language] += 1
        if found.rows % _LOG_EVERY == 0:
            logger.info("%d clips sampled, %d held out", found.rows, len(found.held_out))
        has_all = len(found.held_out) >= wanted.held_out and len(found.validation) >= wanted.validation
        is_enough = has_all and found.rows >= limits.least_sampled
        if is_enough or found.rows >= limits.most_sampled:
            break
    return found


def _keep(sample: StreamSample, found: Found, checks: ClipChecks, wanted: WantedClips) -> None:
    if isinstance(found, Drop):
        sample.drops.append(found)
        return
    clip = found.clip if isinstance(found, HeldOutClip) else found
    digest = streamed_clips.sound_digest(clip)
    if len(sample.inspected) < _LISTENED_TO:
        sample.inspected.append(clip)
    if isinstance(found, Clip):
        sample.train.append(streamed_clips.without_sound(clip))
        sample.train_sounds.append((digest, sample.train[-1]))
        return
    of_part, most = (
        (sample.validation, wanted.validation) if found.is_validation else (sample.held_out, wanted.held_out)
    )
    if len(of_part) < most:
        of_part.append(checks.read_again(clip))
        sample.held_out_sounds.add(digest)
