"""Load the clips of a run: open its source, and read, check, count and split its rows.

The source is a volume, an object store, the files of a repository, or a data set of the Hub by its id.
"""

import logging
import posixpath
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

import fsspec

from whisper_finetune_api import addresses
from whisper_finetune_api.languages import language_code, text_language_code
from whisper_finetune_api.run import HubCommits
from whisper_finetune_api.v1alpha1 import UNPACKED, Dataset, WhisperFineTuneSpec
from whisper_finetune_trainer.data import clips, data_checks, held_out, streamed_dataset, text_rules
from whisper_finetune_trainer.data.audio.audio_locator import AudioLocator, ExtractedAudio
from whisper_finetune_trainer.data.clip_reader import ClipReader, ClipRules, ClipsRead
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.held_out import ChosenClips
from whisper_finetune_trainer.data.hub import hub_dataset, known_datasets
from whisper_finetune_trainer.data.hub.hub_dataset import HubDataset
from whisper_finetune_trainer.data.hub.known_datasets import KnownDataset
from whisper_finetune_trainer.data.layouts import row_columns, split_files
from whisper_finetune_trainer.data.layouts.layout import LIMITS, SplitFiles, StreamLimits
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames
from whisper_finetune_trainer.data.layouts.split_files import Split
from whisper_finetune_trainer.data.run_clips import Clips, ListedClips
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.data.streamed_dataset import GivenClips
from whisper_finetune_trainer.data.streams.shard_stream import ShardStream
from whisper_finetune_trainer.data.text_rules import TextRules
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.stores import object_store, volumes
from whisper_finetune_trainer.stores.volumes import Mount

_FIELD = "dataset.source"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderSource:
    """A data set in a folder, or in one file of a folder."""

    folder: DataFolder
    file_name: Optional[str] = None
    #: The names of the splits to measure, which are not trained on.
    measured: Tuple[str, ...] = ()
    #: What is known of the data set without the spec. Of a volume or a bucket nothing is known.
    known: Optional[KnownDataset] = None

    def find(self, split: str, *, is_train: bool) -> SplitFiles:
        """Return the files of a split. Raises DatasetNotFound or DatasetInvalid."""
        if self.file_name is not None:
            return split_files.files_of_one(self.folder, self.file_name, split, is_train=is_train)
        return split_files.find_split_files(self.folder, split, is_train=is_train, others=self.measured)


DataSource = Union[FolderSource, HubDataset]


def open_source(dataset: Dataset, language: str, mounted: Mapping[str, str], commits: HubCommits) -> DataSource:
    """Return the source of a run's data. Raises ConfigInvalid, DatasetNotFound or AccessDenied.

    `mounted` has the local folder of each claim. `commits` are the commits of the Hub that the run reads, as far as
    they are chosen already.
    """
    with refusals_explained(dataset.source):
        return _open_source(dataset, language, mounted, commits)


@contextmanager
def refusals_explained(source: str) -> Iterator[None]:
    """Turn the refusals of the volume or store that has the data into TrainerErrors."""
    address = addresses.parse_address(source)
    if address is None:
        yield
    elif address.scheme == "pvc":
        with volumes.readable(source, _FIELD):
            yield
    else:
        with object_store.open_store(source, _FIELD).explained("DatasetNotFound"):
            yield


def _open_source(dataset: Dataset, language: str, mounted: Mapping[str, str], commits: HubCommits) -> DataSource:
    address = addresses.parse_address(dataset.source)
    if address is None:
        known = newest_commits(dataset) if commits.dataset is None else commits
        return HubDataset(dataset, language_code(language), known)
    _refuse_hub_fields(dataset)
    if address.scheme == "pvc":
        path, mount = volumes.local_path(dataset.source, _FIELD, mounted), volumes.mount_of(dataset.source, mounted)
        around = _local(path.parent, posixpath.dirname(dataset.source), mount)
        return _of_folder(_local(path, dataset.source, mount), around, dataset)
    store = object_store.open_store(dataset.source, _FIELD)
    root = _at_commit(store.root, commits.dataset) if address.scheme == "hf" else store.root
    whole = DataFolder(store.filesystem, root, dataset.source, prefix=f"{address.scheme}://")
    parent = posixpath.dirname(root), posixpath.dirname(dataset.source)
    around = DataFolder(store.filesystem, *parent, prefix=f"{address.scheme}://")
    if whole.kind("") is None:
        # The error of this request says whether the bucket or the folder is missing.
        store.filesystem.ls(root)
    found = _of_folder(whole, around, dataset)
    return replace(found, known=known_datasets.find_known_dataset(dataset.source)) if address.scheme == "hf" else found


def newest_commits(dataset: Dataset) -> HubCommits:
    """Return the newest commits of a data set. They are empty for a volume or a bucket.

    Raises DatasetNotFound or AccessDenied.
    """
    address = addresses.parse_address(dataset.source)
    if address is None:
        return hub_dataset.commits_of_repository(dataset.source, dataset.revision)
    if address.scheme != "hf":
        return HubCommits()
    repository = f"{address.authority}/{address.path.split('/', 1)[0]}"
    return HubCommits(dataset=hub_dataset.commits_of_repository(repository, None).dataset)


def _at_commit(root: str, commit: Optional[str]) -> str:
    """Return `datasets/OWNER/NAME@COMMIT/PATH`."""
    kind, owner, name, *path = root.split("/")
    return root if commit is None else "/".join([kind, owner, f"{name}@{commit}", *path])


def _local(path: Path, address: str, mount: Mount) -> DataFolder:
    return DataFolder(fsspec.filesystem("file"), str(path), address, mount=mount)


def _of_folder(folder: DataFolder, around: DataFolder, dataset: Dataset) -> FolderSource:
    kind = folder.kind("")
    if kind is None:
        raise TrainerError("DatasetNotFound", f"{_FIELD}: there is nothing at {folder.address}")
    if kind == "file":
        return FolderSource(around, posixpath.basename(folder.root))
    measured = (dataset.eval_split, dataset.validation_split)
    return FolderSource(folder, measured=tuple(split for split in measured if split is not None))


def _refuse_hub_fields(dataset: Dataset) -> None:
    for name, value in (("config", dataset.config), ("revision", dataset.revision)):
        if value is not None:
            raise TrainerError(
                "ConfigInvalid", f"dataset.{name} is for data sets of the Hub, and dataset.source is {dataset.source}"
            )


@dataclass(frozen=True)
class _Splits:
    """The clips of all splits as they were read. Without a choice of the best model there is no validation clip."""

    train: List[Clip]
    validation: List[Clip]
    evaluation: List[Clip]
    drops: List[Drop]
    #: About rows that name another language than the run's.
    warnings: Tuple[str, ...]

    @property
    def texts(self) -> List[str]:
        """The texts of all clips."""
        return [clip.text for clip in (*self.train, *self.validation, *self.evaluation)]


def load_clips(
    spec: WhisperFineTuneSpec,
    source: DataSource,
    extracted: ExtractedAudio,
    limits: StreamLimits = LIMITS,
    words: FrozenSet[str] = frozenset(),
) -> Clips:
    """Return the clips of a run, to train on and held out.

    The header of each sound is read, and some sounds are decoded to inspect them. Shards larger than the limits are
    only sampled, and their clips become a stream. Sounds that are slow to read from their source go into `extracted`.
    `words` are tokens that look like special tokens, but that the model's tokenizer has as words. They stay in texts.

    Raises DatasetNotFound, DatasetInvalid, ConfigInvalid or AccessDenied. Network faults pass through.
    """
    with refusals_explained(spec.dataset.source):
        files = source.find(spec.dataset.train_split, is_train=True)
        reader = ClipReader(clip_rules(spec, source.known, words), AudioLocator(extracted))
        # Only shards above a size are a stream.
        if files.layout.shards is None or files.size_bytes <= limits.listed_bytes:
            found = _load_list(spec, source, files, reader)
        else:
            found = _load_stream(spec, source, files, reader, limits)
    extracted.close()
    for warning in found.warnings:
        logger.warning("%s", warning)
    return replace(found, scratch_bytes=extracted.used_bytes)


def _load_stream(
    spec: WhisperFineTuneSpec, source: DataSource, files: SplitFiles, reader: ClipReader, limits: StreamLimits
) -> Clips:
    dataset = spec.dataset
    stream = open_shards(files, dataset, source.known, limits)
    given = GivenClips(
        _readable(_read_given(source, dataset.eval_split, dataset, reader), dataset),
        _readable(_read_given(source, _validation_split(spec), dataset, reader), dataset),
    )
    return streamed_dataset.load_stream(spec, stream, reader, limits, given)


def open_shards(
    files: SplitFiles, dataset: Dataset, known: Optional[KnownDataset], limits: StreamLimits
) -> ShardStream:
    """Return the stream of a split whose layout has shards. Raises DatasetInvalid where these hold no sounds."""
    # The first shard has the columns of all.
    split = _open_split(replace(files, paths=files.paths[:1]), dataset, known)
    return ShardStream(files, streamed_dataset.require_sounds(files, split, limits), split, limits.lanes)


def _readable(given: Optional[ClipsRead], dataset: Dataset) -> ClipsRead:
    if given is None:
        return ClipsRead()
    readable, undecodable = data_checks.leave_out_undecodable(given.clips, given.rows, dataset)
    return replace(given, clips=readable, drops=[*given.drops, *undecodable])


def _load_list(spec: WhisperFineTuneSpec, source: DataSource, files: SplitFiles, reader: ClipReader) -> Clips:
    dataset = spec.dataset
    found = _read_both(spec, source, files, reader)
    warnings = data_checks.check_texts(
        found.texts, text_language_code(spec.language, spec.task), any_script=dataset.script == "Any"
    )
    leaks, more = _find_leaks(found, leave_out=dataset.remove_duplicates)
    # Before the limits are applied: a copy of a clip that maxEvalClips leaves out is not trained on either.
    copies = {drop.identifier for drop in leaks}
    train = clips.without_clips(found.train, copies)[: dataset.max_train_clips]
    total = len(found.train) + len(found.validation) + len(found.evaluation)
    readable, undecodable = data_checks.leave_out_undecodable(found.evaluation, total, dataset)
    evaluation = readable[: dataset.max_eval_clips]
    validation, more_undecodable = data_checks.leave_out_undecodable(
        clips.without_clips(found.validation, copies), total, dataset
    )
    sounds = data_checks.inspect_sounds([*train, *evaluation], dataset.max_dropped_fraction)
    drops = [*undecodable, *more_undecodable, *sounds.undecodable.values(), *found.drops, *leaks]
    clips.log_left_out(drops)
    kept = clips.require_clips(clips.without_clips(train, sounds.undecodable), "train")
    return Clips(
        train=ListedClips(kept, spec.training.seed, dataset.max_dropped_fraction),
        evaluation=clips.require_clips(evaluation, "evaluation"),
        validation=held_out.limit_validation(validation, spec),
        dropped=clips.count_drops(drops),
        examples=clips.examples_of_drops(drops),
        split="Fraction" if dataset.eval_split is None else "Given",
        warnings=(*found.warnings, *warnings, *more, *sounds.warnings),
    )


def clip_rules(spec: WhisperFineTuneSpec, known: Optional[KnownDataset], words: FrozenSet[str]) -> ClipRules:
    """Return the rules for rows. `words` are those of `load_clips`."""
    dataset, code = spec.dataset, text_language_code(spec.language, spec.task)
    normalize = text_rules.label_normalizer(dataset.text_normalization, code)
    rules = known.rules if known and dataset.text_rules == "Known" else ()
    between_words = "" if code in text_rules.LETTER_LANGUAGES else " "
    reads_timestamps = spec.training.packing not in UNPACKED
    return ClipRules(
        dataset.max_clip_seconds, TextRules(rules, normalize, words, between_words, reads_timestamps=reads_timestamps)
    )


def _read_both(spec: WhisperFineTuneSpec, source: DataSource, files: SplitFiles, reader: ClipReader) -> _Splits:
    dataset = spec.dataset
    train = read_split(files, dataset, source.known, reader)
    given = _read_given(source, dataset.eval_split, dataset, reader)
    validation = _read_given(source, _validation_split(spec), dataset, reader)
    read = [train, *(each for each in (given, validation) if each is not None)]
    counts = sum((each.languages for each in read), Counter())
    warnings = data_checks.warn_of_languages(counts, train.language_column, spec.language)
    parts = _without_measured(spec, train.clips, given, validation)
    drops = [*(drop for each in read for drop in each.drops), *map(held_out.overlap_dropped, parts.overlapping)]
    return _Splits(parts.train, parts.validation, parts.evaluation, drops, warnings)


class _Parts(NamedTuple):
    train: List[Clip]
    validation: List[Clip]
    evaluation: List[Clip]
    overlapping: List[Clip]


def _without_measured(
    spec: WhisperFineTuneSpec, train: List[Clip], given: Optional[ClipsRead], validation: Optional[ClipsRead]
) -> _Parts:
    """Take held-out and validation clips from those to train on, where they are no splits of their own."""
    dataset, by_speaker = spec.dataset, spec.dataset.hold_out != "Clips"
    if given is not None:
        first = ChosenClips(held_out.draw_clips(train, dataset.max_train_clips), given.clips, [])
    else:
        first = held_out.choose_held_out(train, float(dataset.eval_fraction), by_speaker=by_speaker)
    if validation is not None or spec.training.eval_every_steps is None:
        return _Parts(first.train, validation.clips if validation else [], first.evaluation, first.overlapping)
    second = held_out.choose_validation(
        first.train, dataset.validation_fraction, dataset.max_eval_clips, by_speaker=by_speaker
    )
    return _Parts(second.train, second.evaluation, first.evaluation, [*first.overlapping, *second.overlapping])


def _validation_split(spec: WhisperFineTuneSpec) -> Optional[str]:
    """Return the split by which the best model is chosen, or None where nothing is chosen or it is part of train."""
    return spec.dataset.validation_split if spec.training.eval_every_steps is not None else None


def _find_leaks(found: _Splits, *, leave_out: bool) -> Tuple[List[Drop], Tuple[str, ...]]:
    """Find clips with the sound of a held-out one, and train clips with that of a validation clip."""
    others = [*found.train, *found.validation]
    leaks, warnings = held_out.find_leaks(others, found.evaluation, leave_out=leave_out)
    if not found.validation:
        return leaks, warnings
    names = {drop.identifier for drop in leaks}
    validation = clips.without_clips(found.validation, names)
    train = clips.without_clips(found.train, names)
    more, more_warnings = held_out.find_leaks(train, validation, leave_out=leave_out, part="validation")
    return [*leaks, *more], (*warnings, *more_warnings)


def _read_given(source: DataSource, split: Optional[str], dataset: Dataset, reader: ClipReader) -> Optional[ClipsRead]:
    """Return the clips of a split, in the order from which `maxEvalClips` takes the first, or None without a split."""
    if split is None:
        return None
    found = read_split(source.find(split, is_train=False), dataset, source.known, reader)
    return replace(found, clips=held_out.draw_clips(found.clips, dataset.max_eval_clips))


def read_split(files: SplitFiles, dataset: Dataset, known: Optional[KnownDataset], reader: ClipReader) -> ClipsRead:
    """Return the clips of a split. Raises DatasetInvalid where too many of its rows cannot be used."""
    opened = _open_split(files, dataset, known)
    found = reader.read_clips(opened)
    for rule, number in found.rewritten.items():
        logger.info("%s: text rule %s changed %d of %d texts", opened.name, rule, number, found.rows)
    clips.refuse_too_many(found.drops, found.rows, dataset.max_dropped_fraction)
    return found


def _open_split(files: SplitFiles, dataset: Dataset, known: Optional[KnownDataset]) -> Split:
    usual = ColumnNames((known.audio_column,), (known.text_column,)) if known else None
    return split_files.open_split(
        files, row_columns.names_to_look_for(dataset.audio_column, dataset.text_column, usual)
    )
