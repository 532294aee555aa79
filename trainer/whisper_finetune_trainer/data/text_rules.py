"""What is done to texts before they are trained on, or compared with what was heard. Pure.

First Whisper's special tokens are removed, which its own tools write into transcripts. The tokenizer would turn them
into tokens that nobody speaks. They would teach the model to write timestamps where it was told not to, and no
transcript could equal a text with them. A training with timestamps reads those that are well-formed.

Then come the rules of a known data set, and the case and punctuation that the spec asks for. To compare texts, English
ones go through Whisper's English normalizer, and all others through a gentle one.
"""

import json
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import regex
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer
from typing_extensions import Literal

from whisper_finetune_api.languages import LANGUAGES

RuleName = Literal["PunctuationTags", "NoSpeech", "LowerCase", "UnknownWords", "NotScored", "SpacedApostrophes"]
#: The reasons of clips that a rule leaves out.
DroppedByRule = Literal["text rule NoSpeech", "text rule NotScored"]
#: What changed a text: a rule of its data set, or the removal of special tokens, which is for all. Where the tokens
#: were read as timestamps, it is Timestamps.
ChangedBy = Literal[RuleName, "SpecialTokens", "Timestamps"]
#: Matches blanks from the first of them only. A match tried from each of n blanks would cost n².
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
    """A rule for texts. If `apply` returns None, the clip is left out with the reason `dropped_as`."""

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


class TimedText(NamedTuple):
    """A part of a text, and when it is said, in seconds from the clip's beginning."""

    start_seconds: float
    end_seconds: float
    text: str


@dataclass(frozen=True)
class Outcome:
    """A text after all rules, the rules that changed it, and the reason if a rule leaves the clip out."""

    text: str
    rules: Tuple[ChangedBy, ...]
    dropped_as: Optional[DroppedByRule] = None
    #: The parts of the text after all rules, if it had timestamps and they were read.
    timed: Tuple[TimedText, ...] = ()


@dataclass(frozen=True)
class TextRules:
    """What is done to texts: special tokens are removed, then rules of the data set and a normalizer are applied."""

    names: Tuple[RuleName, ...]
    normalize: Callable[[str], str]
    #: Tokens that look like special tokens, but that the model's tokenizer has as words. They stay.
    words: FrozenSet[str] = frozenset()
    #: What stands between two words of the language: a space, or nothing.
    between_words: str = " "
    #: Whether timestamps in texts are read. They are removed from the text all the same.
    reads_timestamps: bool = False

    def apply(self, text: str) -> Outcome:
        """Return the text after all rules."""
        timed = self._timed(text) if self.reads_timestamps else ()
        spoken = without_special_tokens(text, self.words, self.between_words)
        changed_by: Tuple[ChangedBy, ...] = ("Timestamps" if timed else "SpecialTokens",) if spoken != text else ()
        text = spoken
        for name in self.names:
            changed = RULES[name].apply(text)
            if changed is None:
                return Outcome("", changed_by, RULES[name].dropped_as)
            changed_by += (name,) if changed != text else ()
            text = changed
        return Outcome(self.normalize(text).strip(), changed_by, timed=timed)

    def _timed(self, text: str) -> Tuple[TimedText, ...]:
        of_part = replace(self, reads_timestamps=False)
        said = [part._replace(text=of_part.apply(part.text).text) for part in read_timestamps(text, self.words)]
        return tuple(part for part in said if part.text)


_TOKEN = re.compile(r"(<\|[^<>|]{0,40}\|>)")
#: Punctuation marks without a blank before them. A blank before a removed token is removed with it.
_SIGNS = frozenset(",.;:!?\u2026\u060c\u061b\u061f\u3001\u3002")
_TIMESTAMP = re.compile(r"<\|[0-9]+\.[0-9]+\|>")
_TASKS = ("startoftranscript", "endoftext", "translate", "transcribe", "startoflm", "startofprev")
_MARKS = ("nospeech", "nocaptions", "notimestamps")
#: Between these two tokens is what was said before the clip.
_BEFORE, _START = "<|startofprev|>", "<|startoftranscript|>"


def without_special_tokens(text: str, words: FrozenSet[str], between: str) -> str:
    """Return a text without special tokens, and without what they mark as said before. `words` are tokens that stay.

    `between` goes between words where a token was: a space, or nothing in a language without spaces.
    """
    if "<|" not in text:
        return text
    pieces = _TOKEN.split(_without_what_was_before(text))
    spoken = [piece for piece in pieces if piece in words or not _TOKEN.fullmatch(piece)]
    if "".join(spoken) == text:
        return text
    return " ".join(_joined(pieces, words, between).split())


def read_timestamps(text: str, words: FrozenSet[str]) -> Tuple[TimedText, ...]:
    """Return the parts of a text such as `<|0.00|> Ciao.<|1.20|><|2.00|> Sole.<|2.88|>`, with the tokens in them.

    There are none where the timestamps are not in pairs, go back in time, or do not enclose all that is said. `words`
    are tokens that are said.
    """
    parts: List[TimedText] = []
    start, said = None, ""
    for piece in _TOKEN.split(_without_what_was_before(text)):
        seconds = float(piece[2:-2]) if _TIMESTAMP.fullmatch(piece) else None
        if seconds is None and start is not None:
            said += piece
        elif seconds is None:
            if piece.strip() and (piece in words or not _TOKEN.fullmatch(piece)):
                return ()
        elif start is None:
            start, said = seconds, ""
        else:
            parts.append(TimedText(start, seconds, said))
            start = None
    times = [seconds for part in parts for seconds in part[:2]]
    is_whole = start is None or not said.strip()
    return tuple(part for part in parts if part.text.strip()) if is_whole and times == sorted(times) else ()


def _joined(pieces: Sequence[str], words: FrozenSet[str], between: str) -> str:
    """Return the pieces joined without the tokens. A blank that was only there because of a token is removed."""
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
    """Return the tokens that look like special tokens, but that somebody added to the tokenizer as words."""
    return frozenset(
        token["content"]
        for token in _added(tokenizer)
        if not token["special"] and _TOKEN.fullmatch(token["content"]) and not _is_whispers(token["content"])
    )


def special_token_ids(tokenizer: Any) -> Dict[int, str]:
    """Return the special tokens of a tokenizer by their ids. Timestamps are among them."""
    words = words_like_tokens(tokenizer)
    return {
        token["id"]: token["content"]
        for token in _added(tokenizer)
        if token["special"] or (_TOKEN.fullmatch(token["content"]) and token["content"] not in words)
    }


def _added(tokenizer: Any) -> Iterable[Mapping[str, Any]]:
    # Versions of transformers differ in how they mark special tokens. The tokenizer's own JSON does not.
    return list(json.loads(tokenizer.backend_tokenizer.to_str())["added_tokens"])


def _is_whispers(token: str) -> bool:
    return bool(_TIMESTAMP.fullmatch(token)) or token[2:-2] in {*_TASKS, *_MARKS, *LANGUAGES}


def _without_what_was_before(text: str) -> str:
    first, *others = text.split(_BEFORE)
    return first + "".join(part.partition(_START)[2] for part in others)


#: Languages without spaces between words. Their metric counts letters, as in Whisper's own evaluation.
LETTER_LANGUAGES = frozenset(["bo", "ja", "km", "lo", "my", "th", "yue", "zh"])
#: For each opening bracket the brackets that close it. The first one that follows ends what is in brackets.
_CLOSING = {"<": re.compile(r"[>\]]"), "[": re.compile(r"[>\]]"), "(": re.compile(r"\)")}
#: By the brackets that a text may still close. An empty pair () opens nothing.
_OPENING = {"<[(": re.compile(r"[<\[]|\((?!\))"), "<[": re.compile(r"[<\[]"), "(": re.compile(r"\((?!\))")}
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Normalizer:
    """A function that normalizes a text, and its name in status.metric."""

    name: str
    apply: Callable[[str], str]


def normalizer_for(language_code: str, spellings: Mapping[str, str]) -> Normalizer:
    """Return the normalizer of a language. `spellings` turns British spellings into American ones, for English only."""
    if language_code == "en":
        english = EnglishTextNormalizer(dict(spellings))
        # Its rules cost n² for n blanks, and turn them into one in the end. So they are one from the start.
        return Normalizer(
            "english" if spellings else "english without spellings", lambda text: english(_one_blank(text)).strip()
        )
    if language_code in LETTER_LANGUAGES:
        return Normalizer(
            "basic with marks, letter by letter", lambda text: " ".join(letters_of(normalize_gently(text)))
        )
    return Normalizer("basic with marks", normalize_gently)


def label_normalizer(normalization: str, language_code: str) -> Callable[[str], str]:
    """Return the function for train texts that `dataset.textNormalization` names: None, Basic or Whisper.

    In languages without spaces, Whisper is the same as Basic. For comparing, their letters are separated by spaces. A
    text like that would teach the model to write spaces that nobody writes.
    """
    if normalization == "None":
        return str.strip
    if normalization == "Basic" or language_code in LETTER_LANGUAGES:
        return normalize_gently
    return normalizer_for(language_code, {}).apply


def normalize_gently(text: str) -> str:
    """Return a text in lower case without punctuation, symbols and what is in brackets.

    transformers' BasicTextNormalizer also removes the marks of Unicode category M, which are the vowels of Hindi and of
    many other languages. Here they stay.
    """
    spoken = unicodedata.normalize("NFKC", _without_brackets(text.lower()))
    return _one_blank(spoken.translate(_SPOKEN).lower())


class _Spoken(Dict[int, int]):
    """A table for str.translate that learns each character when it first comes: signs become blanks, all else stays."""

    def __missing__(self, code: int) -> int:
        is_sign = unicodedata.category(chr(code))[0] in "SP"
        return self.setdefault(code, ord(" ") if is_sign else code)


_SPOKEN = _Spoken()


def _one_blank(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _without_brackets(text: str) -> str:
    """Return a text without what is in brackets.

    It takes one pass: where no closing bracket follows, no further opening one is looked at.
    """
    kept, position, start, closable = [], 0, 0, "<[("
    while closable:
        opening = _OPENING[closable].search(text, start)
        if opening is None:
            break
        found = _CLOSING[opening[0]].search(text, opening.end())
        if found is None:
            start, closable = opening.end(), closable.replace("(" if opening[0] == "(" else "<[", "")
        else:
            kept.append(text[position : opening.start()])
            start = position = found.end()
    return "".join([*kept, text[position:]])


def letters_of(text: str) -> "list[str]":
    """Return the letters of a text, each with its marks, without spaces."""
    return [letter for letter in regex.findall(r"\X", text) if not letter.isspace()]
