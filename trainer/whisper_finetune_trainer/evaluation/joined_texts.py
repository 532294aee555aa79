"""Compare what was heard in a joined recording with what is said there: text by text, and boundary by boundary. Pure.

The words that were heard are aligned with those of the clips. That divides the text among stretches of half a minute,
which the error rate and its interval are of. It also says which timestamp means which boundary: a segment whose first
word is the first word of a clip begins where that clip begins. The nearest boundary in time would flatter a model that
writes timestamps everywhere.
"""

from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import jiwer

from whisper_finetune_trainer.data.joined_recordings import JoinedRecording
from whisper_finetune_trainer.data.text_rules import LETTER_LANGUAGES, letters_of, normalize_gently
from whisper_finetune_trainer.evaluation import wer
from whisper_finetune_trainer.model.sequential_transcription import HeardSegment, LongTranscript

#: A stretch is at least as long as Whisper's window. So a window that goes wrong spoils one stretch or two.
_STRETCH_SECONDS = 30.0


@dataclass(frozen=True)
class ComparedRecording:
    """What is said and what was heard in each stretch of a recording, and how far its timestamps are off."""

    said: Tuple[str, ...]
    heard: Tuple[str, ...]
    #: In seconds, of the boundaries that a timestamp was found for.
    boundary_errors: Tuple[float, ...]
    #: How many boundaries there are: each clip has two.
    boundaries: int
    looped_windows: int
    cut_windows: int


def compare_recording(recording: JoinedRecording, heard: LongTranscript, language_code: str) -> ComparedRecording:
    """Return how what was heard differs from the texts of the recording's clips.

    Nothing counts as heard of a window whose text repeats its end, if no clip does so.
    """
    texts = [part.clip.text for part in recording.placed]
    kept = [window for window in heard if not wer.is_loop(window.text, texts)]
    segments = [segment for window in kept for segment in window.segments]
    is_by_letter = language_code in LETTER_LANGUAGES
    said = _words_of(texts, is_by_letter=is_by_letter)
    found = _words_of([segment.text for segment in segments], is_by_letter=is_by_letter)
    partners = _aligned(said, found)
    stretches = _stretches(recording)
    divided = _divided(found, [stretches[said[partner.said].text] if said else 0 for partner in partners])
    blank = "" if is_by_letter else " "
    return ComparedRecording(
        said=tuple(
            " ".join(text for text, of in zip(texts, stretches) if of == each) for each in range(stretches[-1] + 1)
        ),
        heard=tuple(blank.join(divided.get(each, ())) for each in range(stretches[-1] + 1)),
        boundary_errors=tuple(_boundary_errors(recording, segments, said, found, partners)),
        boundaries=2 * len(texts),
        looped_windows=len(heard) - len(kept),
        cut_windows=sum(window.is_cut for window in heard),
    )


class _Word(NamedTuple):
    """A word of a text as it is written, and what is compared of it. In languages without spaces it is a letter."""

    written: str
    key: str
    #: The index of its text, and whether it is the first or the last of its text that is compared.
    text: int
    is_first: bool
    is_last: bool


def _words_of(texts: Iterable[str], *, is_by_letter: bool) -> List[_Word]:
    return [word for index, text in enumerate(texts) for word in _words(text, index, is_by_letter=is_by_letter)]


def _words(text: str, index: int, *, is_by_letter: bool) -> Iterator[_Word]:
    """Yield the words of a text. Signs between them stay with the word before. One word may be compared as several."""
    written = letters_of(text) if is_by_letter else text.split()
    pairs: List[Tuple[str, str]] = []
    before = ""
    for each in written:
        keys = normalize_gently(each).split()
        if keys:
            pairs.extend(zip([f"{before}{each}", *[""] * (len(keys) - 1)], keys))
            before = ""
        elif pairs:
            pairs[-1] = (f"{pairs[-1][0]}{'' if is_by_letter else ' '}{each}", pairs[-1][1])
        else:
            before += each if is_by_letter else f"{each} "
    for number, (word, key) in enumerate(pairs):
        yield _Word(word, key, index, number == 0, number == len(pairs) - 1)


class _Partner(NamedTuple):
    """Which word of what is said a heard word stands for. For an inserted one it is the word before it."""

    said: int
    is_equal: bool


def _aligned(said: Sequence[_Word], found: Sequence[_Word]) -> List[_Partner]:
    """Return the partner of each word that was heard, in order."""
    if not said or not found:
        return [_Partner(0, is_equal=False) for _ in found]
    output = jiwer.process_words(" ".join(word.key for word in said), " ".join(word.key for word in found))
    partners: List[_Partner] = []
    for chunk in output.alignments[0]:
        for number in range(chunk.hyp_end_idx - chunk.hyp_start_idx):
            inserted = chunk.type == "insert"
            partner = max(0, chunk.ref_start_idx - 1) if inserted else chunk.ref_start_idx + number
            partners.append(_Partner(partner, chunk.type == "equal"))
    return partners


def _stretches(recording: JoinedRecording) -> List[int]:
    """Return the stretch of each clip, counted from 0. A short rest belongs to the stretch before it."""
    firsts = [0.0]
    stretches: List[int] = []
    for part in recording.placed:
        if part.start_seconds - firsts[-1] >= _STRETCH_SECONDS:
            firsts.append(part.start_seconds)
        stretches.append(len(firsts) - 1)
    if len(firsts) > 1 and recording.seconds - firsts[-1] < _STRETCH_SECONDS:
        return [min(stretch, len(firsts) - 2) for stretch in stretches]
    return stretches


def _divided(found: Sequence[_Word], stretches: Sequence[int]) -> Dict[int, List[str]]:
    divided: Dict[int, List[str]] = {}
    for word, stretch in zip(found, stretches):
        if word.written:
            divided.setdefault(stretch, []).append(word.written)
    return divided


def _boundary_errors(
    recording: JoinedRecording,
    segments: Sequence[HeardSegment],
    said: Sequence[_Word],
    found: Sequence[_Word],
    partners: Sequence[_Partner],
) -> Iterator[float]:
    """Yield by how many seconds a segment begins or ends wrongly, where its word is that of a clip's boundary."""
    for word, partner in zip(found, partners):
        if not partner.is_equal:
            continue
        meant = said[partner.said]
        placed, segment = recording.placed[meant.text], segments[word.text]
        if word.is_first and meant.is_first:
            yield abs(segment.start_seconds - placed.start_seconds)
        if word.is_last and meant.is_last:
            yield abs(segment.end_seconds - placed.end_seconds)
