"""Checks of a data set before the money is spent: what is odd becomes a warning, what cannot be meant is refused."""

import re
from typing import Callable, List, Mapping, Sequence, Tuple

from whisper_finetune_api.languages import LANGUAGES, text_language_code
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.data import clips, sound_check
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.sound_check import Findings
from whisper_finetune_trainer.data.text import writing_scripts
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted

#: A data set may hold loan words and names, but not mostly texts that nobody who writes the language could read.
_REFUSED_ABOVE = 0.5
_SOUND_SUFFIXES = (".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav")
_NO_WORDS: Mapping[str, Callable[[str], bool]] = {
    "are names of sound files": lambda text: text.lower().endswith(_SOUND_SUFFIXES) and " " not in text,
    "hold no letter": lambda text: not any(map(str.isalpha, text)),
}
_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,40}>|&[A-Za-z]{2,8};|&#[0-9]{1,6};")


def _is_misread(text: str) -> bool:
    """Return whether a text is UTF-8 that was read as Windows-1252, such as `perchÃ©`."""
    if text.isascii():
        return False
    try:
        return text.encode("cp1252").decode("utf-8") != text
    except (UnicodeEncodeError, UnicodeDecodeError):
        return False


_UNSPOKEN: Mapping[str, Callable[[str], bool]] = {
    "hold tags or markup, which the model will learn to write": lambda text: bool(_MARKUP.search(text)),
    "are UTF-8 that was read as another encoding": _is_misread,
    "hold control characters": lambda text: any(ord(letter) < ord(" ") and not letter.isspace() for letter in text),
    "hold letters that were lost (\ufffd)": lambda text: "\ufffd" in text,
}


def of_texts(found: Sequence[Clip], spec: WhisperFineTuneSpec) -> Tuple[str, ...]:
    """Return warnings about texts in a foreign script, or that are no words.

    DatasetInvalid where most are, unless the spec says that any script is meant.
    """
    texts = [clip.text for clip in found]
    return (*_of_scripts(texts, spec), *_of_words(texts, spec), *_of_letters(texts))


def _of_scripts(texts: Sequence[str], spec: WhisperFineTuneSpec) -> Tuple[str, ...]:
    code = text_language_code(spec.language, spec.task)
    foreign = writing_scripts.foreign_texts(texts, code)
    if foreign is None:
        return ()
    expected = " or ".join(map(writing_scripts.in_words, writing_scripts.scripts_of(code)))
    said = (
        f"{foreign.foreign} of {foreign.total} texts are mostly in {writing_scripts.in_words(foreign.script)} letters, "
        f"and {LANGUAGES[code]} is written in {expected}; such as: {quoted(foreign.example)}"
    )
    _refuse_most(foreign.foreign, foreign.total, said, spec)
    return (said,)


def _of_words(texts: Sequence[str], spec: WhisperFineTuneSpec) -> Tuple[str, ...]:
    """Return warnings about texts that are no words; DatasetInvalid where most are: another column was meant."""
    warnings: Tuple[str, ...] = ()
    for what, is_so in _NO_WORDS.items():
        found = [text for text in texts if is_so(text)]
        if found:
            said = f"{len(found)} of {len(texts)} texts {what}, such as: {quoted(found[0])}"
            _refuse_most(len(found), len(texts), said, spec)
            warnings = (*warnings, said)
    return warnings


def _of_letters(texts: Sequence[str]) -> Tuple[str, ...]:
    """Return warnings about texts that hold what nobody speaks."""
    found = ((what, [text for text in texts if is_so(text)]) for what, is_so in _UNSPOKEN.items())
    return tuple(f"{len(odd)} of {len(texts)} texts {what}, such as: {quoted(odd[0])}" for what, odd in found if odd)


def _refuse_most(number: int, total: int, said: str, spec: WhisperFineTuneSpec) -> None:
    if number > _REFUSED_ABOVE * total and spec.dataset.script != "Any":
        raise TrainerError(
            "DatasetInvalid",
            f"{said}. Is `language` right, and dataset.textColumn? Where it is meant so, give dataset.script: Any",
        )


def of_sounds(found: Sequence[Clip], spec: WhisperFineTuneSpec) -> Findings:
    """Return what a look at some clips' sound finds; DatasetInvalid where too much of it is silent or broken."""
    return sound_check.look_at_some(found, spec.dataset.max_dropped_fraction)


def held_out_sounds(found: Sequence[Clip], total: int, spec: WhisperFineTuneSpec) -> Tuple[List[Clip], List[Drop]]:
    """Return the held-out clips without those that cannot be decoded, and these, before `maxEvalClips` cuts them.

    DatasetInvalid where they are too many of so many clips. Every evaluation decodes these clips, so all are tried now.
    """
    faults = sound_check.undecodable(found, spec.dataset.max_eval_clips)
    drops = list(faults.values())
    clips.refuse_too_many(drops, total, spec.dataset.max_dropped_fraction)
    return clips.without(found, faults), drops
