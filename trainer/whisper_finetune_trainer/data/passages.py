"""Which clips are trained on together in one window, with silence between them. Pure.

Whisper hears windows of 30 s, and its own training data were long recordings, cut into such windows. Alone in its
window, a clip of 8 s teaches the model that speech ends after 8 s, and on IPUs it costs as much as 30 s.

Which passages an epoch has is a function of its clips, the rules and the key of its order. The clips' lengths are
known from the headers of their sounds, so nothing is decoded for it.
"""

import random
from bisect import bisect_left, insort
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from typing_extensions import Literal

from whisper_finetune_trainer.data.audio.audio_sources import RecordingSegment
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.text_rules import TimedText
from whisper_finetune_trainer.messages.errors import TrainerError

#: Between clips that were not recorded together. People who read sentence after sentence pause for about so long.
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 1.0
#: Segments of a recording that overlap by more are not joined: what is said in both would be heard twice.
_TOUCHING_SECONDS = 0.05
#: A passage with less room is full. Otherwise millions of them would be searched for each clip.
_LEAST_ROOM_SECONDS = 0.5
#: How many passages are tried that have room for a clip's sound, because its text must fit too.
_TRIED = 8


@dataclass(frozen=True)
class Passage:
    """Clips that are trained on together, one after the other in one window. `pauses` has the silence before each."""

    clips: Tuple[Clip, ...]
    pauses: Tuple[float, ...]
    #: Whether its label says when each text begins and ends.
    has_timestamps: bool = False
    #: What was said before, if its label has it as prompt.
    text_before: str = ""

    @property
    def identifier(self) -> str:
        """The name of its first clip."""
        return self.clips[0].identifier

    @property
    def seconds(self) -> float:
        """How long it is."""
        return sum(self.pauses) + sum(clip.seconds for clip in self.clips)

    def starts(self) -> Tuple[float, ...]:
        """Return when each clip begins, in seconds."""
        found, end = [], 0.0
        for clip, pause in zip(self.clips, self.pauses):
            found.append(end + pause)
            end += pause + clip.seconds
        return tuple(found)

    def with_clips(self, indexes: Sequence[int]) -> "Passage":
        """Return a passage of some of its clips. They stay where they are, and the others become silence."""
        starts, end, pauses = self.starts(), 0.0, []
        for index in indexes:
            pauses.append(starts[index] - end)
            end = starts[index] + self.clips[index].seconds
        return replace(self, clips=tuple(self.clips[index] for index in indexes), pauses=tuple(pauses))

    def texts(self) -> Tuple[TimedText, ...]:
        """Return what is said, and when."""
        return tuple(timed for clip, start in zip(self.clips, self.starts()) for timed in _texts_of(clip, start))


#: What a step takes: a clip alone, or clips that are packed.
TrainItem = Union[Clip, Passage]


def _texts_of(clip: Clip, start: float) -> Iterator[TimedText]:
    end = start + clip.seconds
    for timed in clip.timed or (TimedText(0.0, clip.seconds, clip.text),):
        yield TimedText(start + timed.start_seconds, min(start + timed.end_seconds, end), timed.text)


@dataclass(frozen=True)
class PackingRules:
    """How clips are packed. The label of a passage has no more than `most_tokens` tokens besides its fixed ones."""

    packing: Literal["Recording", "Any"]
    window_seconds: int
    most_tokens: int
    #: Returns how many tokens a text has.
    tokens_of: Callable[[str], int]
    timestamp_part: float = 0.0
    prompt_part: float = 0.0

    def cost(self, clip: Clip) -> int:
        """Return how many tokens the label of a passage has for a clip, at most."""
        if not self.timestamp_part:
            return self.tokens_of(clip.text)
        timed = clip.timed or (TimedText(0.0, clip.seconds, clip.text),)
        return max(self.tokens_of(clip.text), sum(2 + self.tokens_of(part.text) for part in timed))


@dataclass(frozen=True)
class _Draft:
    """Clips that go into one passage. `before` is what was said before the first of them in its recording."""

    clips: Tuple[Clip, ...]
    pauses: Tuple[float, ...]
    seconds: float
    tokens: int
    before: str = ""

    @property
    def speaker(self) -> str:
        """Who speaks in all of it. It is empty where that is not known, and where it is more than one."""
        first = self.clips[0].speaker
        return first if all(clip.speaker == first for clip in self.clips) else ""

    @property
    def text(self) -> str:
        """What is said in it."""
        return " ".join(clip.text for clip in self.clips)

    def joined(self, other: "_Draft", pause: float) -> "_Draft":
        """Return both with a pause between them."""
        return _Draft(
            self.clips + other.clips,
            (*self.pauses, pause, *other.pauses[1:]),
            self.seconds + pause + other.seconds,
            self.tokens + other.tokens,
            self.before,
        )

    def halves(self) -> Tuple["_Draft", "_Draft"]:
        """Return it in two parts, without the pause between them."""
        middle = len(self.clips) // 2
        first = self._part(0, middle, self.before)
        return first, self._part(middle, len(self.clips), first.text)

    def _part(self, first: int, end: int, before: str) -> "_Draft":
        clips, pauses = self.clips[first:end], (0.0, *self.pauses[first + 1 : end])
        return _Draft(clips, pauses, sum(pauses) + sum(clip.seconds for clip in clips), self.tokens, before)


@dataclass(frozen=True)
class PackedEpoch:
    """How many clips an epoch has, and into how many passages they are packed."""

    clips: int
    passages: int
    with_timestamps: int
    with_text_before: int

    def in_words(self) -> str:
        """Return what packing changes, in words."""
        return (
            f"{self.clips} clips are packed into {self.passages} windows an epoch, {self.passages / self.clips:.2f} of "
            f"the passes without packing; {self.with_timestamps} windows have timestamps, {self.with_text_before} have "
            "the text before them as prompt"
        )


def count_passages(found: Sequence[Clip], rules: PackingRules, seed: int) -> PackedEpoch:
    """Return what the first epoch of a list of clips is packed into.

    Raises DatasetInvalid where neighbours in recordings are wanted and there are none.
    """
    planned = plan_passages(found, rules, f"{seed}/0")
    if rules.packing == "Recording" and len(planned) == len(found):
        segments = sum(isinstance(clip.audio, RecordingSegment) for clip in found)
        raise TrainerError(
            "DatasetInvalid",
            f"training.packing Recording joins segments that follow each other in one recording, and of {len(found)} "
            f"train clips {segments} are segments of recordings, of which no two fit into {rules.window_seconds} s "
            "together; take packing: Any, which joins clips of one speaker and others, or leave it out",
        )
    return PackedEpoch(
        len(found),
        len(planned),
        sum(passage.has_timestamps for passage in planned),
        sum(bool(passage.text_before) for passage in planned),
    )


def plan_passages(clips: Sequence[Clip], rules: PackingRules, key: str, multiple_of: int = 1) -> Tuple[Passage, ...]:
    """Return the passages of an epoch, or of a block of a stream. Each clip is in one of them.

    `key` is that of the order of the clips. Passages are divided until their number is a multiple of `multiple_of`, if
    there are enough clips for that.
    """
    generator = random.Random(f"{key}/passages")  # noqa: S311 -- nothing secret
    drafts = _of_recordings(clips, rules)
    if rules.packing == "Any":
        drafts = _of_speakers(drafts, rules, generator)
    drafts = _divided(drafts, multiple_of)
    return tuple(_labelled(drafts, rules, generator))


def _labelled(drafts: Iterable[_Draft], rules: PackingRules, generator: random.Random) -> Iterator[Passage]:
    """Yield the passages, and draw which of them have timestamps and which have what was said before."""
    said: Dict[str, str] = {}
    for draft in drafts:
        before = draft.before or (said.get(draft.clips[0].speaker, "") if rules.packing == "Any" else "")
        # Both are drawn for every passage, so that one share does not change what the other one draws.
        has_timestamps = generator.random() < rules.timestamp_part and draft.tokens <= rules.most_tokens
        has_prompt = generator.random() < rules.prompt_part
        yield Passage(draft.clips, draft.pauses, has_timestamps, before if has_prompt else "")
        said[draft.clips[-1].speaker] = draft.text


def _of_recordings(clips: Sequence[Clip], rules: PackingRules) -> List[_Draft]:
    """Return neighbours in one recording together, as far as they fit. All other clips are alone."""
    drafts: List[_Draft] = []
    for group in _recordings(clips):
        last: Optional[Clip] = None
        for clip in group:
            alone = _Draft((clip,), (0.0,), clip.seconds, rules.cost(clip), drafts[-1].text if last else "")
            pause = _pause_between(last, clip) if last else -1.0
            if last and pause >= -_TOUCHING_SECONDS and _fit_together(drafts[-1], alone, pause, rules):
                drafts[-1] = drafts[-1].joined(alone, max(pause, 0.0))
            else:
                drafts.append(alone)
            last = clip
    return drafts


def _recordings(clips: Sequence[Clip]) -> List[List[Clip]]:
    """Return the segments of each recording from its beginning to its end, and each other clip by itself."""
    groups: Dict[object, List[Clip]] = {}
    for index, clip in enumerate(clips):
        groups.setdefault(clip.audio.recording if isinstance(clip.audio, RecordingSegment) else index, []).append(clip)
    return [sorted(group, key=_start_of) for group in groups.values()]


def _start_of(clip: Clip) -> float:
    return clip.audio.start_frame / clip.audio.sample_rate if isinstance(clip.audio, RecordingSegment) else 0.0


def _pause_between(first: Clip, second: Clip) -> float:
    """Return how long nobody speaks between two segments of a recording. It is negative where they overlap."""
    return _start_of(second) - _start_of(first) - first.seconds


def _fit_together(first: _Draft, second: _Draft, pause: float, rules: PackingRules) -> bool:
    seconds = first.seconds + max(pause, 0.0) + second.seconds
    return seconds <= rules.window_seconds and first.tokens + second.tokens <= rules.most_tokens


def _of_speakers(drafts: List[_Draft], rules: PackingRules, generator: random.Random) -> List[_Draft]:
    """Return the drafts in a random order, joined within each speaker, and then what still has room with any other."""
    shuffled = list(drafts)
    generator.shuffle(shuffled)
    by_speaker: Dict[str, List[_Draft]] = {}
    for draft in shuffled:
        by_speaker.setdefault(draft.speaker, []).append(draft)
    unnamed = by_speaker.pop("", [])
    joined = [each for group in by_speaker.values() for each in _joined(group, rules, generator)]
    return _joined([*joined, *unnamed], rules, generator)


class _Room(NamedTuple):
    """How much room a draft has, by its index. They are sorted."""

    seconds: float
    draft: int


def _joined(drafts: Iterable[_Draft], rules: PackingRules, generator: random.Random) -> List[_Draft]:
    """Return the drafts joined to larger ones. Each goes where the least room is left that it fits into."""
    made: List[_Draft] = []
    rooms: List[_Room] = []
    for draft in drafts:
        pause = generator.uniform(_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        at = _find_room(draft, pause, made, rooms, rules)
        if at is None:
            index = len(made)
            made.append(draft)
        else:
            index = rooms.pop(at).draft
            made[index] = made[index].joined(draft, pause)
        left = rules.window_seconds - made[index].seconds
        if left >= _LEAST_ROOM_SECONDS:
            insort(rooms, _Room(left, index))
    return made


def _find_room(
    draft: _Draft, pause: float, made: List[_Draft], rooms: List[_Room], rules: PackingRules
) -> Optional[int]:
    """Return the place in `rooms` of the smallest room that a draft fits into, or None."""
    first = bisect_left(rooms, _Room(draft.seconds + pause, -1))
    for at in range(first, min(first + _TRIED, len(rooms))):
        if _fit_together(made[rooms[at].draft], draft, pause, rules):
            return at
    return None


def _divided(drafts: List[_Draft], multiple_of: int) -> List[_Draft]:
    """Return the drafts, with as many of them divided as it takes to fill whole steps, if that is possible."""
    wanted = -(-len(drafts) // multiple_of) * multiple_of
    if wanted > sum(len(draft.clips) for draft in drafts):
        return drafts
    divided = list(drafts)
    largest = [(-len(draft.clips), index) for index, draft in enumerate(divided)]
    heapify(largest)
    while len(divided) < wanted:
        index = heappop(largest)[1]
        divided[index], second = divided[index].halves()
        divided.append(second)
        for part in (index, len(divided) - 1):
            heappush(largest, (-len(divided[part].clips), part))
    return divided
