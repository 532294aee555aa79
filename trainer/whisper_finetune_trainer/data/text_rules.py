"""What is done to the texts of known data sets before anything else: tags, segments that are no speech, case. Pure."""

import re
from dataclasses import dataclass
from typing import Callable, Dict, Optional, Tuple

from typing_extensions import Literal

RuleName = Literal["PunctuationTags", "NoSpeech", "LowerCase", "UnknownWords", "NotScored", "SpacedApostrophes"]
_PUNCTUATION = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
_PUNCTUATION_TAG = re.compile(r"\s*(" + "|".join(_PUNCTUATION) + ")")
_NO_SPEECH = re.compile(r"<(SIL|MUSIC|NOISE|OTHER)>")
_UNKNOWN_WORD = re.compile(r"\s*<unk>", re.IGNORECASE)
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
    """What a rule is for, and what it makes of a text: None leaves the clip out."""

    meaning: str
    apply: Callable[[str], Optional[str]]


RULES: Dict[RuleName, Rule] = {
    "NoSpeech": Rule("segments with `<SIL>`, `<MUSIC>`, `<NOISE>` or `<OTHER>` in their text are left out", _spoken),
    "NotScored": Rule(f"segments with the text `{_NOT_SCORED}` are left out", _scored),
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
    rules: Tuple[RuleName, ...]
    skipped_by: Optional[RuleName] = None


@dataclass(frozen=True)
class TextRules:
    """The rules of a data set, in order, and then the normalizer that the spec asks for."""

    names: Tuple[RuleName, ...]
    normalize: Callable[[str], str]

    def apply(self, text: str) -> Outcome:
        """Return what becomes of a text."""
        changed_by: Tuple[RuleName, ...] = ()
        for name in self.names:
            changed = RULES[name].apply(text)
            if changed is None:
                return Outcome("", changed_by, name)
            changed_by += (name,) if changed != text else ()
            text = changed
        return Outcome(self.normalize(text).strip(), changed_by)
