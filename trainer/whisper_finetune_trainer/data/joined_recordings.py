"""Join clips to recordings of minutes, to hear whether a model of short clips still hears those.

Clips of one recording come in their order, with the pauses that are between them. Where recordings are not known or too
short, clips of one speaker are joined, else any clips. Between those, pauses are drawn. The plan is pure: it is a
function of the clips alone.
"""

import random
from dataclasses import dataclass
from itertools import accumulate
from typing import Dict, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, RecordingSegment, WholeFile
from whisper_finetune_trainer.data.audio.decoding import Samples
from whisper_finetune_trainer.data.clips import Clip

#: Less than this is too little to say anything of long recordings.
LEAST_SECONDS = 120.0
#: What is joined at most, because it is heard twice.
MOST_SECONDS = 1_200.0
#: Each clip is heard by itself in a window of half a minute. Recordings of half as many windows are joined at most.
_MOST_SECONDS_A_CLIP = 15.0
#: But so much of a small split may always be joined.
_ALWAYS_SECONDS = 300.0
#: A shorter recording would be little longer than a window.
_SHORTEST_RECORDING = 60.0
#: Clips are divided among as many recordings as last so long at least. They are heard side by side, and so many short
#: ones cost less than a few long ones.
_DIVIDED_ABOVE = 75.0
#: A longer pause in a recording is cut to this: something else may be said there, which no held-out text has.
_LONGEST_PAUSE = 3.0
_DRAWN_PAUSES = (0.3, 1.5)
#: Like the held-out clips, pauses and recordings are drawn with this seed whatever training.seed is.
_SEED = 0


class PlacedClip(NamedTuple):
    """A clip, and where it begins in its recording."""

    clip: Clip
    start_seconds: float

    @property
    def end_seconds(self) -> float:
        """Where it ends in its recording."""
        return self.start_seconds + self.clip.seconds


@dataclass(frozen=True)
class JoinedRecording:
    """Clips one after the other, with pauses between them. The first one begins at 0."""

    placed: Tuple[PlacedClip, ...]

    @property
    def seconds(self) -> float:
        """How long the recording is."""
        return self.placed[-1].end_seconds


class _Link(NamedTuple):
    """A clip, and the pause before it in seconds."""

    clip: Clip
    pause: float


def join_clips(clips: Sequence[Clip]) -> Tuple[JoinedRecording, ...]:
    """Return recordings of one to two and a half minutes, made of the clips in their order.

    There are none where less than two minutes can be joined. A clip is in one recording at most. Of many clips a part
    is joined, which is drawn.
    """
    pauses = random.Random(_SEED)  # noqa: S311 -- nothing secret
    found: List[JoinedRecording] = []
    left = list(clips)
    for chains in (_by_recording, _by_speaker, _all_in_one):
        for chain in chains(left, pauses):
            if _seconds_of(chain) >= _SHORTEST_RECORDING:
                found.extend(_divided(chain))
        joined = {id(part.clip) for recording in found for part in recording.placed}
        left = [clip for clip in left if id(clip) not in joined]
    drawn = _drawn(found, min(MOST_SECONDS, max(_ALWAYS_SECONDS, _MOST_SECONDS_A_CLIP * len(clips))))
    return drawn if sum(recording.seconds for recording in drawn) >= LEAST_SECONDS else ()


def _by_recording(clips: Sequence[Clip], _pauses: random.Random) -> List[List[_Link]]:
    segments: Dict[Union[WholeFile, ByteRange], List[Tuple[float, Clip]]] = {}
    for clip in clips:
        if isinstance(clip.audio, RecordingSegment):
            start = clip.audio.start_frame / clip.audio.sample_rate
            segments.setdefault(clip.audio.recording, []).append((start, clip))
    return [_with_own_pauses(sorted(parts, key=lambda part: part[0])) for parts in segments.values()]


def _with_own_pauses(parts: Sequence[Tuple[float, Clip]]) -> List[_Link]:
    ends = [0.0, *(start + clip.seconds for start, clip in parts)]
    return [
        _Link(clip, min(max(0.0, start - before), _LONGEST_PAUSE) if index else 0.0)
        for index, ((start, clip), before) in enumerate(zip(parts, ends))
    ]


def _by_speaker(clips: Sequence[Clip], pauses: random.Random) -> List[List[_Link]]:
    speakers: Dict[str, List[Clip]] = {}
    for clip in clips:
        if clip.speaker:
            speakers.setdefault(clip.speaker, []).append(clip)
    return [_with_drawn_pauses(parts, pauses) for parts in speakers.values()]


def _all_in_one(clips: Sequence[Clip], pauses: random.Random) -> List[List[_Link]]:
    return [_with_drawn_pauses(clips, pauses)] if clips else []


def _with_drawn_pauses(clips: Sequence[Clip], pauses: random.Random) -> List[_Link]:
    return [_Link(clip, round(pauses.uniform(*_DRAWN_PAUSES), 2)) for clip in clips]


def _seconds_of(chain: Sequence[_Link]) -> float:
    return sum(link.clip.seconds + link.pause for link in chain)


def _divided(chain: Sequence[_Link]) -> List[JoinedRecording]:
    """Return recordings of about the same length, each of one to two and a half minutes."""
    ends = list(accumulate(link.clip.seconds + link.pause for link in chain))
    number = max(1, int(ends[-1] / _DIVIDED_ABOVE))
    parts: Dict[int, List[_Link]] = {}
    for link, end in zip(chain, ends):
        # By the middle of the clip, so that rounding cannot leave a last clip alone.
        middle = end - link.clip.seconds / 2
        parts.setdefault(min(number - 1, int(middle * number / ends[-1])), []).append(link)
    return [_placed(part) for part in parts.values()]


def _placed(links: Sequence[_Link]) -> JoinedRecording:
    placed: List[PlacedClip] = []
    for link in links:
        start = placed[-1].end_seconds + link.pause if placed else 0.0
        placed.append(PlacedClip(link.clip, start))
    return JoinedRecording(tuple(placed))


def _drawn(found: Sequence[JoinedRecording], most_seconds: float) -> Tuple[JoinedRecording, ...]:
    """Return recordings of at most so many seconds together. Where not all fit, they are drawn."""
    order = list(found)
    if sum(recording.seconds for recording in order) > most_seconds:
        random.Random(_SEED).shuffle(order)  # noqa: S311 -- nothing secret
    kept: List[JoinedRecording] = []
    for recording in order:
        if sum(other.seconds for other in kept) + recording.seconds <= most_seconds:
            kept.append(recording)
    return tuple(kept)


def read_joined_samples(recording: JoinedRecording) -> Samples:
    """Return the samples (n,) of a recording at 16 kHz. It is silent in its pauses.

    Raises DatasetInvalid for a clip that cannot be decoded. Network faults pass through.
    """
    samples = np.zeros(_sample(recording.seconds), dtype=np.float32)
    for part in recording.placed:
        room = samples[_sample(part.start_seconds) : _sample(part.end_seconds)]
        heard = decoding.read_samples(part.clip.audio)[: len(room)]
        room[: len(heard)] = heard
    return samples


def _sample(seconds: float) -> int:
    return round(seconds * decoding.SAMPLE_RATE)
