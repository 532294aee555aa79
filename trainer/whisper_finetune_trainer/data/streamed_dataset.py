"""A data set that is too large to be listed: its first clips are sampled, and the rest is read during the training."""

import logging
from dataclasses import replace
from typing import FrozenSet, List, NamedTuple, Optional, Tuple

from whisper_finetune_api.languages import text_language_code
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.data import clips, data_checks, held_out, source_files
from whisper_finetune_trainer.data.clip_reader import ClipReader, ClipsRead
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.layouts.layout import ShardReader, SplitFiles, StreamLimits
from whisper_finetune_trainer.data.layouts.split_files import Split
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.data.streams import (
    stream_blocks,
    stream_sample,
    streamed_clips,
    train_stream,
)
from whisper_finetune_trainer.data.streams.shard_stream import ShardStream
from whisper_finetune_trainer.data.streams.stream_sample import StreamSample, WantedClips
from whisper_finetune_trainer.data.streams.streamed_clips import ClipChecks
from whisper_finetune_trainer.data.streams.train_stream import TrainStream
from whisper_finetune_trainer.messages.errors import TrainerError, quoted

#: So small a fraction of a stream still holds out enough clips. A larger one only takes clips from the training.
_LARGEST_USUAL_FRACTION = 0.02
_READERS = 8
logger = logging.getLogger(__name__)


def require_sounds(files: SplitFiles, split: Split, limits: StreamLimits) -> ShardReader:
    """Return the reader of shards. Raises DatasetInvalid if those of a stream have no sounds, only paths."""
    reader = files.layout.shards
    if reader is None or not reader.holds_sounds(files, split.columns):
        raise TrainerError(
            "DatasetInvalid",
            f"{quoted(files.name)} of {files.folder.address}: {files.size_bytes / 1e9:.1f} GB of "
            f"shards are more than the {limits.listed_bytes / 1e9:.0f} GB that are listed clip by clip, and column "
            f"{quoted(split.columns.audio)} holds paths; a stream is read from shards that hold the sounds: embed "
            "them, or give the paths in a manifest",
        )
    return reader


def sample_held_out(shards: ShardStream, reader: ClipReader, limits: StreamLimits, wanted: int) -> ClipsRead:
    """Return so many clips of a stream of which nothing is trained on. No more of it is read than they take."""
    checks = ClipChecks(reader, held_out_fraction=1.0)
    sample = stream_sample.take_sample(shards, checks, replace(limits, least_sampled=0), WantedClips(wanted, 0))
    _log(sample, shards.files)
    column = shards.split.columns.language or ""
    return ClipsRead(sample.held_out, sample.drops, sample.rewritten, sample.languages, column)


class GivenClips(NamedTuple):
    """The clips of `evalSplit` and of `validationSplit`, empty where there is no such split."""

    held_out: ClipsRead
    validation: ClipsRead

    @property
    def clips(self) -> List[Clip]:
        """All of them."""
        return [*self.held_out.clips, *self.validation.clips]

    @property
    def drops(self) -> List[Drop]:
        """What was left out of both."""
        return [*self.held_out.drops, *self.validation.drops]


#: The part of a stream by which the best model is chosen, where the spec gives none.
_USUAL_VALIDATION_FRACTION = 0.01
_VALIDATION_CLIPS = 500


def load_stream(
    spec: WhisperFineTuneSpec, shards: ShardStream, reader: ClipReader, limits: StreamLimits, given: GivenClips
) -> Clips:
    """Return the clips of a data set whose train clips are a stream. `given` has those of splits of their own.

    Raises DatasetInvalid.
    """
    dataset = spec.dataset
    fraction = 0.0 if dataset.eval_split is not None else float(dataset.eval_fraction)
    of_validation = _validation_fraction(spec)
    files = shards.files
    logger.info("%s: %.1f GB in %d shards are read as a stream", files.name, files.size_bytes / 1e9, len(files.paths))
    checks = ClipChecks(reader, fraction, of_validation)
    sample = stream_sample.take_sample(shards, checks, limits, _wanted(checks, limits, dataset.max_eval_clips))
    clips.refuse_too_many(sample.drops, sample.rows, dataset.max_dropped_fraction)
    _log(sample, files)
    clips.log_left_out([*given.drops, *sample.drops])
    evaluation = sample.held_out or given.held_out.clips[: dataset.max_eval_clips]
    warnings = _of_texts([*sample.train, *sample.held_out, *sample.validation, *given.clips], spec)
    languages = sample.languages + given.held_out.languages + given.validation.languages
    column = shards.split.columns.language or given.held_out.language_column or given.validation.language_column
    warnings += data_checks.warn_of_languages(languages, column, spec.language)
    sample.held_out_sounds.update(_sounds(given))
    inspected = data_checks.inspect_sounds(sample.inspected, dataset.max_dropped_fraction)
    copies, more = _copies(sample, leave_out=dataset.remove_duplicates)
    warnings += more + _unused(fraction, evaluation) + inspected.warnings
    if dataset.remove_duplicates:
        checks = replace(checks, held_out_sounds=frozenset(sample.held_out_sounds))
    return Clips(
        train=_stream(spec, shards, checks, limits, sample, copies),
        evaluation=_held_out(evaluation, sample, fraction),
        validation=held_out.limit_validation(sample.validation or given.validation.clips, spec),
        dropped=clips.count_drops(given.drops),
        examples=clips.examples_of_drops(given.drops),
        split="Hash" if dataset.eval_split is None else "Given",
        warnings=warnings,
    )


def _stream(
    spec: WhisperFineTuneSpec,
    shards: ShardStream,
    checks: ClipChecks,
    limits: StreamLimits,
    sample: StreamSample,
    copies: List[Drop],
) -> TrainStream:
    """Return the stream of train clips. `copies` are the sampled clips that have the sound of a held-out one."""
    dataset = spec.dataset
    kept = _without(sample.train, copies)
    return TrainStream(
        shards=shards,
        checks=checks,
        limits=limits,
        seed=spec.training.seed,
        max_clips=dataset.max_train_clips,
        max_dropped_fraction=dataset.max_dropped_fraction,
        digest=train_stream.digest_of_shards(shards, limits, checks.validation_fraction),
        sampled=clips.require_clips(kept, "train"),
        sampled_statistics=stream_blocks.statistics_of(kept, [*sample.drops, *copies]),
    )


def _of_texts(found: List[Clip], spec: WhisperFineTuneSpec) -> Tuple[str, ...]:
    texts, code = [clip.text for clip in found], text_language_code(spec.language, spec.task)
    return data_checks.check_texts(texts, code, any_script=spec.dataset.script == "Any")


def _log(sample: StreamSample, files: SplitFiles) -> None:
    for rule, number in sample.rewritten.items():
        logger.info("%s: text rule %s changed %d of %d sampled texts", files.name, rule, number, sample.rows)
    logger.info(
        "%s: %d clips sampled, %d of them held out, %d left out",
        files.name,
        sample.rows,
        len(sample.held_out) + len(sample.validation),
        len(sample.drops),
    )


def _held_out(found: List[Clip], sample: StreamSample, fraction: float) -> Tuple[Clip, ...]:
    if not found and fraction:
        raise TrainerError(
            "DatasetInvalid",
            f"dataset.evalFraction {fraction} chose none of the {sample.rows} sampled clips to be held out; "
            "give a larger fraction, or an evalSplit",
        )
    return clips.require_clips(found, "evaluation")


def _unused(fraction: float, evaluation: List[Clip]) -> Tuple[str, ...]:
    if fraction <= _LARGEST_USUAL_FRACTION:
        return ()
    warning = (
        f"dataset.evalFraction keeps {fraction:.0%} of the stream from the training, and {len(evaluation)} clips of it "
        "are measured; a smaller fraction trains on more"
    )
    return (warning,)


def _validation_fraction(spec: WhisperFineTuneSpec) -> float:
    """Return the part of the stream by which the best model is chosen: none where nothing is, or by another split."""
    if spec.training.eval_every_steps is None or spec.dataset.validation_split is not None:
        return 0.0
    return float(spec.dataset.validation_fraction or _USUAL_VALIDATION_FRACTION)


def _wanted(checks: ClipChecks, limits: StreamLimits, max_eval_clips: Optional[int]) -> WantedClips:
    of_all = max_eval_clips or limits.held_out_clips
    of_validation = max(min(of_all, _VALIDATION_CLIPS), held_out.FEWEST_VALIDATION_CLIPS)
    return WantedClips(
        min(of_all, limits.most_sampled) if checks.held_out_fraction else 0,
        of_validation if checks.validation_fraction else 0,
    )


def _sounds(given: GivenClips) -> FrozenSet[bytes]:
    """Return the digests of the sounds of splits of their own. It reads all of them."""
    with source_files.reader_pool(_READERS) as readers:
        return frozenset(readers.map(streamed_clips.sound_digest, given.clips))


def _copies(sample: StreamSample, *, leave_out: bool) -> Tuple[List[Drop], Tuple[str, ...]]:
    """Return the Drops of sampled train clips whose sound is held out too, or a warning if they stay."""
    copies = sample.copies()
    if leave_out:
        return [held_out.copy_dropped(clip) for clip in copies], ()
    if not copies:
        return [], ()
    warning = (
        f"{len(copies)} of {len(sample.train)} sampled train clips have the sound of a held-out one, such as "
        f"{quoted(copies[0].identifier)}: the result looks better than it is; dataset.removeDuplicates leaves them out"
    )
    return [], (warning,)


def _without(found: List[Clip], drops: List[Drop]) -> List[Clip]:
    names = {drop.identifier for drop in drops}
    return [clip for clip in found if clip.identifier not in names]
