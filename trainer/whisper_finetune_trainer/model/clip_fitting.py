"""Leave out clips that the model cannot take: they must fit into its window and, to train on, into its labels."""

import logging
from dataclasses import dataclass, replace
from typing import List, Mapping, Optional, Sequence, Tuple

from whisper_finetune_api.run import Accelerator
from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_trainer.data import clips, passages, text_rules
from whisper_finetune_trainer.data.clips import Clip, Drop, HeldOutTexts
from whisper_finetune_trainer.data.passages import Passage
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.messages.errors import quoted
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.model import LoadedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Model:
    """The limits of a model that decide about clips."""

    loaded: LoadedModel
    #: Whether the labels have the start token too. On IPUs they do, as in the notebook.
    has_start_token: bool
    special_tokens: Mapping[int, str]
    #: Whether a blank begins the text of a label, because others come before it.
    is_packed: bool = False

    def refuses_to_hear(self, clip: Clip) -> Optional[Drop]:
        """Return why a held-out clip cannot be measured, or None.

        The length of its label does not matter: the evaluation must not depend on a setting of the training.
        """
        return self._special(clip, self._label(clip)) or self._too_long(clip)

    def refuses_to_learn(self, clip: Clip) -> Optional[Drop]:
        """Return why a clip cannot be trained on, or None."""
        label = self._label(clip)
        tokens = len(self._packed_label(clip) if self.is_packed else label)
        return self._special(clip, label) or self._label_too_long(clip, tokens) or self._too_long(clip)

    def cannot_say(self, clip: Clip) -> bool:
        """Return whether the text of a held-out clip is longer than any text that is generated."""
        return len(self._label(clip)) > self.loaded.most_label_tokens

    def _label(self, clip: Clip) -> Sequence[int]:
        return examples.label_ids(self.loaded.tokenizer, self.loaded.prompt_ids, clip.text)

    def _packed_label(self, clip: Clip) -> Sequence[int]:
        return examples.label_of(Passage((clip,), (0.0,)), self.loaded).said

    def _special(self, clip: Clip, label: Sequence[int]) -> Optional[Drop]:
        # The prompt's tokens before the text are one fewer in a label, which has no start token.
        text = label[len(self.loaded.prompt_ids) - 1 : -1]
        token = next((self.special_tokens[token] for token in text if token in self.special_tokens), None)
        if token is None:
            return None
        return Drop(
            "special token",
            f"{quoted(clip.identifier)}: its text holds {quoted(token)}, which no model says",
        )

    def _label_too_long(self, clip: Clip, label_tokens: int) -> Optional[Drop]:
        tokens, limit = label_tokens + self.has_start_token, self.loaded.most_label_tokens
        if tokens <= limit:
            return None
        return Drop(
            "label too long", f"{quoted(clip.identifier)}: its label has {tokens} tokens; at most {limit} are allowed"
        )

    def _too_long(self, clip: Clip) -> Optional[Drop]:
        window = self.loaded.feature_settings.window_seconds
        if clip.seconds <= window:
            return None
        return Drop("too long", f"{quoted(clip.identifier)} lasts {clip.seconds:.1f} s; the model hears {window} s")


_UNPACKED = Training()


def fit_clips(
    loaded_clips: Clips, loaded: LoadedModel, accelerator: Accelerator, training: Training = _UNPACKED
) -> Clips:
    """Return the clips without those that the model cannot take. Raises DatasetInvalid where these are too many.

    Where the training packs its clips, it also raises DatasetInvalid if there is nothing to pack.
    """
    rules = examples.packing_rules(training, loaded)
    special_tokens = text_rules.special_token_ids(loaded.tokenizer)
    whisper = _Model(loaded, accelerator == "ipu", special_tokens, is_packed=rules is not None)
    normalize = text_rules.normalizer_for(loaded.text_language_code, loaded.spellings).apply
    held_out = HeldOutTexts(frozenset(normalize(clip.text) for clip in loaded_clips.evaluation), normalize)
    train, dropped_train = loaded_clips.train.fitted(whisper.refuses_to_learn, held_out)
    evaluation, dropped_eval = _heard(loaded_clips.evaluation, whisper)
    validation, dropped_validation = _heard(loaded_clips.validation, whisper)
    drops = [*dropped_train, *dropped_eval, *dropped_validation]
    clips.log_left_out(drops)
    total = len(loaded_clips.train.listed) + len(loaded_clips.evaluation) + len(loaded_clips.validation)
    clips.refuse_too_many(drops, total, loaded_clips.train.max_dropped_fraction)
    reasons = {**loaded_clips.dropped}
    for reason, number in clips.count_drops(drops).items():
        reasons[reason] = reasons.get(reason, 0) + number
    train.refuse_empty()
    fitted = replace(
        loaded_clips,
        warnings=(*loaded_clips.warnings, *_of_long_texts(evaluation, whisper)),
        train=train,
        evaluation=clips.require_clips(evaluation, "evaluation"),
        validation=tuple(validation),
        dropped=reasons,
        examples=(*loaded_clips.examples, *clips.examples_of_drops(drops)),
    )
    if rules is None:
        return fitted
    epoch = passages.count_passages(train.known, rules, training.seed)
    return replace(fitted, train=train.packed(), packed=epoch)


def fit_heard(found: Sequence[Clip], loaded: LoadedModel, max_dropped_fraction: str) -> Tuple[Clip, ...]:
    """Return the clips that the model can hear, of those that are only measured. Raises DatasetInvalid."""
    whisper = _Model(loaded, has_start_token=False, special_tokens=text_rules.special_token_ids(loaded.tokenizer))
    heard, drops = _heard(found, whisper)
    clips.log_left_out(drops)
    clips.refuse_too_many(drops, len(found), max_dropped_fraction)
    _of_long_texts(heard, whisper)
    return tuple(heard)


def _heard(found: Sequence[Clip], whisper: _Model) -> Tuple[List[Clip], List[Drop]]:
    """Return the clips that can be measured, and the Drops of the others."""
    refused = [whisper.refuses_to_hear(clip) for clip in found]
    return [clip for clip, drop in zip(found, refused) if drop is None], [drop for drop in refused if drop is not None]


def _of_long_texts(evaluation: Sequence[Clip], whisper: _Model) -> Sequence[str]:
    long = sum(map(whisper.cannot_say, evaluation))
    if not long:
        return ()
    warning = (
        f"{long} of {len(evaluation)} held-out texts have more than {whisper.loaded.most_label_tokens} tokens, "
        "training.maxLabelTokens: their ends cannot be heard, and count as errors"
    )
    logger.warning("%s", warning)
    return (warning,)
