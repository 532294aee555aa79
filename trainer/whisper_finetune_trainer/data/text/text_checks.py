"""Checks of texts before the money is spent: what is odd becomes a warning, what cannot be meant is refused. Pure."""

import re
import unicodedata
from collections import Counter
from typing import Callable, Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_api.languages import LANGUAGES
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted

_LATIN = ("LATIN",)
_LATIN_OR_CYRILLIC = ("LATIN", "CYRILLIC")
#: As the first word of a letter's Unicode name; languages that are not here are written in Latin letters.
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
    """Texts that are mostly in another script than their language's."""

    foreign: int
    total: int
    #: The script that most of them are in.
    script: str
    example: str


def scripts_of(language_code: str) -> Tuple[str, ...]:
    """Return the scripts of a language of Whisper's."""
    return SCRIPTS.get(language_code, _LATIN)


def script_in_words(script: str) -> str:
    """Return a script as a message names it."""
    return {"CJK": "Chinese"}.get(script, script.capitalize())


def main_script_of(text: str) -> Optional[str]:
    """Return the script of most letters of a text, or None where it has none."""
    # All ASCII letters are Latin, and their names need not be looked up.
    found = Counter(_script(letter) for letter in text if letter.isalpha())
    return found.most_common(1)[0][0] if found else None


def _script(letter: str) -> str:
    return "LATIN" if letter.isascii() else unicodedata.name(letter, "UNKNOWN").split()[0]


def find_foreign_texts(texts: Iterable[str], language_code: str) -> Optional[ForeignTexts]:
    """Return what is known of texts in a foreign script, or None where there are none."""
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


#: A data set may hold loan words and names, but not mostly texts that nobody who writes the language could read.
_REFUSED_ABOVE = 0.5
_SOUND_SUFFIXES = (".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav")
#: Where most texts are like this, another column was meant.
_NO_WORDS: Mapping[str, Callable[[str], bool]] = {
    "are names of sound files": lambda text: text.lower().endswith(_SOUND_SUFFIXES) and " " not in text,
    "hold no letter": lambda text: not any(map(str.isalpha, text)),
}
_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,40}>|&[A-Za-z]{2,8};|&#[0-9]{1,6};")


_SOUND = re.compile(r"\[[^\[\]]{1,40}\]")
#: With parts of a second, as nobody says a time: 00:00:01,500 of subtitles, and 0:01.5.
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


#: What nobody speaks.
_UNSPOKEN: Mapping[str, Callable[[str], bool]] = {
    "hold tags or markup, which the model will learn to write": lambda text: bool(_MARKUP.search(text)),
    "hold times, as subtitles do, which the model will learn to write": lambda text: bool(_TIME.search(text)),
    "hold names of speakers, which the model will learn to write": lambda text: bool(_SPEAKER.search(text)),
    "hold brackets, as around sounds, which the model will learn to write": lambda text: bool(_SOUND.search(text)),
    "are UTF-8 that was read as another encoding": _is_misread,
    "hold control characters": lambda text: any(ord(letter) < ord(" ") and not letter.isspace() for letter in text),
    "hold letters that were lost (\ufffd)": lambda text: "\ufffd" in text,
}


def check_texts(texts: Sequence[str], language_code: str, *, any_script: bool) -> Tuple[str, ...]:
    """Return warnings about texts in a foreign script, texts that are no words, and texts that nobody speaks.

    DatasetInvalid where most are of the first two kinds, unless the spec says that any script is meant.
    """
    odd = [*_of_scripts(texts, language_code), *_odd(texts, _NO_WORDS)]
    if not any_script:
        for oddity in odd:
            _refuse_most(oddity)
    return tuple(oddity.said for oddity in (*odd, *_odd(texts, _UNSPOKEN)))


class _Oddity(NamedTuple):
    """How many of how many texts are odd, in words too."""

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
