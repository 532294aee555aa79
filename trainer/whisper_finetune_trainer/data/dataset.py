"""The clips of a run, read from the spec's source, checked, counted and split."""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from typing import FrozenSet, List, Optional, Tuple

from whisper_finetune_api.languages import text_language_code
from whisper_finetune_api.v1alpha1 import Dataset, WhisperFineTuneSpec
from whisper_finetune_trainer.data import clips, data_source, held_out, leakage, sound_check, streamed_dataset
from whisper_finetune_trainer.data.audio.audio_locator import AudioLocator
from whisper_finetune_trainer.data.audio.extracted_audio import ExtractedAudio
from whisper_finetune_trainer.data.clip_reader import ClipReader, ClipRules, ClipsRead
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.data_source import DataSource
from whisper_finetune_trainer.data.hub import known_datasets
from whisper_finetune_trainer.data.layouts import row_columns, split_files
from whisper_finetune_trainer.data.layouts.layout import ShardReader, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames
from whisper_finetune_trainer.data.layouts.split_files import Split
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.data.streams import stream_limits
from whisper_finetune_trainer.data.streams.shard_stream import ShardStream
from whisper_finetune_trainer.data.streams.stream_limits import LIMITS, StreamLimits
from whisper_finetune_trainer.data.text import normalizers, row_languages, text_checks
from whisper_finetune_trainer.data.text.text_rules import TextRules
from whisper_finetune_trainer.data.train_clips import ListedClips

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Splits:
    """Both splits as they were read."""

    train: List[Clip]
    evaluation: List[Clip]
    drops: List[Drop]
    #: Of rows that name other languages than the one that all are trained as.
    warnings: Tuple[str, ...]

    @property
    def texts(self) -> List[str]:
        """Return what is said in all clips."""
        return [clip.text for clip in (*self.train, *self.evaluation)]


def load_clips(
    spec: WhisperFineTuneSpec,
    source: DataSource,
    extracted: ExtractedAudio,
    limits: StreamLimits = LIMITS,
    words: FrozenSet[str] = frozenset(),
) -> Clips:
    """Return the clips of both splits. DatasetNotFound, DatasetInvalid, ConfigInvalid or AccessDenied say what to mend.

    `words` are tokens that look like special ones, and that the model's tokenizer has as words: they stay in the texts.

    Each sound's header is read, and some sounds are decoded to inspect them. Shards beyond the limits are sampled only,
    and their clips are a stream. `extracted` takes the sounds that cost much to come by where they lie. Network faults
    pass through.
    """
    with data_source.refusals_explained(spec.dataset.source):
        files = source.find(spec.dataset.train_split, is_train=True)
        reader = ClipReader(_rules(spec, words), AudioLocator(extracted))
        shards = stream_limits.stream_reader(files, limits)
        if shards is None:
            found = _load_list(spec, source, files, reader)
        else:
            found = _load_stream(spec, source, files, shards, reader, limits)
    extracted.close()
    for warning in found.warnings:
        logger.warning("%s", warning)
    return replace(found, scratch_bytes=extracted.used_bytes)


def _load_stream(
    spec: WhisperFineTuneSpec,
    source: DataSource,
    files: SplitFiles,
    shards: ShardReader,
    reader: ClipReader,
    limits: StreamLimits,
) -> Clips:
    dataset = spec.dataset
    # Its first shard tells the columns.
    split = _open_split(replace(files, paths=files.paths[:1]), dataset)
    streamed_dataset.require_sounds(files, shards, split, limits)
    given = _read_given(source, dataset, reader) or ClipsRead()
    readable, undecodable = sound_check.leave_out_undecodable(given.clips, given.rows, dataset)
    given = replace(given, clips=readable, drops=[*given.drops, *undecodable])
    return streamed_dataset.load_stream(spec, ShardStream(files, shards, split, limits.lanes), reader, limits, given)


def _load_list(spec: WhisperFineTuneSpec, source: DataSource, files: SplitFiles, reader: ClipReader) -> Clips:
    dataset = spec.dataset
    found = _read_both(spec, source, files, reader)
    warnings = text_checks.check_texts(
        found.texts, text_language_code(spec.language, spec.task), any_script=dataset.script == "Any"
    )
    leaks, more = leakage.find_leaks(found.train, found.evaluation, leave_out=dataset.remove_duplicates)
    # Before the limits: the copy of a clip beyond maxEvalClips is not trained on either.
    train = clips.without_clips(found.train, {drop.identifier for drop in leaks})[: dataset.max_train_clips]
    total = len(found.train) + len(found.evaluation)
    readable, undecodable = sound_check.leave_out_undecodable(found.evaluation, total, dataset)
    evaluation = readable[: dataset.max_eval_clips]
    sounds = sound_check.inspect_sounds([*train, *evaluation], dataset.max_dropped_fraction)
    drops = [*undecodable, *sounds.undecodable.values(), *found.drops, *leaks]
    clips.log_left_out(drops)
    kept = clips.require_clips(clips.without_clips(train, sounds.undecodable), "train")
    return Clips(
        train=ListedClips(kept, spec.training.seed, dataset.max_dropped_fraction),
        evaluation=clips.require_clips(evaluation, "evaluation"),
        dropped=clips.count_drops(drops),
        examples=clips.examples_of_drops(drops),
        split="Fraction" if dataset.eval_split is None else "Given",
        warnings=(*found.warnings, *warnings, *more, *sounds.warnings),
    )


def _rules(spec: WhisperFineTuneSpec, words: FrozenSet[str]) -> ClipRules:
    dataset, code = spec.dataset, text_language_code(spec.language, spec.task)
    known = known_datasets.find_known_dataset(dataset.source)
    normalize = normalizers.label_normalizer(dataset.text_normalization, code)
    rules = known.rules if known and dataset.text_rules == "Known" else ()
    between_words = "" if code in normalizers.LETTER_LANGUAGES else " "
    return ClipRules(dataset.max_clip_seconds, TextRules(rules, normalize, words, between_words))


def _read_both(spec: WhisperFineTuneSpec, source: DataSource, files: SplitFiles, reader: ClipReader) -> _Splits:
    dataset = spec.dataset
    train = _read_split(files, dataset, reader)
    given = _read_given(source, dataset, reader)
    counts = train.languages + (given.languages if given else Counter())
    warnings = row_languages.warn_of_languages(counts, train.language_column, spec.language)
    if given is None:
        chosen = held_out.choose_held_out(train.clips, float(dataset.eval_fraction))
        drops = [*train.drops, *map(leakage.overlap_dropped, chosen.overlapping)]
        return _Splits(chosen.train, chosen.evaluation, drops, warnings)
    drawn = held_out.draw_clips(train.clips, dataset.max_train_clips)
    return _Splits(drawn, given.clips, [*train.drops, *given.drops], warnings)


def _read_given(source: DataSource, dataset: Dataset, reader: ClipReader) -> Optional[ClipsRead]:
    """Return evalSplit in the order that `maxEvalClips` takes, None without one."""
    if dataset.eval_split is None:
        return None
    found = _read_split(source.find(dataset.eval_split, is_train=False), dataset, reader)
    return replace(found, clips=held_out.draw_clips(found.clips, dataset.max_eval_clips))


def _read_split(files: SplitFiles, dataset: Dataset, reader: ClipReader) -> ClipsRead:
    opened = _open_split(files, dataset)
    found = reader.read_clips(opened)
    for rule, number in found.rewritten.items():
        logger.info("%s: text rule %s changed %d of %d texts", opened.name, rule, number, found.rows)
    clips.refuse_too_many(found.drops, found.rows, dataset.max_dropped_fraction)
    return found


def _open_split(files: SplitFiles, dataset: Dataset) -> Split:
    known = known_datasets.find_known_dataset(dataset.source)
    usual = ColumnNames((known.audio_column,), (known.text_column,)) if known else None
    return split_files.open_split(
        files, row_columns.names_to_look_for(dataset.audio_column, dataset.text_column, usual)
    )
