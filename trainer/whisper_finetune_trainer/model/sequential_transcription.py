"""Transcribe recordings of minutes as Whisper does: each window begins at the last timestamp of the one before.

transformers does that itself. Its settings are those of short clips, but for the timestamps: nothing is sampled, and no
window is told what the one before it said.
"""

import logging
import math
from functools import partial
from itertools import groupby
from typing import Any, Callable, ContextManager, Iterable, Iterator, List, NamedTuple, Sequence, Tuple, Union

import torch

from whisper_finetune_trainer.data import joined_recordings
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.decoding import HOP
from whisper_finetune_trainer.data.joined_recordings import JoinedRecording
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.model import LoadedModel

_FIRST_TIMESTAMP = "<|0.00|>"
#: How many recordings are transcribed together, as many as clips are.
_TOGETHER = 16
#: A model that sets its timestamps too early hears the same seconds again and again. A recording gets so many windows
#: for each one that it has, and is given up after that.
_WINDOWS_FOR_ONE = 6
logger = logging.getLogger(__name__)


class HeardSegment(NamedTuple):
    """What was heard between two timestamps, in seconds of the recording."""

    start_seconds: float
    end_seconds: float
    text: str


class HeardWindow(NamedTuple):
    """The segments that were heard in one window. `is_cut` says that the limit of tokens ended them."""

    segments: Tuple[HeardSegment, ...]
    is_cut: bool

    @property
    def text(self) -> str:
        """All that was heard in it."""
        return " ".join(segment.text for segment in self.segments if segment.text)


#: A recording that was given up has one window, which is cut and empty.
LongTranscript = Tuple[HeardWindow, ...]
_GIVEN_UP: LongTranscript = (HeardWindow((), is_cut=True),)


#: Returns what was heard in each recording, in order. The second argument is told how many are done.
TranscribeRecordings = Callable[[Sequence[JoinedRecording], Callable[[int], None]], List[LongTranscript]]


class NoTranscription(NamedTuple):
    """Why recordings of minutes cannot be transcribed here, in a sentence for the status."""

    reason: str


class _TooManyWindowsError(Exception):
    """A recording is not at its end after more windows than it should take."""


def recording_transcriber(
    loaded: LoadedModel, device: torch.device, autocast: Callable[[], ContextManager[Any]]
) -> Union[TranscribeRecordings, NoTranscription]:
    """Return what transcribes recordings with a model on its device, or why nothing does.

    It raises DatasetInvalid for a sound that cannot be decoded. A recording without an end in sight is given up.
    """
    first = loaded.network.generation_config.no_timestamps_token_id + 1
    if loaded.tokenizer.get_vocab().get(_FIRST_TIMESTAMP) != first:
        return NoTranscription("the model's tokenizer has no timestamps after its special tokens")
    return partial(_transcribe_all, loaded, device, autocast)


def _transcribe_all(
    loaded: LoadedModel,
    device: torch.device,
    autocast: Callable[[], ContextManager[Any]],
    recordings: Sequence[JoinedRecording],
    on_recording: Callable[[int], None],
) -> List[LongTranscript]:
    heard: List[LongTranscript] = []
    is_training = loaded.network.training
    loaded.network.eval()
    try:
        for first in range(0, len(recordings), _TOGETHER):
            features = [_features(loaded, recording) for recording in recordings[first : first + _TOGETHER]]
            with torch.inference_mode(), autocast():
                heard.extend(_transcribe(loaded, device, features))
            on_recording(len(heard))
    finally:
        loaded.network.train(is_training)
    return heard


def _features(loaded: LoadedModel, recording: JoinedRecording) -> torch.Tensor:
    """Return features (mel_bins, frames) of a whole recording: Whisper normalizes it as a whole."""
    samples = joined_recordings.read_joined_samples(recording)
    frames = len(samples) // HOP
    return examples.log_mel(samples, loaded.feature_settings.mel_bins, math.ceil(recording.seconds))[:, :frames]


def _transcribe(loaded: LoadedModel, device: torch.device, features: List[torch.Tensor]) -> Iterator[LongTranscript]:
    try:
        yield from _generate(loaded, device, features)
    except _TooManyWindowsError:
        if len(features) == 1:
            logger.warning("a recording of joined clips is given up: its timestamps lead to no end")
            yield _GIVEN_UP
            return
        for alone in features:
            yield from _transcribe(loaded, device, [alone])


def _generate(loaded: LoadedModel, device: torch.device, features: List[torch.Tensor]) -> List[LongTranscript]:
    settings, longest = loaded.network.generation_config, max(each.shape[1] for each in features)
    padded = torch.stack([torch.nn.functional.pad(each, (0, longest - each.shape[1])) for each in features])
    mask = torch.tensor([[1] * each.shape[1] + [0] * (longest - each.shape[1]) for each in features])
    found = loaded.network.generate(
        padded.to(device),
        attention_mask=mask.to(device),
        return_timestamps=True,
        return_segments=True,
        condition_on_prev_tokens=False,
        max_new_tokens=settings.max_length - len(loaded.prompt_ids),
        use_cache=True,
        monitor_progress=_window_counter(math.ceil(longest / _frames_of_window(loaded))),
    )
    return [tuple(_windows(loaded, segments)) for segments in found["segments"]]


def _frames_of_window(loaded: LoadedModel) -> int:
    return loaded.feature_settings.window_seconds * decoding.FRAMES_PER_SECOND


def _window_counter(windows: int) -> Callable[[torch.Tensor], None]:
    """Return what transformers calls before each window. It raises where there are too many."""
    left = iter(range(_WINDOWS_FOR_ONE * windows))

    def count(_positions: torch.Tensor) -> None:
        if next(left, None) is None:
            raise _TooManyWindowsError

    return count


def _windows(loaded: LoadedModel, segments: Iterable[Any]) -> Iterator[HeardWindow]:
    """Yield transformers' segments window by window. Those of one window have one result, which is the window's."""
    ends = {loaded.tokenizer.eos_token_id, loaded.network.generation_config.pad_token_id}
    for _, of_one in groupby(segments, key=lambda segment: id(segment["result"])):
        found = list(of_one)
        is_cut = int(found[0]["result"][-1]) not in ends
        yield HeardWindow(tuple(_segment(loaded, segment) for segment in found), is_cut)


def _segment(loaded: LoadedModel, segment: Any) -> HeardSegment:
    last = loaded.network.generation_config.no_timestamps_token_id
    # Timestamps are the tokens after this one. transformers does not leave out all of them by itself.
    tokens = [token for token in segment["tokens"].tolist() if token <= last]
    text: str = loaded.tokenizer.decode(tokens, skip_special_tokens=True)
    return HeardSegment(round(float(segment["start"]), 2), round(float(segment["end"]), 2), text.strip())
