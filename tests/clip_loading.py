"""The clips of a configuration, as a training loads them."""

from __future__ import annotations

from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data import data_source, dataset
from whisper_finetune_trainer.data.audio.extracted_audio import ExtractedAudio
from whisper_finetune_trainer.data.data_source import DataSource
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.data.streams.stream_limits import LIMITS, StreamLimits


def load_clips(config: TrainerConfig, limits: StreamLimits = LIMITS, words: frozenset[str] = frozenset()) -> Clips:
    """Return the clips of both splits. All of the scratch space may hold extracted audio."""
    extracted = ExtractedAudio(config.scratch_folder, config.scratch_limit_bytes)
    return dataset.load_clips(config.spec, open_source(config), extracted, limits, words)


def open_source(config: TrainerConfig) -> DataSource:
    """Return where the data of a configuration comes from."""
    return data_source.open_source(config.spec.dataset, config.spec.language, config.volumes, config.hub_commits)
