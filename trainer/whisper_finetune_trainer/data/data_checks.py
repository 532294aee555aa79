"""Check a data set before the training costs money: its texts, and the sounds of some clips.

Something odd becomes a warning. Something that nobody can mean is refused. Texts are checked for their script, for
words, and for things that nobody speaks. Sounds are decoded to find silence, clipping, sampling rates and broken files.
"""

import logging
import re
import unicodedata
from collections import Counter
from itertools import islice
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_api.languages import LANGUAGES, language_code
from whisper_finetune_api.v1alpha1 import Dataset
from whisper_finetune_trainer.data import clips, source_files
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.decoding import SAMPLE_RATE, Loudness
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.messages.errors import TrainerError, quoted

#: How many languages of rows a warning names.
_LANGUAGES_SHOWN = 5
_LATIN = ("LATIN",)
_LATIN_OR_CYRILLIC = ("LATIN", "CYRILLIC")
#: The scripts of each language, as the first word of a letter's Unicode name. Other languages use Latin letters.
SCRIPTS: Dict[str, Tuple[str, ...]] = {
    **dict.fromkeys(["ba", "be", "bg", "mk", "ru", "tg", "uk"], ("CYRILLIC",)),
    **dict.fromkeys(["az", "bs", "kk", "sr", "tk", "tt", "uz"], _LATIN_OR_CYRILLIC),
    **dict.fromkeys(["ar", "fa", "ps", "ur"], ("ARABIC",)),
    **dict.fromkeys(["hi", "mr", "ne", "sa"], ("DEVANAGARI",)),
    **dict.fromkeys(["zh", "yue"], ("CJK", "BOPOMOFO")),
    **dict.fromkeys(["as", "bn"], ("BENGALI",)),
    **dict.fromkeys(["he", "yi"], ("HEBREW",)),
    "am": ("ETHIOPIC",),
    "bo": ("TIBETAN",),
    "el": ("GREEK",),
    "gu": ("GUJARATI",),
    "ha": ("LATIN", "ARABIC"),
    "hy": ("ARMENIAN",),
    "ja": ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"),
    "jw": ("LATIN", "JAVANESE"),
    "ka": ("GEORGIAN",),
    "km": ("KHMER",),
    "kn": ("KANNADA",),
    "ko": ("HANGUL", "CJK"),
    "lo": ("LAO",),
    "ml": ("MALAYALAM",),
    "mn": ("CYRILLIC", "MONGOLIAN"),
    "ms": ("LATIN", "ARABIC"),
    "my": ("MYANMAR",),
    "pa": ("GURMUKHI", "ARABIC"),
    "sd": ("ARABIC", "DEVANAGARI"),
    "si": ("SINHALA",),
    "su": ("LATIN", "SUNDANESE"),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "th": ("THAI",),
}


class ForeignTexts(NamedTuple):
    """Counts of texts that are mostly in a script in which their language is not written."""

    foreign: int
    total: int
    #: The script that most of them are in.
    script: str
    example: str


def scripts_of(language_code: str) -> Tuple[str, ...]:
    """Return the scripts of a language that Whisper knows."""
    return SCRIPTS.get(language_code, _LATIN)


def script_in_words(script: str) -> str:
    """Return the name of a script in messages."""
    return {"CJK": "Chinese"}.get(script, script.capitalize())


def main_script_of(text: str) -> Optional[str]:
    """Return the script of most letters of a text, or None where it has none."""
    # ASCII letters are Latin, so `_script` does not look up their names.
    found = Counter(_script(letter) for letter in text if letter.isalpha())
    return found.most_common(1)[0][0] if found else None


def _script(letter: str) -> str:
    return "LATIN" if letter.isascii() else unicodedata.name(letter, "UNKNOWN").split()[0]


def find_foreign_texts(texts: Iterable[str], language_code: str) -> Optional[ForeignTexts]:
    """Return the counts of texts in a foreign script, or None where there are none."""
    expected = scripts_of(language_code)
    total, example = 0, ""
    found: Counter[str] = Counter()
    for text in texts:
        total += 1
        script = main_script_of(text)
        if script is not None and script not in expected:
            found[script] += 1
            example = example or text
    if not found:
        return None
    return ForeignTexts(sum(found.values()), total, found.most_common(1)[0][0], example)


#: A few texts in another script are loan words and names. More than half of all texts are a mistake.
_REFUSED_ABOVE = 0.5
_SOUND_SUFFIXES = (".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav")
#: If most texts are like this, the wrong column is read.
_NO_WORDS: Mapping[str, Callable[[str], bool]] = {
    "are names of sound files": lambda text: text.lower().endswith(_SOUND_SUFFIXES) and " " not in text,
    "contain no letter": lambda text: not any(map(str.isalpha, text)),
}
_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,40}>|&[A-Za-z]{2,8};|&#[0-9]{1,6};")


_SOUND = re.compile(r"\[[^\[\]]{1,40}\]")
#: Times with parts of a second, which nobody speaks, such as 00:00:01,500 in subtitles and 0:01.5.
_TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}[.,][0-9]|-->")
_SPEAKER = re.compile(r"\bspeaker[ _-]?[0-9]{1,3}\b", re.IGNORECASE)


def _is_misread(text: str) -> bool:
    """Return whether a text is UTF-8 that was read as Windows-1252, such as `perchÃ©`."""
    if text.isascii():
        return False
    try:
        return text.encode("cp1252").decode("utf-8") != text
    except (UnicodeEncodeError, UnicodeDecodeError):
        return False


#: Things in texts that nobody speaks.
_UNSPOKEN: Mapping[str, Callable[[str], bool]] = {
    "contain tags or markup, which the model will learn to write": lambda text: bool(_MARKUP.search(text)),
    "contain times, as subtitles do, which the model will learn to write": lambda text: bool(_TIME.search(text)),
    "contain names of speakers, which the model will learn to write": lambda text: bool(_SPEAKER.search(text)),
    "contain brackets, as around sounds, which the model will learn to write": lambda text: bool(_SOUND.search(text)),
    "are UTF-8 that was read as another encoding": _is_misread,
    "contain control characters": lambda text: any(ord(letter) < ord(" ") and not letter.isspace() for letter in text),
    "contain letters that were lost (\ufffd)": lambda text: "\ufffd" in text,
}


def check_texts(texts: Sequence[str], language_code: str, *, any_script: bool) -> Tuple[str, ...]:
    """Return warnings about texts in a foreign script, texts without words, and texts that nobody speaks.

    Raises DatasetInvalid where most texts are of one of the first two kinds, unless `any_script` is set.
    """
    odd = [*_of_scripts(texts, language_code), *_odd(texts, _NO_WORDS)]
    if not any_script:
        for oddity in odd:
            _refuse_most(oddity)
    return tuple(oddity.said for oddity in (*odd, *_odd(texts, _UNSPOKEN)))


class _Oddity(NamedTuple):
    """How many of all texts are odd in one way. `said` is the warning."""

    number: int
    total: int
    said: str


def _of_scripts(texts: Sequence[str], code: str) -> Sequence[_Oddity]:
    foreign = find_foreign_texts(texts, code)
    if foreign is None:
        return ()
    expected = " or ".join(map(script_in_words, scripts_of(code)))
    script = script_in_words(foreign.script)
    said = (
        f"{foreign.foreign} of {foreign.total} texts are mostly in {script} letters, "
        f"and {LANGUAGES[code]} is written in {expected}; such as: {quoted(foreign.example)}"
    )
    return (_Oddity(foreign.foreign, foreign.total, said),)


def _odd(texts: Sequence[str], kinds: Mapping[str, Callable[[str], bool]]) -> Sequence[_Oddity]:
    found = ((what, [text for text in texts if is_so(text)]) for what, is_so in kinds.items())
    return [
        _Oddity(len(odd), len(texts), f"{len(odd)} of {len(texts)} texts {what}, such as: {quoted(odd[0])}")
        for what, odd in found
        if odd
    ]


def _refuse_most(oddity: _Oddity) -> None:
    if oddity.number > _REFUSED_ABOVE * oddity.total:
        raise TrainerError(
            "DatasetInvalid",
            f"{oddity.said}. Is `language` right, and dataset.textColumn? Where it is meant so, give dataset.script: "
            "Any",
        )


#: How many clips are decoded, spread over the data set. All clips of a large one would take hours.
_SAMPLED_CLIPS = 500
_READERS = 8
#: How many held-out clips are decoded at a time. After each portion the log says how many are done.
_DECODED_AT_ONCE = 2_000
#: 60 dB below full scale. No speech is that quiet.
_SILENT_BELOW = 0.001
#: A recording with more than this fraction of its samples at full scale is overdriven.
_CLIPPED_ABOVE = 0.001
#: Full scale is 1. Samples that are integers written as floats go up to 32768.
_TOO_LOUD_ABOVE = 2.0
_ODD: Mapping[str, Callable[[Loudness], bool]] = {
    "clipped": lambda found: found.clipped > _CLIPPED_ABOVE and found.peak <= _TOO_LOUD_ABOVE,
    "far beyond full scale, like integers that were written as floats": lambda found: found.peak > _TOO_LOUD_ABOVE,
    "their channels cancel each other, so only the louder one is heard": lambda found: found.is_one_channel,
}
logger = logging.getLogger(__name__)


class Inspected(NamedTuple):
    """One inspected clip: how loud it is, or why it cannot be decoded."""

    clip: Clip
    loudness: Optional[Loudness]
    fault: str


class Findings(NamedTuple):
    """Warnings about the sounds, and the clips that cannot be decoded, by their identifiers."""

    warnings: Tuple[str, ...]
    undecodable: Dict[str, Drop]


def inspect_sounds(found: Sequence[Clip], max_dropped_fraction: str) -> Findings:
    """Decode a sample of the clips, and return what is found. Raises DatasetInvalid if too many are bad."""
    sample = _inspect(_spread(found))
    undecodable = _undecodable_of(sample)
    bad = [*undecodable.values(), *_silent(sample)]
    clips.refuse_too_many(bad, len(sample), max_dropped_fraction)
    said = [f"{number} of {len(sample)} sampled clips: {reason}" for reason, number in clips.count_drops(bad).items()]
    return Findings((*said, *_oddities(sample), *_rates(sample)), undecodable)


def leave_out_undecodable(found: Sequence[Clip], total: int, dataset: Dataset) -> Tuple[List[Clip], List[Drop]]:
    """Return the held-out clips without those that cannot be decoded, and the Drops of these.

    Every evaluation decodes the clips. So they are tried here, until `maxEvalClips` of them have been decoded. Raises
    DatasetInvalid where too many of the `total` clips of the data set cannot be decoded.
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
        faults.update(_undecodable_of(_inspect(portion)))
        decoded += len(portion)
        if decoded % _DECODED_AT_ONCE == 0:
            logger.info("%d of %d held-out clips decoded", decoded, len(found))
    return faults


def _spread(found: Sequence[Clip]) -> Sequence[Clip]:
    return found[:: max(1, -(-len(found) // _SAMPLED_CLIPS))]


def _inspect(found: Sequence[Clip]) -> List[Inspected]:
    with source_files.reader_pool(_READERS) as readers:
        return list(readers.map(_inspect_clip, found))


def _inspect_clip(clip: Clip) -> Inspected:
    try:
        return Inspected(clip, decoding.measure_loudness(clip.audio), "")
    except TrainerError as error:
        if error.reason != "DatasetInvalid":
            raise
        return Inspected(clip, None, error.message)


def _undecodable_of(sample: Sequence[Inspected]) -> Dict[str, Drop]:
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
            said.append(f"{len(odd)} of {len(sample)} sampled clips: {what}, such as {quoted(odd[0])}")
    return said


def _rates(sample: Sequence[Inspected]) -> List[str]:
    rates = Counter(each.loudness.sample_rate for each in sample if each.loudness)
    low = sum(number for rate, number in rates.items() if rate < SAMPLE_RATE)
    shown = ", ".join(f"{rate} Hz ({number})" for rate, number in rates.most_common(5))
    found = []
    if len(rates) > 1:
        found.append(f"sampling rates differ: {shown}")
    if low:
        found.append(f"{low} of {len(sample)} sampled clips have less than 16,000 Hz, as on a telephone ({shown})")
    return found


def warn_of_languages(counts: "Counter[str]", column: str, language: str) -> Tuple[str, ...]:
    """Return a warning if rows name another language than the run's.

    If all rows have the same value and Whisper does not know it, there is no warning: it may be a number, or a code of
    another standard.
    """
    counts = Counter({name: number for name, number in counts.items() if name})
    code = language_code(language)
    if len(counts) > 1:
        shown = ", ".join(f"{name} {number}" for name, number in counts.most_common(_LANGUAGES_SHOWN))
        more = f" and {len(counts) - _LANGUAGES_SHOWN} more" if len(counts) > _LANGUAGES_SHOWN else ""
        return (f"column {column} names {len(counts)} languages ({shown}{more}); all are trained as {LANGUAGES[code]}",)
    other = next(iter(counts), code)
    if other == code or other not in LANGUAGES:
        return ()
    return (f"column {column} names {LANGUAGES[other]} in all rows, and they are trained as {LANGUAGES[code]}",)
