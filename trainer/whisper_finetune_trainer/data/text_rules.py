"""What becomes of a text before it is trained on, or compared with what was heard. Pure.

Special tokens of Whisper, as its own tools write them, are taken out: the tokenizer makes tokens of them that nobody
speaks. Trained on they teach the model to write timestamps where it was told not to, and no transcript can be equal to
a text that holds them. Then come the rules of a known data set, and what the spec wants of case and punctuation. Texts
are compared by Whisper's English rules in English, and by gentle ones in every other language.
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

import regex
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer
from typing_extensions import Literal

from whisper_finetune_api.languages import LANGUAGES

RuleName = Literal["PunctuationTags", "NoSpeech", "LowerCase", "UnknownWords", "NotScored", "SpacedApostrophes"]
#: What clips are counted under that a rule leaves out.
DroppedByRule = Literal["text rule NoSpeech", "text rule NotScored"]
#: What changed a text: a rule of its data set, or the one that is for all.
ChangedBy = Literal[RuleName, "SpecialTokens"]
#: From the first of them only: tried from each, n blanks would cost n².
_BLANKS = r"(?<!\s)\s*"
_PUNCTUATION = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
_PUNCTUATION_TAG = re.compile(_BLANKS + "(" + "|".join(_PUNCTUATION) + ")")
_NO_SPEECH = re.compile(r"<(SIL|MUSIC|NOISE|OTHER)>")
_UNKNOWN_WORD = re.compile(_BLANKS + "<unk>", re.IGNORECASE)
_SPACED_APOSTROPHE = re.compile(r"(?<=\w)\s+'(?=(all|clock|d|ll|m|re|s|t|ve)\b)", re.IGNORECASE)
_NOT_SCORED = "ignore_time_segment_in_scoring"


def _spoken(text: str) -> Optional[str]:
    return None if _NO_SPEECH.search(text) else text


def _punctuated(text: str) -> str:
    return _PUNCTUATION_TAG.sub(lambda tag: _PUNCTUATION[tag[1]], text)


def _lowered(text: str) -> str:
    return text.lower() if text.isupper() else text


def _scored(text: str) -> Optional[str]:
    return None if text.strip() == _NOT_SCORED else text


@dataclass(frozen=True)
class Rule:
    """What a rule is for, and what it makes of a text: None leaves the clip out, counted under `dropped_as`."""

    meaning: str
    apply: Callable[[str], Optional[str]]
    dropped_as: Optional[DroppedByRule] = None


RULES: Dict[RuleName, Rule] = {
    "NoSpeech": Rule(
        "segments with `<SIL>`, `<MUSIC>`, `<NOISE>` or `<OTHER>` in their text are left out",
        _spoken,
        "text rule NoSpeech",
    ),
    "NotScored": Rule(f"segments with the text `{_NOT_SCORED}` are left out", _scored, "text rule NotScored"),
    "PunctuationTags": Rule(
        "`<COMMA>`, `<PERIOD>`, `<QUESTIONMARK>`, `<EXCLAMATIONPOINT>` become , . ? !", _punctuated
    ),
    "UnknownWords": Rule("`<unk>` is taken out", lambda text: _UNKNOWN_WORD.sub("", text)),
    "SpacedApostrophes": Rule(
        "`it 's` becomes `it's`, `o 'clock` becomes `o'clock`", lambda text: _SPACED_APOSTROPHE.sub("'", text)
    ),
    "LowerCase": Rule("texts in capitals become lower case", _lowered),
}


@dataclass(frozen=True)
class Outcome:
    """A text after all rules, those that changed it, and the one that leaves the clip out."""

    text: str
    rules: Tuple[ChangedBy, ...]
    dropped_as: Optional[DroppedByRule] = None


@dataclass(frozen=True)
class TextRules:
    """What is done to texts: without special tokens, by the rules of a data set, and by the spec's normalizer."""

    names: Tuple[RuleName, ...]
    normalize: Callable[[str], str]
    #: Tokens that look like special ones, and that the model's tokenizer has as words.
    words: FrozenSet[str] = frozenset()
    #: What parts the words of the language.
    between_words: str = " "

    def apply(self, text: str) -> Outcome:
        """Return what becomes of a text."""
        spoken = without_special_tokens(text, self.words, self.between_words)
        changed_by: Tuple[ChangedBy, ...] = ("SpecialTokens",) if spoken != text else ()
        text = spoken
        for name in self.names:
            changed = RULES[name].apply(text)
            if changed is None:
                return Outcome("", changed_by, RULES[name].dropped_as)
            changed_by += (name,) if changed != text else ()
            text = changed
        return Outcome(self.normalize(text).strip(), changed_by)


_TOKEN = re.compile(r"(<\|[^<>|]{0,40}\|>)")
#: Signs that no blank goes before, where a token stood between.
_SIGNS = frozenset(",.;:!?\u2026\u060c\u061b\u061f\u3001\u3002")
_TIMESTAMP = re.compile(r"<\|[0-9]+\.[0-9]+\|>")
_TASKS = ("startoftranscript", "endoftext", "translate", "transcribe", "startoflm", "startofprev")
_MARKS = ("nospeech", "nocaptions", "notimestamps")
#: What was said before the clip stands between these two.
_BEFORE, _START = "<|startofprev|>", "<|startoftranscript|>"


def without_special_tokens(text: str, words: FrozenSet[str], between: str) -> str:
    """Return a text without its special tokens and what was said before it. `words` are tokens that stay.

    `between` words that a token parts is a space, nothing in a language that is written without spaces.
    """
    if "<|" not in text:
        return text
    pieces = _TOKEN.split(_without_what_was_before(text))
    spoken = [piece for piece in pieces if piece in words or not _TOKEN.fullmatch(piece)]
    if "".join(spoken) == text:
        return text
    return " ".join(_joined(pieces, words, between).split())


def _joined(pieces: Sequence[str], words: FrozenSet[str], between: str) -> str:
    """Join pieces of a text without the tokens. A blank that only a token had need of goes with it."""
    joined: List[str] = []
    parted = False
    for piece in reversed(pieces):
        is_token = piece not in words and _TOKEN.fullmatch(piece) is not None
        before_sign = parted and joined and joined[-1][0] in _SIGNS
        said = "" if is_token else piece.rstrip() if before_sign else piece
        parted = parted or is_token
        if said:
            joined += [between] if parted and joined and between and not before_sign else []
            joined.append(said)
            parted = False
    return "".join(reversed(joined))


def words_like_tokens(tokenizer: Any) -> FrozenSet[str]:
    """Return the tokens that look like special ones, and that somebody gave a tokenizer as words."""
    return frozenset(
        token["content"]
        for token in _added(tokenizer)
        if not token["special"] and _TOKEN.fullmatch(token["content"]) and not _is_whispers(token["content"])
    )


def special_token_ids(tokenizer: Any) -> Dict[int, str]:
    """Return the special tokens of a tokenizer by their ids, timestamps among them."""
    words = words_like_tokens(tokenizer)
    return {
        token["id"]: token["content"]
        for token in _added(tokenizer)
        if token["special"] or (_TOKEN.fullmatch(token["content"]) and token["content"] not in words)
    }


def _added(tokenizer: Any) -> Iterable[Mapping[str, Any]]:
    # What tells special ones has another name in each version of transformers.
    return list(json.loads(tokenizer.backend_tokenizer.to_str())["added_tokens"])


def _is_whispers(token: str) -> bool:
    return bool(_TIMESTAMP.fullmatch(token)) or token[2:-2] in {*_TASKS, *_MARKS, *LANGUAGES}


def _without_what_was_before(text: str) -> str:
    first, *others = text.split(_BEFORE)
    return first + "".join(part.partition(_START)[2] for part in others)


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
