"""Clips as sound that a page can hold: MP3, which every browser plays, at about 3 kB a second."""

import base64
import io
import logging
from typing import Any, Callable, Dict, Iterable

import numpy as np
import soundfile

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.features import SAMPLE_RATE
from whisper_finetune_trainer.errors import TrainerError

#: Characters of one clip and of all; base64 makes four of three bytes.
_LARGEST_CLIP = 133_000
_LARGEST_TOTAL = 2_000_000
#: 0 is libsndfile's best and largest. Speech at 16 kHz takes about 24 kbit/s here: 30 s fit into the limit.
_COMPRESSION = 0.7
logger = logging.getLogger(__name__)


#: Returns samples (n,) of float32 at 16 kHz; TrainerError for what cannot be read any more.
ReadClip = Callable[[Clip], "np.ndarray[Any, np.dtype[np.float32]]"]


def data_uris(
    clips: Iterable[Clip],
    read: ReadClip,
    largest_clip: int = _LARGEST_CLIP,
    largest_total: int = _LARGEST_TOTAL,
) -> Dict[str, str]:
    """Return clips by identifier as data URIs, in order while they fit; those that are too large are left out."""
    found: Dict[str, str] = {}
    total = 0
    for clip in clips:
        if clip.identifier in found:
            continue
        uri = _data_uri(clip, read)
        if uri and len(uri) <= largest_clip and total + len(uri) <= largest_total:
            found[clip.identifier] = uri
            total += len(uri)
    return found


def _data_uri(clip: Clip, read: ReadClip) -> str:
    """Return a clip's sound, or nothing where it cannot be read any more: a report is worth having without it."""
    try:
        samples = read(clip)
    except TrainerError as error:
        logger.warning("the report goes without the sound of %s: %s", clip.identifier, error.message)
        return ""
    return "data:audio/mpeg;base64," + base64.b64encode(mp3(samples)).decode()


def mp3(samples: "np.ndarray[Any, np.dtype[np.float32]]") -> bytes:
    """Return 16 kHz samples as an MP3 file."""
    encoded = io.BytesIO()
    soundfile.write(
        encoded, samples, SAMPLE_RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=_COMPRESSION
    )
    return encoded.getvalue()
