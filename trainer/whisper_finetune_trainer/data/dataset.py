"""The run's data: read from the spec's source, checked, counted and split."""

import logging
import random
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator, List, Sequence, Tuple

from whisper_finetune_api import addresses
from whisper_finetune_api.languages import language_code
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data import (
    clip_reader,
    clips,
    data_checks,
    data_source,
    datasets_table,
    duplicates,
    manifest,
    normalizers,
    splits,
)
from whisper_finetune_trainer.data.clip_reader import Rules
from whisper_finetune_trainer.data.clips import Clip, Clips, Drop
from whisper_finetune_trainer.data.data_source import DataSource
from whisper_finetune_trainer.data.text_rules import TextRules
from whisper_finetune_trainer.data.unpacked_sounds import UnpackedSounds
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.stores import object_store, volumes

#: The held-out fraction is drawn with this seed in every run, whatever training.seed is: results stay comparable.
_SPLIT_SEED = 0
#: Sounds of Parquet files may take this part of the scratch space; the rest is the encoder outputs'.
_SCRATCH_PART = 2
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Splits:
    """Both splits as they were read."""

    train: List[Clip]
    evaluation: List[Clip]
    drops: List[Drop]


def load_clips(config: TrainerConfig) -> Clips:
    """Return the clips of both splits; DatasetNotFound, DatasetInvalid, ConfigInvalid or AccessDenied say what to mend.

    Each sound's header is read; some sounds are decoded to look at them. Network faults pass through.
    """
    dataset = config.spec.dataset
    unpacked = UnpackedSounds(config.scratch_folder, config.scratch_limit_bytes // _SCRATCH_PART)
    with _explained(config):
        found = _read_both(data_source.open_source(config), config, _rules(config, unpacked))
        unpacked.close()
        warnings = data_checks.of_texts([*found.train, *found.evaluation], config.spec)
        copies, more = _copies(found, thorough=dataset.remove_duplicates)
        # Before the limits: the copy of a clip beyond maxEvalClips is not trained on either.
        dropped_names = {drop.example for drop in copies}
        train = [clip for clip in found.train if clip.identifier not in dropped_names][: dataset.max_train_clips]
        evaluation = found.evaluation[: dataset.max_eval_clips]
        warnings += more + data_checks.of_sounds([*train, *evaluation], config.spec)
    for warning in warnings:
        logger.warning("%s", warning)
    return Clips(
        train=clips.not_empty(train, "train"),
        evaluation=clips.not_empty(evaluation, "evaluation"),
        dropped=clips.count([*found.drops, *copies]),
        examples=clips.first_examples([*found.drops, *copies]),
        split="Fraction" if dataset.eval_split is None else "Given",
        warnings=warnings,
        scratch_bytes=unpacked.used_bytes,
    )


@contextmanager
def _explained(config: TrainerConfig) -> Iterator[None]:
    """Turn the refusals of whatever holds the data into TrainerErrors."""
    source = config.spec.dataset.source
    address = addresses.parse(source)
    if address is None:
        yield
    elif address.scheme == "pvc":
        with volumes.readable(source, "dataset.source"):
            yield
    else:
        with object_store.open_store(source, "dataset.source").explained("DatasetNotFound"):
            yield


def _rules(config: TrainerConfig, unpacked: UnpackedSounds) -> Rules:
    dataset = config.spec.dataset
    known = datasets_table.find(dataset.source)
    normalize = normalizers.label_normalizer(dataset.text_normalization, language_code(config.spec.language))
    return Rules(dataset.max_clip_seconds, TextRules(known.rules if known else (), normalize), unpacked)


def _read_both(source: DataSource, config: TrainerConfig, rules: Rules) -> _Splits:
    dataset = config.spec.dataset
    train, drops = _read_split(source, dataset.train_split, config, rules, is_train=True)
    if dataset.eval_split is None:
        return _Splits(*_hold_out(train, float(dataset.eval_fraction)), drops)
    evaluation, eval_drops = _read_split(source, dataset.eval_split, config, rules, is_train=False)
    return _Splits(train, evaluation, [*drops, *eval_drops])


def _read_split(
    source: DataSource, split: str, config: TrainerConfig, rules: Rules, *, is_train: bool
) -> Tuple[List[Clip], List[Drop]]:
    dataset = config.spec.dataset
    known = datasets_table.find(dataset.source)
    opened = splits.open_split(
        source.find(split, is_train=is_train),
        manifest.names_of(dataset.audio_column, known.audio_column if known else None, manifest.AUDIO_COLUMNS),
        manifest.names_of(dataset.text_column, known.text_column if known else None, manifest.TEXT_COLUMNS),
    )
    found = clip_reader.read_clips(opened, rules)
    for rule, number in found.rewritten.items():
        logger.info("%s: text rule %s changed %d of %d texts", opened.name, rule, number, found.rows)
    clips.refuse_too_many(found.drops, found.rows, dataset.max_dropped_fraction)
    return found.clips, found.drops


def _hold_out(found: Sequence[Clip], fraction: float) -> Tuple[List[Clip], List[Clip]]:
    shuffled = list(found)
    random.Random(_SPLIT_SEED).shuffle(shuffled)  # noqa: S311 -- nothing secret
    held_out = round(len(shuffled) * fraction)
    if not 0 < held_out < len(shuffled):
        raise TrainerError(
            "DatasetInvalid",
            f"dataset.evalFraction {fraction} of {len(shuffled)} clips leaves {len(shuffled) - held_out} to train on "
            f"and {held_out} to measure on; give more clips, another fraction, or an evalSplit",
        )
    return shuffled[held_out:], shuffled[:held_out]


def _copies(found: _Splits, *, thorough: bool) -> Tuple[List[Drop], Tuple[str, ...]]:
    """Return the train clips to leave out because their sound is held out too, or a warning where they stay."""
    if thorough:
        copies = duplicates.every(found.train, found.evaluation).clips
        return [Drop("audio also held out", clip.identifier, is_expected=True) for clip in copies], ()
    likely = duplicates.likely(found.train, found.evaluation)
    if not likely.clips:
        return [], ()
    number = f"{'' if likely.is_complete else 'at least '}{len(likely.clips)}"
    warning = (
        f"{number} train clips have the sound of a held-out one, such as {likely.clips[0].identifier}: the result "
        "looks better than it is; dataset.removeDuplicates leaves them out"
    )
    return [], (warning,)
