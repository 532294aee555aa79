"""The network's inputs for clips and passages: features and labels.

Another clip replaces one that turns out to be undecodable. In a passage of several clips its place stays silent.

The features are equal to WhisperFeatureExtractor's. Their cost depends on the speech, and not on the window.

Which clip replaces another is a function of the data set alone. So a resumed run, and every process that reads, finds
the same one.
"""

import logging
from functools import lru_cache
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank
from typing_extensions import TypeAlias

from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_trainer.data import clips, text_rules
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.decoding import FRAMES_PER_SECOND, HOP, SAMPLE_RATE, UndecodableError
from whisper_finetune_trainer.data.clips import Clip, ClipStatistics
from whisper_finetune_trainer.data.passages import PackingRules, Passage, TrainItem
from whisper_finetune_trainer.messages.errors import TrainerError, quoted
from whisper_finetune_trainer.model import generation
from whisper_finetune_trainer.model.model import LoadedModel

Samples: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: The label of a position after the end of a text. It does not count in the loss.
IGNORED = -100
_FFT = 400
#: The smallest log-mel value of a clip is this much below its maximum. Smaller ones are raised to it.
_DYNAMIC_RANGE = 8.0
_SMALLEST_POWER = 1e-10
_LOG_OF_SMALLEST_POWER = -10.0


def samples_of_item(item: TrainItem) -> Samples:
    """Return the samples (n,) of a clip or of a passage. Raises DatasetInvalid if they cannot be read."""
    if isinstance(item, Clip):
        return decoding.read_samples(item.audio)
    return _joined(item, [decoding.read_samples(clip.audio) for clip in item.clips])


def _joined(passage: Passage, sounds: Sequence[Samples]) -> Samples:
    """Return the sounds of a passage's clips, each where it begins, with silence between them."""
    if len(sounds) == 1 and not passage.pauses[0]:
        return sounds[0]
    joined = np.zeros(round(passage.seconds * SAMPLE_RATE), dtype=np.float32)
    for start, samples in zip(passage.starts(), sounds):
        # The length in a sound's header may differ from what is decoded. What is too long is cut.
        at = joined[round(start * SAMPLE_RATE) :][: len(samples)]
        at[:] = samples[: len(at)]
    return joined


def features_of(
    items: Sequence[TrainItem],
    window_seconds: int,
    mel_bins: int,
    samples_of: Callable[[TrainItem], Samples] = samples_of_item,
) -> torch.Tensor:
    """Return float32 features (items, mel_bins, 100 * window_seconds). Raises what `samples_of` raises."""
    return torch.stack([log_mel(samples_of(item), mel_bins, window_seconds) for item in items])


def log_mel(samples: np.ndarray, mel_bins: int, window_seconds: int) -> torch.Tensor:
    """Return float32 features (mel_bins, 100 * window_seconds) of mono speech at 16 kHz. Longer speech is cut.

    The short-time Fourier transform runs over the speech only. In the silence after it, every value is the floor, which
    is known beforehand. Call it outside of autocast.
    """
    frames = window_seconds * FRAMES_PER_SECOND
    voiced = min(frames, len(samples) // HOP + 3)
    logarithms = _log_mel_of_frames(torch.from_numpy(samples), voiced, frames, mel_bins)
    floor = float(logarithms.max()) - _DYNAMIC_RANGE
    features = torch.full((mel_bins, frames), max(floor, _LOG_OF_SMALLEST_POWER))
    features[:, :voiced] = logarithms.clamp(min=floor)
    return (features + 4.0) / 4.0


def _log_mel_of_frames(samples: torch.Tensor, voiced: int, frames: int, mel_bins: int) -> torch.Tensor:
    window_samples = frames * HOP
    # Half a transform more than the last frame's centre, so that the reflection at the end is after all frames that are
    # kept. If the speech fills the window, the reflection is at the window's end, as in the original.
    length = min(window_samples, voiced * HOP + _FFT // 2)
    padded = torch.zeros(length)
    kept = min(len(samples), length)
    padded[:kept] = samples[:kept]
    spectrum = torch.stft(padded, _FFT, HOP, window=_hann_window(), return_complex=True)[..., :voiced]
    power = (spectrum.abs() ** 2).contiguous()
    return (_mel_filters(mel_bins).T @ power).clamp(min=_SMALLEST_POWER).log10()


@lru_cache(maxsize=1)
def _hann_window() -> torch.Tensor:
    return torch.hann_window(_FFT)


@lru_cache(maxsize=4)
def _mel_filters(mel_bins: int) -> torch.Tensor:
    filters = mel_filter_bank(
        num_frequency_bins=1 + _FFT // 2,
        num_mel_filters=mel_bins,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(filters).float()


def label_ids(tokenizer: Any, prompt: Tuple[int, ...], text: str) -> List[int]:
    """Return the label of a text: the prompt without the start token, the text, and the end token.

    The model itself puts the start token before the labels. Here it would be doubled.
    """
    return [*prompt[1:], *tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]


class Label(NamedTuple):
    """The tokens that the decoder is given before the start token, and those that it is to say after it."""

    given: List[int]
    said: List[int]

    def counted(self) -> List[int]:
        """Return the labels. What is given does not count in the loss."""
        return [IGNORED] * len(self.given) + self.said

    def inputs(self, start_id: int) -> List[int]:
        """Return the decoder's inputs, as many as there are labels."""
        return [*self.given, start_id, *self.said[:-1]]


def label_of(item: TrainItem, loaded: LoadedModel) -> Label:
    """Return the label of a clip or a passage. It has at most `most_label_tokens` tokens with what is given."""
    if isinstance(item, Clip):
        return Label([], label_ids(loaded.tokenizer, loaded.prompt_ids, item.text))
    said = _with_timestamps(item, loaded) if item.has_timestamps else _without_timestamps(item, loaded)
    return Label(_given_before(item.text_before, loaded, loaded.most_label_tokens - len(said)), said)


def _without_timestamps(passage: Passage, loaded: LoadedModel) -> List[int]:
    texts = [token for clip in passage.clips for token in text_ids(clip.text, loaded)]
    return [*loaded.prompt_ids[1:], *texts, loaded.tokenizer.eos_token_id]


def _with_timestamps(passage: Passage, loaded: LoadedModel) -> List[int]:
    """Return a label as in Whisper's own data: `<|0.00|> Ciao.<|1.20|><|2.00|> Sole.<|2.88|>` and the end."""
    *fixed, no_timestamps = loaded.prompt_ids
    last = loaded.feature_settings.window_seconds * generation.TIMESTAMPS_PER_SECOND
    said = fixed[1:]
    for start, end, text in passage.texts():
        first, second = (min(round(seconds * generation.TIMESTAMPS_PER_SECOND), last) for seconds in (start, end))
        said += [no_timestamps + 1 + first, *text_ids(text, loaded), no_timestamps + 1 + second]
    return [*said, loaded.tokenizer.eos_token_id]


def text_ids(text: str, loaded: LoadedModel) -> List[int]:
    """Return the tokens of a text that others come before or after. As in Whisper's own data, a blank begins it.

    In languages without spaces nothing does.
    """
    blank = "" if loaded.text_language_code in text_rules.LETTER_LANGUAGES else " "
    return list(loaded.tokenizer(blank + text, add_special_tokens=False).input_ids)


def _given_before(text: str, loaded: LoadedModel, room: int) -> List[int]:
    """Return a prompt of at most `room` tokens with the end of a text, or none where there is no room for any of it."""
    # As Whisper does, no more than half of what the decoder takes.
    most = min(room, loaded.network.config.max_target_positions // 2) - 1
    if not text or most < 1:
        return []
    return [loaded.tokenizer.convert_tokens_to_ids(generation.BEFORE), *text_ids(text, loaded)[-most:]]


#: How many texts have their number of tokens kept, because each epoch asks for it.
_COUNTED_TEXTS = 200_000


def packing_rules(training: Training, loaded: LoadedModel) -> Optional[PackingRules]:
    """Return how a training packs its clips, or None where each is trained on alone."""
    if training.packing is None or training.packing == "None":
        return None

    @lru_cache(maxsize=_COUNTED_TEXTS)
    def tokens_of(text: str) -> int:
        return len(text_ids(text, loaded))

    # The prompt without the start token, and the end.
    fixed = len(loaded.prompt_ids)
    return PackingRules(
        training.packing,
        loaded.feature_settings.window_seconds,
        loaded.most_label_tokens - fixed,
        tokens_of,
        training.timestamp_part,
        training.prompt_part,
    )


class Targets(NamedTuple):
    """Labels (items, tokens of the longest one), padded with IGNORED, and the decoder's inputs of the same shape."""

    labels: torch.Tensor
    inputs: torch.Tensor


def targets_of(items: Sequence[TrainItem], loaded: LoadedModel) -> Targets:
    """Return the labels of clips or passages, and the decoder's inputs for them."""
    config = loaded.network.config
    found = [label_of(item, loaded) for item in items]
    rows = [torch.tensor(label.counted()) for label in found]
    labels = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED)
    inputs = decoder_inputs(labels, config.decoder_start_token_id, config.pad_token_id)
    for row, label in enumerate(found):
        given = [*label.given, config.decoder_start_token_id]
        inputs[row, : len(given)] = torch.tensor(given)
    return Targets(labels, inputs)


def decoder_inputs(labels: torch.Tensor, start_id: int, padding_id: int) -> torch.Tensor:
    """Return the decoder's inputs (clips, tokens): the start token, then all labels but the last."""
    shifted = labels.new_full(labels.shape, start_id)
    shifted[:, 1:] = labels[:, :-1]
    return shifted.masked_fill(shifted == IGNORED, padding_id)


def tokens(labels: List[torch.Tensor]) -> int:
    """Return how many tokens of these labels count in the loss."""
    return sum(int((rows != IGNORED).sum()) for rows in labels)


#: At most so many clips are named in the log.
_NAMED = 20
logger = logging.getLogger(__name__)


class ReplacementClips:
    """Replaces a clip that cannot be decoded by the next clip of the list that can, and whose window is not longer.

    Passages of several clips lose it, and the others stay where they are.
    """

    def __init__(self, train: Sequence[Clip], max_dropped_fraction: str, window_of: Callable[[Clip], int]) -> None:
        """`window_of` returns the window of a clip in seconds."""
        self._train = train
        self._max_dropped_fraction = max_dropped_fraction
        self._window_of = window_of
        # Shared with the processes of a loader, because each of them reads only a part of the clips.
        self._is_undecodable = torch.zeros(len(train), dtype=torch.bool)
        self._is_undecodable.share_memory_()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._found: Dict[Clip, Clip] = {}
        self._left: Dict[Passage, Passage] = {}

    def of(self, item: TrainItem) -> TrainItem:
        """Return what is trained on: the item itself or, if a clip of it cannot be decoded, what replaces it."""
        return self._found.get(item, item) if isinstance(item, Clip) else self._left.get(item, item)

    def read(self, item: TrainItem) -> Samples:
        """Return the samples (n,) of what is trained on. Raises what `take` raises."""
        return self.take(item)[1]

    def take(self, item: TrainItem) -> Tuple[TrainItem, Samples]:
        """Return what is trained on, which is `item` or what replaces it, and its samples (n,).

        Raises DatasetInvalid if more clips than `maxDroppedFraction` allows cannot be decoded, or if none fits.
        """
        return self._take_clip(item) if isinstance(item, Clip) else self._take_passage(item)

    def _take_passage(self, passage: Passage) -> Tuple[Passage, Samples]:
        taken = self._left.get(passage, passage)
        sounds = [self._heard(clip) for clip in taken.clips]
        if all(samples is not None for samples in sounds):
            return taken, _joined(taken, [samples for samples in sounds if samples is not None])
        left = [index for index, samples in enumerate(sounds) if samples is not None]
        if left:
            self._left[passage] = taken.with_clips(left)
        else:
            # Another clip's label may have no room for timestamps.
            self._left[passage] = Passage((self._take_clip(taken.clips[0])[0],), (0.0,), False, taken.text_before)
        return self._take_passage(passage)

    def _heard(self, clip: Clip) -> Optional[Samples]:
        """Return the samples (n,) of a clip, or None if it cannot be decoded."""
        try:
            return decoding.read_samples(clip.audio)
        except UndecodableError as error:
            if not self._train:
                raise
            self._note(self._train.index(clip), error)
            return None

    def _take_clip(self, clip: Clip) -> Tuple[Clip, Samples]:
        taken = self._found.get(clip, clip)
        try:
            return taken, decoding.read_samples(taken.audio)
        except UndecodableError as error:
            if not self._train:
                raise
            index = self._train.index(clip)
            self._note(index, error)
        for following in self._following(index):
            other = self._train[following]
            try:
                samples = decoding.read_samples(other.audio)
            except UndecodableError as error:
                self._note(following, error)
                continue
            self._found[clip] = other
            return other, samples
        raise TrainerError(
            "DatasetInvalid",
            f"{quoted(clip.identifier)} cannot be decoded, and no clip that is as short can replace it",
        )

    def _following(self, index: int) -> Iterator[int]:
        """Yield the indexes of the clips that may replace one, in the order of the list from the next one on."""
        window = self._window_of(self._train[index])
        for following in (*range(index + 1, len(self._train)), *range(index)):
            if not self._is_undecodable[following] and self._window_of(self._train[following]) <= window:
                yield following

    def _note(self, index: int, error: UndecodableError) -> None:
        if self._is_undecodable[index]:
            return
        self._is_undecodable[index] = True
        number = int(self._is_undecodable.sum())
        if number <= _NAMED:
            more = "; no more of them are named" if number == _NAMED else ""
            logger.warning("%s; the next clip of the list is trained on instead%s", error.message, more)
        found = ClipStatistics(len(self._train) - number, dropped={"cannot be decoded": number}, faults=number)
        clips.refuse_faults(found.plus(ClipStatistics(examples=(error.message,))), self._max_dropped_fraction)
