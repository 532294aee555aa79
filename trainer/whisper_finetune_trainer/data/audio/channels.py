"""One channel of speech out of several: their average, unless they cancel each other. Pure."""

from typing import Any, NamedTuple

import numpy as np
from typing_extensions import TypeAlias

Samples: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: Channels are compared in stretches of a tenth of a second: a recorder may turn a phase over in the middle.
_STRETCHES_PER_SECOND = 10
#: The average's power, as a part of the loudest channel's, below which nothing but their difference was spoken: 20 dB.
_CANCELLED_BELOW = 0.01
#: The part of the sound that may be lost so; an average of independent channels loses none.
_LOST_AT_MOST = 0.01


class Mono(NamedTuple):
    """Samples (n,), and whether they are one channel because the average of all would lose what is spoken."""

    samples: Samples
    is_one_channel: bool


def mono(channels: Samples, sample_rate: int) -> Mono:
    """Return one channel of samples (n, channels)."""
    if channels.shape[1] == 1:
        return Mono(channels[:, 0], is_one_channel=False)
    average = channels.mean(axis=1, dtype=np.float32)
    stretch = max(1, sample_rate // _STRETCHES_PER_SECOND)
    powers = _powers(channels, stretch)
    loudest = powers.max(axis=1)
    lost = loudest[_powers(average[:, np.newaxis], stretch)[:, 0] < _CANCELLED_BELOW * loudest]
    if lost.sum() <= _LOST_AT_MOST * loudest.sum():
        return Mono(average, is_one_channel=False)
    return Mono(np.ascontiguousarray(channels[:, powers.sum(axis=0).argmax()]), is_one_channel=True)


def _powers(channels: Samples, stretch: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return the power (stretches, channels); no copy of all samples is made."""
    stretches = (channels[start : start + stretch] for start in range(0, len(channels), stretch))
    return np.array([np.einsum("sc,sc->c", part, part, dtype=np.float64, casting="same_kind") for part in stretches])
