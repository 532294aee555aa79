"""Checks of a data set before the money is spent: what is odd becomes a warning, what cannot be meant is refused."""

from typing import List, Sequence, Tuple

from whisper_finetune_api.languages import LANGUAGES, text_language_code
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.data import clips, sound_check, writing_scripts
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.sound_check import Findings
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.quoting import quoted

#: A data set may hold loan words and names, but not mostly texts that nobody who writes the language could read.
_REFUSED_ABOVE = 0.5


def of_texts(found: Sequence[Clip], spec: WhisperFineTuneSpec) -> Tuple[str, ...]:
    """Return a warning about texts in a foreign script; DatasetInvalid where most are."""
    code = text_language_code(spec.language, spec.task)
    foreign = writing_scripts.foreign_texts((clip.text for clip in found), code)
    if foreign is None:
        return ()
    expected = " or ".join(map(writing_scripts.in_words, writing_scripts.scripts_of(code)))
    said = (
        f"{foreign.foreign} of {foreign.total} texts are mostly in {writing_scripts.in_words(foreign.script)} letters, "
        f"and {LANGUAGES[code]} is written in {expected}; such as: {quoted(foreign.example)}"
    )
    if foreign.foreign > _REFUSED_ABOVE * foreign.total:
        raise TrainerError("DatasetInvalid", f"{said}. Is `language` right, and dataset.textColumn?")
    return (said,)


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
