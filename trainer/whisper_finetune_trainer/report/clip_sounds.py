"""Clips as sound that a page can hold: MP3, which every browser plays, at about 3 kB a second."""

import base64
import io
import logging
from typing import Any, Callable, Dict, Iterable, List, Sequence

import numpy as np
import soundfile

from whisper_finetune_trainer.data.audio.features import SAMPLE_RATE
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted, words_of

#: Characters of one clip and of all; base64 makes four of three bytes.
_LARGEST_CLIP = 133_000
_LARGEST_TOTAL = 2_000_000
#: 0 is libsndfile's best and largest. Speech at 16 kHz takes about 24 kbit/s here: 30 s fit into the limit.
_COMPRESSION = 0.7
#: Clips that a store has not given for minutes each, until no other one is asked for.
_MOST_FAULTS = 3
logger = logging.getLogger(__name__)


#: Returns samples (n,) of float32 at 16 kHz; whatever it raises, the clip goes without its sound.
ReadClip = Callable[[Clip], "np.ndarray[Any, np.dtype[np.float32]]"]


def data_uris(
    clips: Iterable[Clip],
    read: ReadClip,
    largest_clip: int = _LARGEST_CLIP,
    largest_total: int = _LARGEST_TOTAL,
) -> Dict[str, str]:
    """Return clips by identifier as data URIs, in order while they fit. Those that are too large are left out."""
    found: Dict[str, str] = {}
    faults: List[Exception] = []
    for clip in clips:
        if clip.identifier in found or _is_unreachable(faults):
            continue
        try:
            uri = _data_uri(read(clip))
        except Exception as error:  # noqa: BLE001 -- whatever it is, a report is worth having without the sound
            _warn_once(clip, error, faults)
            continue
        if len(uri) <= largest_clip and sum(map(len, found.values())) + len(uri) <= largest_total:
            found[clip.identifier] = uri
    return found


def _is_unreachable(faults: Sequence[Exception]) -> bool:
    return sum(not isinstance(fault, TrainerError) for fault in faults) >= _MOST_FAULTS


def _warn_once(clip: Clip, error: Exception, faults: List[Exception]) -> None:
    if not faults:
        logger.warning(
            "the report goes without the sound of %s, and maybe of others: %s", quoted(clip.identifier), words_of(error)
        )
    faults.append(error)


def _data_uri(samples: "np.ndarray[Any, np.dtype[np.float32]]") -> str:
    return "data:audio/mpeg;base64," + base64.b64encode(mp3(samples)).decode()


def mp3(samples: "np.ndarray[Any, np.dtype[np.float32]]") -> bytes:
    """Return 16 kHz samples as an MP3 file."""
    encoded = io.BytesIO()
    soundfile.write(
        encoded, samples, SAMPLE_RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=_COMPRESSION
    )
    return encoded.getvalue()
