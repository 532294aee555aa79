"""Load a data set of `data_layouts`, and compare every clip with what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clip_loading
import data_layouts
import specs
import trainer_configs
from data_layouts import SPOKEN
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.messages.errors import TrainerError


def config(volume: Path, source: str, **changes: Any) -> TrainerConfig:
    """Return the configuration of a run on a source; `changes` are fields of spec.dataset."""
    fields = {"source": source, **changes}
    spec = specs.with_changes(trainer_configs.make_spec(), {f"dataset.{name}": fields[name] for name in fields})
    return trainer_configs.make_config(spec, speech=volume, scratch=volume)


def load(volume: Path, source: str = "pvc://speech/clips", **changes: Any) -> Clips:
    """Return the clips of a source."""
    return clip_loading.load_clips(config(volume, source, **changes))


def refusal(volume: Path, source: str = "pvc://speech/clips", **changes: Any) -> TrainerError:
    """Return what is said of a source that is refused."""
    with pytest.raises(TrainerError) as caught:
        load(volume, source, **changes)
    return caught.value


def check(found: Clips) -> None:
    """Compare every clip with what was written: text, length and sound."""
    every = [*found.train.listed, *found.evaluation]
    assert sorted(clip.text for clip in every) == sorted(SPOKEN.values())
    assert dict(found.dropped) == {}
    assert len({clip.identifier for clip in every}) == len(every)
    for clip in every:
        _check_sound(clip)


def _check_sound(clip: Clip) -> None:
    name = next(name for name, text in SPOKEN.items() if text == clip.text)
    written, read = data_layouts.samples(name), decoding.read_samples(clip.audio)
    # MP3 pads: 26 ms at both ends, and is not the same to the last bit.
    assert clip.seconds == pytest.approx(data_layouts.seconds(name), abs=0.08)
    assert len(read) == pytest.approx(len(written), abs=1_300)
    assert np.argmax(np.abs(np.fft.rfft(read, 16_000))) == pytest.approx(
        np.argmax(np.abs(np.fft.rfft(written, 16_000))), abs=2
    )
