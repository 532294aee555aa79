"""The network's inputs for clips: features and labels. Another clip replaces one that turns out to be undecodable.

The features are equal to WhisperFeatureExtractor's. Their cost depends on the speech, and not on the window.

Which clip replaces another is a function of the data set alone. So a resumed run, and every process that reads, finds
the same one.
"""

import logging
from functools import lru_cache
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank
from typing_extensions import TypeAlias

from whisper_finetune_trainer.data import clips
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.decoding import FRAMES_PER_SECOND, HOP, SAMPLE_RATE, UndecodableError
from whisper_finetune_trainer.data.clips import Clip, ClipStatistics
from whisper_finetune_trainer.messages.errors import TrainerError, quoted
from whisper_finetune_trainer.model.model import LoadedModel

Samples: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: The label of a position after the end of a text. It does not count in the loss.
IGNORED = -100
_FFT = 400
#: The smallest log-mel value of a clip is this much below its maximum. Smaller ones are raised to it.
_DYNAMIC_RANGE = 8.0
_SMALLEST_POWER = 1e-10
_LOG_OF_SMALLEST_POWER = -10.0


def samples_of_clip(clip: Clip) -> Samples:
    """Return the samples (n,) of a clip. Raises DatasetInvalid if they cannot be read."""
    return decoding.read_samples(clip.audio)


def features_of(
    clips: Sequence[Clip], window_seconds: int, mel_bins: int, samples_of: Callable[[Clip], Samples] = samples_of_clip
) -> torch.Tensor:
    """Return float32 features (clips, mel_bins, 100 * window_seconds). Raises what `samples_of` raises."""
    return torch.stack([log_mel(samples_of(clip), mel_bins, window_seconds) for clip in clips])


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


def labels_of(clips: Sequence[Clip], loaded: LoadedModel) -> torch.Tensor:
    """Return labels (clips, tokens of the longest text). Shorter ones are padded with IGNORED."""
    rows = [torch.tensor(label_ids(loaded.tokenizer, loaded.prompt_ids, clip.text)) for clip in clips]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED)


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
    """Replaces a clip that cannot be decoded by the next clip of the list that can, and whose window is not longer."""

    def __init__(self, train: Sequence[Clip], max_dropped_fraction: str, window_of: Callable[[Clip], int]) -> None:
        """`window_of` returns the window of a clip in seconds."""
        self._train = train
        self._max_dropped_fraction = max_dropped_fraction
        self._window_of = window_of
        # Shared with the processes of a loader, because each of them reads only a part of the clips.
        self._is_undecodable = torch.zeros(len(train), dtype=torch.bool)
        self._is_undecodable.share_memory_()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._found: Dict[Clip, Clip] = {}

    def of(self, clip: Clip) -> Clip:
        """Return the clip itself or, if it has been replaced, its replacement."""
        return self._found.get(clip, clip)

    def read(self, clip: Clip) -> Samples:
        """Return the samples (n,) of a clip or of its replacement. Raises what `take` raises."""
        return self.take(clip)[1]

    def take(self, clip: Clip) -> Tuple[Clip, Samples]:
        """Return the clip to train on, which is `clip` or its replacement, and its samples (n,).

        Raises DatasetInvalid if more clips than `maxDroppedFraction` allows cannot be decoded, or if none fits.
        """
        try:
            taken = self.of(clip)
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
