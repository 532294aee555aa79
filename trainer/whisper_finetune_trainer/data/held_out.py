"""Choose the held-out clips, and find train clips that leak one of them.

Such a train clip overlaps a held-out clip in the same recording, or has the same sound. A model that is trained on it
seems better than it is.
"""

import math
import random
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.audio_sources import RecordingSegment, WholeFile
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.messages.errors import TrainerError, quoted

#: The held-out fraction is drawn with this seed whatever training.seed is, so that results stay comparable.
_SEED = 0
#: Segments that share less than this do not overlap. Manifests round their seconds.
_TOUCHING_SECONDS = 0.05


@dataclass(frozen=True)
class ChosenClips:
    """Clips to train on, clips to measure, and clips that are left out because they overlap one to measure."""

    train: List[Clip]
    evaluation: List[Clip]
    overlapping: List[Clip]


class _Span(NamedTuple):
    """A range of a recording, in seconds."""

    start: float
    end: float


def choose_held_out(found: Sequence[Clip], fraction: float, *, by_speaker: bool = True) -> ChosenClips:
    """Hold out a fraction of the clips.

    With `by_speaker` whole speakers are held out, where the clips name them. Otherwise, if the clips are segments,
    whole recordings are, except for one that is divided. Raises DatasetInvalid where no clip would be left on one of
    the sides.
    """
    number = round(len(found) * fraction)
    if not 0 < number < len(found):
        raise TrainerError(
            "DatasetInvalid",
            f"dataset.evalFraction {fraction} of {len(found)} clips leaves {len(found) - number} to train on "
            f"and {number} to measure on; give more clips, another fraction, or an evalSplit",
        )
    return _choose(found, number, by_speaker=by_speaker)


#: A score over fewer clips says next to nothing of which model is the better one.
FEWEST_VALIDATION_CLIPS = 20
_MOST_VALIDATION_CLIPS = 500
_USUAL_VALIDATION_FRACTION = 0.1


def choose_validation(
    found: Sequence[Clip], fraction: Optional[str], limit: Optional[int], *, by_speaker: bool = True
) -> ChosenClips:
    """Take validation clips from those to train on, as `choose_held_out` takes the held-out ones.

    Without a fraction they are a tenth of the clips, but at least 20, and at most 500 or the `limit` of what is
    measured. Raises DatasetInvalid where they would be fewer than 20, or more than what is left to train on.
    """
    if fraction is not None:
        number = round(len(found) * float(fraction))
        require_validation(number, f"dataset.validationFraction {fraction} of {len(found)} train clips")
    else:
        usual = round(len(found) * _USUAL_VALIDATION_FRACTION)
        most = min(_MOST_VALIDATION_CLIPS, limit or _MOST_VALIDATION_CLIPS)
        number = max(FEWEST_VALIDATION_CLIPS, min(usual, most))
    if 2 * number > len(found):
        raise TrainerError(
            "DatasetInvalid",
            f"training.evalEverySteps: {number} of {len(found)} train clips would be validation clips, by which the "
            "best model is chosen, and too few are left to train on; name a dataset.validationSplit, give more clips, "
            "or leave out training.evalEverySteps",
        )
    return _choose(found, number, FEWEST_VALIDATION_CLIPS, by_speaker=by_speaker)


def require_validation(number: int, what: str) -> None:
    """Raise DatasetInvalid where there are too few validation clips. `what` says in words where they come from."""
    if number < FEWEST_VALIDATION_CLIPS:
        raise TrainerError(
            "DatasetInvalid",
            f"{what}: {number} clips are too few to choose the best model by, at least {FEWEST_VALIDATION_CLIPS} are "
            "needed; give more, or leave out training.evalEverySteps",
        )


def limit_validation(found: Sequence[Clip], spec: WhisperFineTuneSpec) -> Tuple[Clip, ...]:
    """Return the validation clips that are measured. There are none where nothing is chosen.

    Raises DatasetInvalid where they are too few.
    """
    if spec.training.eval_every_steps is None:
        return ()
    split, limit = spec.dataset.validation_split, spec.dataset.max_eval_clips
    require_validation(len(found), f"dataset.validationSplit {split}" if split else "dataset.validationFraction")
    return tuple(found[: max(limit, FEWEST_VALIDATION_CLIPS)] if limit else found)


def _choose(found: Sequence[Clip], number: int, fewest: int = 1, *, by_speaker: bool) -> ChosenClips:
    chosen = _whole_speakers(found, number, max(fewest, round(number * _LEAST_OF_SPEAKERS))) if by_speaker else None
    if chosen is not None:
        train = [clip for clip in found if clip.speaker not in chosen]
        return _without_overlapping(_shuffled(train), _shuffled(clip for clip in found if clip.speaker in chosen))
    if not _have_segments(found):
        shuffled = _shuffled(found)
        return ChosenClips(shuffled[number:], shuffled[:number], [])
    ordered = _by_recordings(found)
    # Shuffled again: maxTrainClips and maxEvalClips take the first clips, which should be of all recordings.
    return _without_overlapping(_shuffled(ordered[:-number]), _shuffled(ordered[-number:]))


#: The least part of the wanted clips that whole speakers must come to. Otherwise clips are drawn one by one.
_LEAST_OF_SPEAKERS = 0.5


def _whole_speakers(found: Sequence[Clip], most: int, least: int) -> Optional[Set[str]]:
    """Return speakers who have together at most `most` clips, and at least `least`, or None where there are none such.

    Clips without a speaker are trained on.
    """
    sizes = Counter(clip.speaker for clip in found if clip.speaker)
    names = sorted(sizes)
    random.Random(_SEED).shuffle(names)  # noqa: S311 -- nothing secret
    chosen: Set[str] = set()
    number = 0
    for name in names:
        if number + sizes[name] <= most:
            chosen.add(name)
            number += sizes[name]
    return chosen if number >= least else None


def draw_clips(found: List[Clip], limit: Optional[int]) -> List[Clip]:
    """Return the clips in an order from which a limit takes the first. Without a limit, return them as they are.

    The clips are shuffled, because many lists are sorted by speaker, and their first clips are of a single speaker.
    """
    return found if limit is None or limit >= len(found) else _shuffled(found)


def find_overlapping(train: Sequence[Clip], evaluation: Sequence[Clip]) -> List[Clip]:
    """Return the train clips that overlap a held-out clip in the same recording. There are none without segments."""
    if not _have_segments(train) and not _have_segments(evaluation):
        return []
    held_out = _spans_by_recording(evaluation)
    return [clip for clip in train if _overlaps(clip, held_out)]


def _without_overlapping(train: List[Clip], evaluation: List[Clip]) -> ChosenClips:
    left_out = find_overlapping(train, evaluation)
    left_out_ids = set(map(id, left_out))
    return ChosenClips([clip for clip in train if id(clip) not in left_out_ids], evaluation, left_out)


def _have_segments(found: Iterable[Clip]) -> bool:
    return any(isinstance(clip.audio, RecordingSegment) for clip in found)


def _shuffled(found: Iterable[Clip]) -> List[Clip]:
    shuffled = list(found)
    random.Random(_SEED).shuffle(shuffled)  # noqa: S311 -- nothing secret
    return shuffled


def _by_recordings(found: Sequence[Clip]) -> List[Clip]:
    """Return the clips recording by recording. Recordings are shuffled, and their clips are sorted by start."""
    by_recording: Dict[str, List[Clip]] = {}
    for clip in found:
        by_recording.setdefault(recording_of(clip) or clip.identifier, []).append(clip)
    # Sorted first, so that the order of the rows does not matter.
    names = sorted(by_recording)
    random.Random(_SEED).shuffle(names)  # noqa: S311 -- nothing secret
    return [clip for name in names for clip in sorted(by_recording[name], key=_span)]


def recording_of(clip: Clip) -> Optional[str]:
    """Return the name in the data set of the file that a clip is in, or None for a sound in a shard."""
    if isinstance(clip.audio, RecordingSegment):
        return clip.audio.recording_name
    return clip.audio.file if isinstance(clip.audio, WholeFile) else None


def _span(clip: Clip) -> _Span:
    if not isinstance(clip.audio, RecordingSegment):
        return _Span(0.0, math.inf)
    start = clip.audio.start_frame / clip.audio.sample_rate
    return _Span(start, start + clip.seconds)


def _spans_by_recording(found: Iterable[Clip]) -> Dict[str, List[_Span]]:
    """Return the ranges that the clips cover of each recording, in order and merged where they touch."""
    spans: Dict[str, List[_Span]] = {}
    for clip in found:
        name = recording_of(clip)
        if name is not None:
            spans.setdefault(name, []).append(_span(clip))
    return {name: _merged(sorted(of_one)) for name, of_one in spans.items()}


def _merged(spans: Iterable[_Span]) -> List[_Span]:
    merged: List[_Span] = []
    for span in spans:
        if merged and span.start <= merged[-1].end:
            merged[-1] = _Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _overlaps(clip: Clip, held_out: Dict[str, List[_Span]]) -> bool:
    spans = held_out.get(recording_of(clip) or "", [])
    start, end = _span(clip)
    # Go backwards from the last span that begins before the clip's end.
    before = (spans[index] for index in range(bisect_left(spans, (end,)) - 1, -1, -1))
    near = takewhile(lambda span: span.end > start, before)
    return any(min(end, span.end) - max(start, span.start) > _TOUCHING_SECONDS for span in near)


#: Sounds that are compared lie in a bucket as often as on a volume, where each waits for an answer of its own.
_READERS = 16
#: At most so many clips are compared by their sound if the spec does not ask for it.
_COMPARED_UNASKED = 2_000


class _Duplicates(NamedTuple):
    """Train clips with the sound of a held-out one. `is_complete` says whether all clips in question were compared."""

    clips: List[Clip]
    is_complete: bool


def find_leaks(
    train: Sequence[Clip], evaluation: Sequence[Clip], *, leave_out: bool, part: str = "held-out"
) -> Tuple[List[Drop], Tuple[str, ...]]:
    """Find train clips that leak one of `evaluation`. Return the Drops of those to leave out, or warnings if they stay.

    `part` names the clips of `evaluation` in words. To leave copies out, every sound is read that has the length of one
    of them. For a warning only those are read that have the same text too.
    """
    copies = _all_duplicates(train, evaluation) if leave_out else _likely_duplicates(train, evaluation)
    names = {clip.identifier for clip in copies.clips}
    others = [clip for clip in train if clip.identifier not in names]
    overlapping = find_overlapping(others, evaluation)
    if leave_out:
        return [*map(copy_dropped, copies.clips), *map(overlap_dropped, overlapping)], ()
    return [], (
        *_warnings_of_leaks(copies.clips, f"have the sound of a {part} one", is_complete=copies.is_complete),
        *_warnings_of_leaks(overlapping, f"overlap a {part} segment of their recording", is_complete=True),
    )


def find_copies(measured: Sequence[Clip], learned: Sequence[Clip]) -> List[Clip]:
    """Return the measured clips that have the sound of one that is trained on or chosen by, whatever its text.

    The same recording in another format or at another sample rate is another sound here. Only sounds are read of clips
    as long as a measured one: of the learned ones at most _COMPARED_UNASKED, and first those that have its text too.
    """
    lengths, keys = {clip.seconds for clip in measured}, {(clip.seconds, clip.text) for clip in measured}
    suspects = [clip for clip in learned if clip.seconds in lengths]
    compared = sorted(suspects, key=lambda clip: (clip.seconds, clip.text) not in keys)[:_COMPARED_UNASKED]
    return _same_sound(_suspects(measured, compared, lambda clip: clip.seconds), compared)


def copy_dropped(clip: Clip) -> Drop:
    """Return the Drop of a train clip that has the sound of a held-out one."""
    return Drop("audio also held out", quoted(clip.identifier), is_expected=True, identifier=clip.identifier)


def overlap_dropped(clip: Clip) -> Drop:
    """Return the Drop of a train clip that overlaps a held-out one."""
    return Drop("overlaps a held-out segment", quoted(clip.identifier), is_expected=True, identifier=clip.identifier)


def _warnings_of_leaks(found: Sequence[Clip], what: str, *, is_complete: bool) -> Tuple[str, ...]:
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
    keys = {key(clip) for clip in evaluation}
    return [clip for clip in train if key(clip) in keys]


def _same_sound(suspects: Sequence[Clip], evaluation: Sequence[Clip]) -> List[Clip]:
    lengths = {clip.seconds for clip in suspects}
    compared = [clip for clip in evaluation if clip.seconds in lengths]
    with source_files.reader_pool(_READERS) as readers:
        held_out = set(readers.map(_sound_of, compared))
        return [clip for clip, sound in zip(suspects, readers.map(_sound_of, suspects)) if sound in held_out]


def _sound_of(clip: Clip) -> Tuple[float, bytes]:
    return clip.seconds, decoding.digest_audio(clip.audio)
