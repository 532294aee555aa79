"""The run's data: read from the spec's source, checked, counted and split."""

import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import FrozenSet, Iterator, List, Sequence, Tuple

from whisper_finetune_api import addresses
from whisper_finetune_api.languages import text_language_code
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data import clip_reader, clips, data_source, held_out, leakage
from whisper_finetune_trainer.data.audio.extracted_audio import UnpackedSounds
from whisper_finetune_trainer.data.clip_reader import ClipsRead, Rules
from whisper_finetune_trainer.data.clips import Clip, Clips, Drop
from whisper_finetune_trainer.data.data_source import DataSource
from whisper_finetune_trainer.data.hub import known_datasets
from whisper_finetune_trainer.data.layouts import row_columns, splits
from whisper_finetune_trainer.data.layouts.layout import ShardReader, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames
from whisper_finetune_trainer.data.layouts.splits import Split
from whisper_finetune_trainer.data.streams import stream_limits, streamed_dataset
from whisper_finetune_trainer.data.streams.shard_stream import ShardStream
from whisper_finetune_trainer.data.streams.stream_limits import LIMITS, StreamLimits
from whisper_finetune_trainer.data.text import normalizers, row_languages, text_checks
from whisper_finetune_trainer.data.text.text_rules import TextRules
from whisper_finetune_trainer.messages.quoting import quoted
from whisper_finetune_trainer.stores import object_store, volumes

_OVERLAPS = "overlaps a held-out segment"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Splits:
    """Both splits as they were read."""

    train: List[Clip]
    evaluation: List[Clip]
    drops: List[Drop]
    #: Of rows that name other languages than the one that all are trained as.
    warnings: Tuple[str, ...]


def load_clips(config: TrainerConfig, limits: StreamLimits = LIMITS, words: FrozenSet[str] = frozenset()) -> Clips:
    """Return the clips of both splits; DatasetNotFound, DatasetInvalid, ConfigInvalid or AccessDenied say what to mend.

    `words` are tokens that look like special ones, and that the model's tokenizer has as words: they stay in the texts.

    Each sound's header is read; some sounds are decoded to look at them. Shards beyond the limits are looked at only,
    and their clips are a stream. Sounds of Parquet files may take all of the configuration's scratch limit. Network
    faults pass through.
    """
    unpacked = UnpackedSounds(config.scratch_folder, config.scratch_limit_bytes)
    with _explained(config):
        source = data_source.open_source(config)
        files = source.find(config.spec.dataset.train_split, is_train=True)
        rules = _rules(config, unpacked, words)
        reader = stream_limits.stream_reader(files, limits)
        if reader is None:
            found = _load_list(source, files, config, rules)
        else:
            found = _load_stream(source, files, reader, config, rules, limits)
    for warning in found.warnings:
        logger.warning("%s", warning)
    return found


def _load_stream(
    source: DataSource,
    files: SplitFiles,
    reader: ShardReader,
    config: TrainerConfig,
    rules: Rules,
    limits: StreamLimits,
) -> Clips:
    # Its first shard tells the columns.
    split = _open(replace(files, paths=files.paths[:1]), config)
    streamed_dataset.require_sounds(files, reader, split, limits)
    given = _read_given(source, config, rules)
    readable, undecodable = text_checks.held_out_sounds(given.clips, given.rows, config.spec)
    given = replace(given, clips=readable, drops=[*given.drops, *undecodable])
    found = streamed_dataset.load(config, ShardStream(files, reader, split, limits.lanes), rules, limits, given)
    rules.unpacked.close()
    return found


def _load_list(source: DataSource, files: SplitFiles, config: TrainerConfig, rules: Rules) -> Clips:
    dataset, unpacked = config.spec.dataset, rules.unpacked
    found = _read_both(source, files, config, rules)
    unpacked.close()
    warnings = text_checks.of_texts([*found.train, *found.evaluation], config.spec)
    copies, more = _copies(found, thorough=dataset.remove_duplicates)
    # Before the limits: the copy of a clip beyond maxEvalClips is not trained on either.
    train = clips.without(found.train, {drop.identifier for drop in copies})[: dataset.max_train_clips]
    total = len(found.train) + len(found.evaluation)
    readable, undecodable = text_checks.held_out_sounds(found.evaluation, total, config.spec)
    evaluation = readable[: dataset.max_eval_clips]
    sounds = text_checks.of_sounds([*train, *evaluation], config.spec)
    drops = [*undecodable, *sounds.undecodable.values(), *found.drops, *copies]
    clips.log_left_out(drops)
    return Clips(
        train=clips.not_empty(clips.without(train, sounds.undecodable), "train"),
        evaluation=clips.not_empty(evaluation, "evaluation"),
        dropped=clips.count(drops),
        examples=clips.first_examples(drops),
        split="Fraction" if dataset.eval_split is None else "Given",
        warnings=(*found.warnings, *warnings, *more, *sounds.warnings),
        scratch_bytes=unpacked.used_bytes,
    )


@contextmanager
def _explained(config: TrainerConfig) -> Iterator[None]:
    """Turn the refusals of whatever holds the data into TrainerErrors."""
    source = config.spec.dataset.source
    address = addresses.parse_address(source)
    if address is None:
        yield
    elif address.scheme == "pvc":
        with volumes.readable(source, "dataset.source"):
            yield
    else:
        with object_store.open_store(source, "dataset.source").explained("DatasetNotFound"):
            yield


def _rules(config: TrainerConfig, unpacked: UnpackedSounds, words: FrozenSet[str]) -> Rules:
    dataset, code = config.spec.dataset, text_language_code(config.spec.language, config.spec.task)
    known = known_datasets.find(dataset.source)
    normalize = normalizers.label_normalizer(dataset.text_normalization, code)
    rules = known.rules if known and dataset.text_rules == "Known" else ()
    between_words = "" if code in normalizers.LETTER_LANGUAGES else " "
    return Rules(dataset.max_clip_seconds, TextRules(rules, normalize, words, between_words), unpacked)


def _read_both(source: DataSource, files: SplitFiles, config: TrainerConfig, rules: Rules) -> _Splits:
    dataset = config.spec.dataset
    train = _read_split(files, config, rules)
    if dataset.eval_split is None:
        chosen = held_out.choose(train.clips, float(dataset.eval_fraction))
        drops = [*train.drops, *_drops(_OVERLAPS, chosen.overlapping)]
        return _Splits(chosen.train, chosen.evaluation, drops, _of_languages(train, train.languages, config))
    given = _read_given(source, config, rules)
    warnings = _of_languages(train, train.languages + given.languages, config)
    drawn = held_out.drawn(train.clips, dataset.max_train_clips)
    return _Splits(drawn, given.clips, [*train.drops, *given.drops], warnings)


def _of_languages(train: ClipsRead, counts: "Counter[str]", config: TrainerConfig) -> Tuple[str, ...]:
    return row_languages.warnings(counts, train.language_column, config.spec.language)


def _read_given(source: DataSource, config: TrainerConfig, rules: Rules) -> ClipsRead:
    """Return evalSplit in the order that `maxEvalClips` takes; nothing without one."""
    dataset = config.spec.dataset
    if dataset.eval_split is None:
        return ClipsRead()
    found = _read_split(source.find(dataset.eval_split, is_train=False), config, rules)
    return replace(found, clips=held_out.drawn(found.clips, dataset.max_eval_clips))


def _open(files: SplitFiles, config: TrainerConfig) -> Split:
    dataset = config.spec.dataset
    known = known_datasets.find(dataset.source)
    names = row_columns.names_to_look_for(
        dataset.audio_column,
        dataset.text_column,
        ColumnNames((known.audio_column,), (known.text_column,)) if known else None,
    )
    return splits.open_split(files, names)


def _read_split(files: SplitFiles, config: TrainerConfig, rules: Rules) -> ClipsRead:
    opened = _open(files, config)
    found = clip_reader.read_clips(opened, rules)
    for rule, number in found.rewritten.items():
        logger.info("%s: text rule %s changed %d of %d texts", opened.name, rule, number, found.rows)
    clips.refuse_too_many(found.drops, found.rows, config.spec.dataset.max_dropped_fraction)
    return found


def _copies(found: _Splits, *, thorough: bool) -> Tuple[List[Drop], Tuple[str, ...]]:
    """Return the train clips to leave out because their sound is held out too, or warnings where they stay."""
    look = leakage.every if thorough else leakage.likely
    copies = look(found.train, found.evaluation)
    names = {clip.identifier for clip in copies.clips}
    others = [clip for clip in found.train if clip.identifier not in names]
    overlapping = held_out.overlapping(others, found.evaluation)
    if thorough:
        return [*_drops("audio also held out", copies.clips), *_drops(_OVERLAPS, overlapping)], ()
    return [], (
        *_warnings(copies.clips, "have the sound of a held-out one", is_complete=copies.is_complete),
        *_warnings(overlapping, "overlap a held-out segment of their recording", is_complete=True),
    )


def _drops(reason: str, left_out: Sequence[Clip]) -> List[Drop]:
    return [Drop(reason, quoted(clip.identifier), is_expected=True, identifier=clip.identifier) for clip in left_out]


def _warnings(found: Sequence[Clip], what: str, *, is_complete: bool) -> Tuple[str, ...]:
    if not found:
        return ()
    warning = (
        f"{'' if is_complete else 'at least '}{len(found)} train clips {what}, such as {quoted(found[0].identifier)}: "
        "the result looks better than it is; dataset.removeDuplicates leaves them out"
    )
    return (warning,)
