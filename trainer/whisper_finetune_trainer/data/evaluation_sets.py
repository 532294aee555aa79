"""Read the further data sets of `spec.evaluations`: by the run's own layouts, rules and checks, as held-out clips.

What cannot be measured ends the run before it trains, and the message names the evaluation. Nothing of these clips is
trained on, and nothing is chosen by them.
"""

import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import FrozenSet, Iterator, List, Mapping, Sequence, Tuple

from whisper_finetune_api.languages import LANGUAGES, language_code, text_language_code
from whisper_finetune_api.run import HubCommits
from whisper_finetune_api.v1alpha1 import EvaluationSet, WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.dataset import FEWEST_EVALUATION_CLIPS
from whisper_finetune_trainer.data import clips, data_checks, dataset, held_out, streamed_dataset
from whisper_finetune_trainer.data.audio.audio_locator import AudioLocator, ExtractedAudio
from whisper_finetune_trainer.data.clip_reader import ClipReader, ClipsRead
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.dataset import DataSource, FolderSource
from whisper_finetune_trainer.data.layouts.layout import LIMITS, StreamLimits
from whisper_finetune_trainer.messages.errors import TrainerError, quoted

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationClips:
    """The clips of one evaluation. `spec` is that of a run whose held-out clips were these."""

    name: str
    spec: WhisperFineTuneSpec
    clips: Tuple[Clip, ...]
    #: What is odd about them, in words.
    warnings: Tuple[str, ...] = ()
    #: How many of them have a sound that is trained on or chosen by.
    copies: int = 0
    #: How many bytes of the scratch folder their extracted sounds take.
    scratch_bytes: int = 0


def spec_of_evaluation(spec: WhisperFineTuneSpec, wanted: EvaluationSet) -> WhisperFineTuneSpec:
    """Return the spec of a run whose held-out clips were those of the evaluation.

    What an evaluation does not say is as the run's own data has it, such as the longest clip.
    """
    fields = {
        "source": wanted.source,
        "config": wanted.config,
        "revision": wanted.revision,
        "eval_split": wanted.split,
        "validation_split": None,
        "audio_column": wanted.audio_column,
        "text_column": wanted.text_column,
        "max_eval_clips": wanted.most_clips,
    }
    return spec.model_copy(
        update={
            "dataset": spec.dataset.model_copy(update=fields),
            "language": wanted.language or spec.language,
            "task": wanted.task or spec.task,
        }
    )


def load_evaluation(
    spec: WhisperFineTuneSpec,
    wanted: EvaluationSet,
    mounted: Mapping[str, str],
    commits: HubCommits,
    extracted: ExtractedAudio,
    limits: StreamLimits = LIMITS,
    words: FrozenSet[str] = frozenset(),
) -> EvaluationClips:
    """Return the clips of an evaluation, at most `maxClips` of them, drawn with a fixed seed.

    The arguments are those of `dataset.open_source` and `dataset.load_clips`. Of shards larger than the limits no more
    is read than so many clips take. Raises DatasetNotFound, DatasetInvalid, ConfigInvalid or AccessDenied.
    """
    own = spec_of_evaluation(spec, wanted)
    with evaluation_named(wanted.name):
        source = dataset.open_source(own.dataset, own.language, mounted, commits)
        with dataset.refusals_explained(own.dataset.source):
            found = _read(own, wanted, source, extracted, limits, words)
            extracted.close()
        warnings = tuple(f"evaluation {wanted.name}: {warning}" for warning in _check(found, own))
        for warning in warnings:
            logger.warning("%s", warning)
        readable, undecodable = data_checks.leave_out_undecodable(found.clips, found.rows, own.dataset)
        clips.log_left_out([*found.drops, *undecodable])
        return EvaluationClips(
            wanted.name, own, tuple(readable[: wanted.most_clips]), warnings, scratch_bytes=extracted.used_bytes
        )


@contextmanager
def evaluation_named(name: str) -> Iterator[None]:
    """Name the evaluation in what is refused. Its fields are called as those of the run's own data set."""
    try:
        yield
    except TrainerError as error:
        raise TrainerError(error.reason, f"evaluation {name}: {error.message}") from error


def _read(
    own: WhisperFineTuneSpec,
    wanted: EvaluationSet,
    source: DataSource,
    extracted: ExtractedAudio,
    limits: StreamLimits,
    words: FrozenSet[str],
) -> ClipsRead:
    # A single manifest, or a folder whose files name no split, is what a run would train on.
    is_whole = wanted.split == "train" or (isinstance(source, FolderSource) and source.file_name is not None)
    files = source.find(wanted.split, is_train=is_whole)
    reader = ClipReader(dataset.clip_rules(own, source.known, words), AudioLocator(extracted))
    if files.layout.shards is not None and files.size_bytes > limits.listed_bytes:
        shards = dataset.open_shards(files, own.dataset, source.known, limits)
        sample = streamed_dataset.sample_held_out(shards, reader, limits, wanted.most_clips)
        clips.refuse_too_many(sample.drops, sample.rows, own.dataset.max_dropped_fraction)
        return sample
    found = dataset.read_split(files, own.dataset, source.known, reader)
    return replace(found, clips=held_out.draw_clips(found.clips, wanted.most_clips))


def _check(found: ClipsRead, own: WhisperFineTuneSpec) -> Tuple[str, ...]:
    """Return warnings about texts and languages. Raises DatasetInvalid where most are not what is said."""
    texts = data_checks.check_texts(
        [clip.text for clip in found.clips],
        text_language_code(own.language, own.task),
        any_script=own.dataset.script == "Any",
    )
    named = Counter({name: number for name, number in found.languages.items() if name in LANGUAGES})
    said = language_code(own.language)
    others = sum(number for name, number in named.items() if name != said)
    if not others:
        return texts
    most = named.most_common(1)[0][0]
    as_said, of_most = LANGUAGES[said].capitalize(), LANGUAGES[most].capitalize()
    told = f"column {found.language_column} names {of_most} in {named[most]} of {sum(named.values())} rows"
    if most != said:
        raise TrainerError("DatasetInvalid", f"{told}, and they would be heard as {as_said}: say its language")
    return (*texts, f"{told} and other languages in {others}, and all are heard as {as_said}")


def require_enough(found: EvaluationClips) -> None:
    """Raise DatasetInvalid where an evaluation has too few clips to show anything."""
    dataset_of = found.spec.dataset
    if len(found.clips) < FEWEST_EVALUATION_CLIPS:
        raise TrainerError(
            "DatasetInvalid",
            f"evaluation {found.name}: {len(found.clips)} clips are left in split {dataset_of.eval_split} of "
            f"{dataset_of.source}; at least {FEWEST_EVALUATION_CLIPS} are needed for an interval that says "
            "anything: give more, or leave the evaluation out",
        )


def count_copies(found: EvaluationClips, learned: Sequence[Clip]) -> EvaluationClips:
    """Return the evaluation with the number of its clips whose sound is learned, and a warning of them.

    `learned` are clips that are trained on or chosen by. Raises DatasetInvalid where the evaluation has no other ones.
    """
    copies: List[Clip] = held_out.find_copies(found.clips, learned)
    if not copies:
        return found
    told = (
        f"evaluation {found.name}: {len(copies)} of {len(found.clips)} clips have the sound of one that is trained on "
        f"or chosen by, such as {quoted(copies[0].identifier)}"
    )
    if len(copies) == len(found.clips):
        raise TrainerError("DatasetInvalid", f"{told}: a model is not measured on what it learned; name other clips")
    warning = f"{told}: its result looks better than it is"
    logger.warning("%s", warning)
    return replace(found, copies=len(copies), warnings=(*found.warnings, warning))
