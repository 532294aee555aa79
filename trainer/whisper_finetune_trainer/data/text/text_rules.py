"""What is done to the texts of known data sets before anything else: tags, segments that are no speech, case. Pure."""

import re
from dataclasses import dataclass
from typing import Callable, Dict, FrozenSet, Optional, Tuple

from typing_extensions import Literal

from whisper_finetune_trainer.data.text import special_tokens

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
        spoken = special_tokens.without_special_tokens(text, self.words, self.between_words)
        changed_by: Tuple[ChangedBy, ...] = ("SpecialTokens",) if spoken != text else ()
        text = spoken
        for name in self.names:
            changed = RULES[name].apply(text)
            if changed is None:
                return Outcome("", changed_by, RULES[name].dropped_as)
            changed_by += (name,) if changed != text else ()
            text = changed
        return Outcome(self.normalize(text).strip(), changed_by)
