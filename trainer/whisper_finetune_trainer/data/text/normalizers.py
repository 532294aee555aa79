"""What is done to texts before they are compared: Whisper's English rules for English, gentle ones for the rest."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Callable, Mapping

import regex
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

#: Written without spaces between words: their word error rate counts letters, as in Whisper's own evaluation.
LETTER_LANGUAGES = frozenset(["bo", "ja", "km", "lo", "my", "th", "yue", "zh"])
#: What stands in brackets ends with the first bracket that closes one of its kind.
_CLOSING = {"<": re.compile(r"[>\]]"), "[": re.compile(r"[>\]]"), "(": re.compile(r"\)")}
_OPENING = re.compile(r"[<\[(]")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Normalizer:
    """A function of one text, and the name that status.metric gives it."""

    name: str
    apply: Callable[[str], str]


def normalizer_for(language_code: str, spellings: Mapping[str, str]) -> Normalizer:
    """Return the normalizer of a language. `spellings` are the model's British to American ones (English only)."""
    if language_code == "en":
        english = EnglishTextNormalizer(dict(spellings))
        # Its rules cost n² for n blanks, and make one of them in the end.
        return Normalizer(
            "english" if spellings else "english without spellings", lambda text: english(_one_blank(text)).strip()
        )
    if language_code in LETTER_LANGUAGES:
        return Normalizer(
            "basic with marks, letter by letter", lambda text: " ".join(letters_of(normalize_gently(text)))
        )
    return Normalizer("basic with marks", normalize_gently)


def label_normalizer(normalization: str, language_code: str) -> Callable[[str], str]:
    """Return what `dataset.textNormalization` (None, Basic or Whisper) does to the texts that are trained on.

    Whisper's rules for languages without spaces are its gentle ones: set letter by letter, as for comparing, a text
    would teach the model to write spaces that nobody writes.
    """
    if normalization == "None":
        return str.strip
    if normalization == "Basic" or language_code in LETTER_LANGUAGES:
        return normalize_gently
    return normalizer_for(language_code, {}).apply


def normalize_gently(text: str) -> str:
    """Return a text in lower case without punctuation, symbols and what stands in brackets.

    transformers' BasicTextNormalizer drops the marks of Unicode category M as well, which are the vowels of Hindi and
    many other languages. Here they stay.
    """
    spoken = unicodedata.normalize("NFKC", _without_brackets(text.lower()))
    kept = "".join(" " if unicodedata.category(character)[0] in "SP" else character for character in spoken)
    return _one_blank(kept.lower())


def _one_blank(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _without_brackets(text: str) -> str:
    """Return a text without what stands in brackets, in one pass: none that is never closed is sought for twice."""
    kept, position, unclosed = [], 0, set()
    for opening in _OPENING.finditer(text):
        closing = _CLOSING[opening[0]]
        if opening.start() < position or closing in unclosed:
            continue
        found = closing.search(text, opening.end())
        if found is None:
            unclosed.add(closing)
        elif opening[0] != "(" or found.start() > opening.end():
            # Nothing stands in (), which stays.
            kept.append(text[position : opening.start()])
            position = found.end()
    return "".join([*kept, text[position:]])


def letters_of(text: str) -> "list[str]":
    """Return what a reader sees as letters, each with its marks, without spaces."""
    return [letter for letter in regex.findall(r"\X", text) if not letter.isspace()]
