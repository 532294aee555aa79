"""Turn clips into what the network takes: features, and labels."""

from typing import Any, Callable, List, Sequence

import numpy as np
import torch
from typing_extensions import TypeAlias

from whisper_finetune_trainer.data.audio import decoding, features
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.model import generation
from whisper_finetune_trainer.model.model import LoadedModel

Samples: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: Label of a place after the end of a text, which counts nothing.
IGNORED = -100


def read_samples(clip: Clip) -> Samples:
    """Return the samples (n,) of a clip; DatasetInvalid for sound that cannot be read."""
    return decoding.read_samples(clip.audio)


def features_of(
    clips: Sequence[Clip], window_seconds: int, mel_bins: int, samples_of: Callable[[Clip], Samples] = read_samples
) -> torch.Tensor:
    """Return float32 features (clips, mel_bins, 100 * window_seconds); raises what `samples_of` does."""
    return torch.stack([features.log_mel(samples_of(clip), mel_bins, window_seconds) for clip in clips])


def labels_of(clips: Sequence[Clip], loaded: LoadedModel) -> torch.Tensor:
    """Return labels (clips, tokens of the longest text), the shorter ones filled up with IGNORED."""
    rows = [torch.tensor(generation.label_ids(loaded.tokenizer, loaded.prompt_ids, clip.text)) for clip in clips]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED)


def decoder_inputs(labels: torch.Tensor, start_id: int, padding_id: int) -> torch.Tensor:
    """Return the tokens (clips, tokens) that the decoder sees: the start token, then the labels but the last."""
    shifted = labels.new_full(labels.shape, start_id)
    shifted[:, 1:] = labels[:, :-1]
    return shifted.masked_fill(shifted == IGNORED, padding_id)


def tokens(labels: List[torch.Tensor]) -> int:
    """Return how many tokens of these labels count."""
    return sum(int((rows != IGNORED).sum()) for rows in labels)
