"""The run's data: read from the spec's source, checked, counted and split."""

import hashlib
import random
from dataclasses import replace
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

from whisper_finetune_api.languages import language_code
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_api.v1alpha1 import Dataset
from whisper_finetune_trainer import clip_reader, clips, manifest, normalizers, prompt, volumes
from whisper_finetune_trainer.clips import Clip, Clips, Drop
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.model import LoadedModel

#: The held-out fraction is drawn with this seed in every run, whatever training.seed is: results stay comparable.
_SPLIT_SEED = 0


def load_clips(config: TrainerConfig) -> Clips:
    """Return the clips of both splits; DatasetNotFound, DatasetInvalid or ConfigInvalid say what to mend.

    Each audio file's header is read, its sound is not.
    """
    dataset = config.spec.dataset
    _refuse_hub_fields(dataset)
    source = volumes.local_path(dataset.source, "dataset.source", config)
    normalize = normalizers.label_normalizer(dataset.text_normalization, language_code(config.spec.language))
    with volumes.readable(dataset.source, "dataset.source"):
        train, evaluation, drops = _read_both(source, dataset, normalize)
    # Before the limits, so that a clip beyond maxEvalClips is not trained on either when it is a held-out one's copy.
    duplicates = _duplicates(train, evaluation) if dataset.remove_duplicates else []
    copies = {drop.example for drop in duplicates}
    return Clips(
        train=_not_empty([clip for clip in train if clip.identifier not in copies][: dataset.max_train_clips], "train"),
        evaluation=_not_empty(evaluation[: dataset.max_eval_clips], "evaluation"),
        dropped=clips.count([*drops, *duplicates]),
        examples=clips.first_examples([*drops, *duplicates]),
        split="Fraction" if dataset.eval_split is None else "Given",
    )


def fit_clips(loaded_clips: Clips, loaded: LoadedModel, config: TrainerConfig) -> Clips:
    """Leave out clips whose label is over maxLabelTokens, or that the model's window cannot hold; DatasetInvalid."""
    dropped_train = _unfit(loaded_clips.train, loaded, config)
    dropped_eval = _unfit(loaded_clips.evaluation, loaded, config)
    drops = [drop for drop in [*dropped_train, *dropped_eval] if drop is not None]
    total = len(loaded_clips.train) + len(loaded_clips.evaluation)
    clips.refuse_too_many(drops, total, config.spec.dataset.max_dropped_fraction)
    reasons = {**loaded_clips.dropped}
    for reason, number in clips.count(drops).items():
        reasons[reason] = reasons.get(reason, 0) + number
    train = [clip for clip, drop in zip(loaded_clips.train, dropped_train) if not drop]
    evaluation = [clip for clip, drop in zip(loaded_clips.evaluation, dropped_eval) if not drop]
    return replace(
        loaded_clips,
        train=_not_empty(train, "train"),
        evaluation=_not_empty(evaluation, "evaluation"),
        dropped=reasons,
        examples=(*loaded_clips.examples, *clips.first_examples(drops)),
    )


def _refuse_hub_fields(dataset: Dataset) -> None:
    for name, value in (("config", dataset.config), ("revision", dataset.revision)):
        if value is not None:
            raise TrainerError(
                "ConfigInvalid", f"dataset.{name} is for data sets of the Hub, and dataset.source is {dataset.source}"
            )


def _read_both(
    source: Path, dataset: Dataset, normalize: Callable[[str], str]
) -> Tuple[List[Clip], List[Clip], List[Drop]]:
    train, drops = _read_split(source, dataset.train_split, dataset, normalize, is_train=True)
    if dataset.eval_split is None:
        return (*_hold_out(train, float(dataset.eval_fraction)), drops)
    evaluation, eval_drops = _read_split(source, dataset.eval_split, dataset, normalize, is_train=False)
    return train, evaluation, [*drops, *eval_drops]


def _read_split(
    source: Path, split: str, dataset: Dataset, normalize: Callable[[str], str], *, is_train: bool
) -> Tuple[List[Clip], List[Drop]]:
    path = manifest.find(source, dataset.source, split, is_train=is_train)
    rows = manifest.read(path)
    if not rows:
        raise TrainerError("DatasetInvalid", f"{path.name} of {dataset.source} is empty")
    columns = manifest.find_columns(rows, dataset.audio_column, dataset.text_column)
    root = source if source.is_dir() else source.parent
    rules = clip_reader.Rules(root, columns, dataset.max_clip_seconds, normalize)
    found, drops = clip_reader.read_clips(path, rows, rules)
    clips.refuse_too_many(drops, len(rows), dataset.max_dropped_fraction)
    return found, drops


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


def _duplicates(train: Sequence[Clip], evaluation: Sequence[Clip]) -> List[Drop]:
    held_out = {_digest(clip) for clip in evaluation}
    return [Drop("audio also held out", clip.identifier) for clip in train if _digest(clip) in held_out]


def _digest(clip: Clip) -> bytes:
    return hashlib.blake2b(Path(clip.audio).read_bytes()).digest()


def _unfit(found: Sequence[Clip], loaded: LoadedModel, config: TrainerConfig) -> List[Optional[Drop]]:
    limit = min(config.spec.training.max_label_tokens, loaded.network.config.max_target_positions)
    window = loaded.feature_settings.window_seconds
    # On IPUs the labels have the start token too, as the notebook's have.
    more = 1 if config.accelerator == "ipu" else 0
    labels = (prompt.label_ids(loaded.tokenizer, loaded.prompt_ids, clip.text) for clip in found)
    return [_why_unfit(clip, len(label) + more, limit, window) for clip, label in zip(found, labels)]


def _why_unfit(clip: Clip, tokens: int, limit: int, window_seconds: int) -> Optional[Drop]:
    if tokens > limit:
        return Drop("label too long", f"{clip.identifier}: its label has {tokens} tokens; at most {limit} are allowed")
    if clip.seconds > window_seconds:
        return Drop("too long", f"{clip.identifier} lasts {clip.seconds:.1f} s; the model hears {window_seconds} s")
    return None


def _not_empty(found: Sequence[Clip], split: str) -> Tuple[Clip, ...]:
    if not found:
        raise TrainerError("DatasetInvalid", f"no clip is left in the {split} split")
    return tuple(found)
