"""Which clips the model can take: what its window holds and, to train on, what its labels hold."""

from dataclasses import replace
from typing import List, Optional, Sequence

from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data import clips, normalizers
from whisper_finetune_trainer.data.clips import Clip, Clips, Drop
from whisper_finetune_trainer.data.streams.tally import Tally
from whisper_finetune_trainer.data.streams.train_stream import TrainStream
from whisper_finetune_trainer.model import prompt
from whisper_finetune_trainer.model.model import LoadedModel


def fit_clips(loaded_clips: Clips, loaded: LoadedModel, config: TrainerConfig) -> Clips:
    """Leave out clips that the window cannot hold, and train clips whose label is too long; DatasetInvalid.

    A held-out clip needs no label: what is measured must not depend on a setting of the training.
    """
    dropped_train = _unfit(loaded_clips.train, loaded, config)
    stream = loaded_clips.stream and _fitting(loaded_clips.stream, loaded_clips.evaluation, loaded, config)
    window = loaded.feature_settings.window_seconds
    dropped_eval = [_too_long(clip, window) for clip in loaded_clips.evaluation]
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
        train=() if stream else clips.not_empty(train, "train"),
        stream=stream,
        evaluation=clips.not_empty(evaluation, "evaluation"),
        dropped=reasons,
        examples=(*loaded_clips.examples, *clips.first_examples(drops)),
    )


def _fitting(
    stream: TrainStream, evaluation: Sequence[Clip], loaded: LoadedModel, config: TrainerConfig
) -> TrainStream:
    """Return a stream that leaves out what does not fit; of what was looked at it is refused as of a list."""
    drops = [drop for drop in _unfit(stream.looked_at, loaded, config) if drop is not None]
    clips.refuse_too_many(drops, stream.look.rows, config.spec.dataset.max_dropped_fraction)
    dropped = Tally(dropped=clips.count(drops), faults=len(drops), examples=clips.first_examples(drops))
    normalize = normalizers.normalizer_for(loaded.text_language_code, loaded.spellings).apply
    return replace(
        stream,
        checks=replace(stream.checks, refuse=lambda clip: _unfit([clip], loaded, config)[0]),
        look=replace(stream.look.plus(dropped), clips=stream.look.clips - len(drops)),
        normalize=normalize,
        held_out_texts=frozenset(normalize(clip.text) for clip in evaluation),
    )


def _unfit(found: Sequence[Clip], loaded: LoadedModel, config: TrainerConfig) -> List[Optional[Drop]]:
    limit = min(config.spec.training.max_label_tokens, loaded.network.config.max_target_positions)
    window = loaded.feature_settings.window_seconds
    # On IPUs the labels have the start token too, as the notebook's have.
    more = 1 if config.accelerator == "ipu" else 0
    labels = (prompt.label_ids(loaded.tokenizer, loaded.prompt_ids, clip.text) for clip in found)
    return [
        _label_too_long(clip, len(label) + more, limit) or _too_long(clip, window) for clip, label in zip(found, labels)
    ]


def _label_too_long(clip: Clip, tokens: int, limit: int) -> Optional[Drop]:
    if tokens <= limit:
        return None
    return Drop("label too long", f"{clip.identifier}: its label has {tokens} tokens; at most {limit} are allowed")


def _too_long(clip: Clip, window_seconds: int) -> Optional[Drop]:
    if clip.seconds > window_seconds:
        return Drop("too long", f"{clip.identifier} lasts {clip.seconds:.1f} s; the model hears {window_seconds} s")
    return None
