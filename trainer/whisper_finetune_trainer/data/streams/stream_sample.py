"""The first clips of a stream, sampled before the money is spent: the held-out ones among them, and what is odd."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import List, Optional, Set, Tuple

from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.layouts.layout import StreamLimits
from whisper_finetune_trainer.data.streams import streamed_clips
from whisper_finetune_trainer.data.streams.shard_stream import Position, ShardStream
from whisper_finetune_trainer.data.streams.streamed_clips import ClipChecks, Found, HeldOutClip

#: The order of the shards in the sample. It is that of no epoch, and the same for every seed.
_KEY = "look"
#: Clips that stay in memory with their sounds, to be listened to.
_LISTENED_TO = 500
_LOG_EVERY = 2_000
logger = logging.getLogger(__name__)


@dataclass
class StreamSample:
    """Train and held-out clips without their sounds, those left out, and some with their sounds."""

    #: Rows that were sampled. Those that are held out and not wanted any more are nowhere else.
    rows: int = 0
    train: List[Clip] = field(default_factory=list)
    held_out: List[Clip] = field(default_factory=list)
    drops: List[Drop] = field(default_factory=list)
    inspected: List[Clip] = field(default_factory=list)
    #: Digests of the sounds held out, and the train clips that have one of them.
    held_out_sounds: Set[bytes] = field(default_factory=set)
    train_sounds: List[Tuple[bytes, Clip]] = field(default_factory=list)
    #: How often each rule changed a text.
    rewritten: "Counter[str]" = field(default_factory=Counter)
    #: How many rows name each language.
    languages: "Counter[str]" = field(default_factory=Counter)

    def copies(self) -> List[Clip]:
        """Return the train clips with the sound of a held-out one."""
        return [clip for digest, clip in self.train_sounds if digest in self.held_out_sounds]


def take_sample(
    stream: ShardStream, checks: ClipChecks, limits: StreamLimits, max_eval_clips: Optional[int]
) -> StreamSample:
    """Read the shards, in an order that is the same in every attempt, until enough clips are held out or sampled."""
    wanted = 0
    if checks.held_out_fraction:
        wanted = min(max_eval_clips or limits.held_out_clips, limits.most_sampled)
    found = StreamSample()
    for streamed in streamed_clips.check_clips(stream, _KEY, Position(), checks.of_sampled_row):
        found.rows += 1
        _keep(found, streamed.checked.found, checks, wanted)
        found.rewritten.update(streamed.checked.rewritten_by)
        found.languages[streamed.checked.language] += 1
        if found.rows % _LOG_EVERY == 0:
            logger.info("%d clips looked at, %d held out", found.rows, len(found.held_out))
        is_enough = len(found.held_out) >= wanted and found.rows >= limits.least_sampled
        if is_enough or found.rows >= limits.most_sampled:
            break
    return found


def _keep(sample: StreamSample, found: Found, checks: ClipChecks, wanted: int) -> None:
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
    elif len(sample.held_out) < wanted:
        sample.held_out.append(checks.read_again(clip))
        sample.held_out_sounds.add(digest)
