"""Which scripts a language is written in, and which one a text is in. Pure.

A wrong `language`, a wrong text column or a transliterated data set costs a whole run and shows in no loss curve.
"""

import unicodedata
from collections import Counter
from typing import Dict, Iterable, NamedTuple, Optional, Tuple

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
