"""Load the clips of a configuration as a training does."""

from __future__ import annotations

from whisper_finetune_api.run import HubCommits, TrainerConfig
from whisper_finetune_api.v1alpha1 import EvaluationSet
from whisper_finetune_trainer.data import dataset, evaluation_sets
from whisper_finetune_trainer.data.audio.audio_locator import ExtractedAudio
from whisper_finetune_trainer.data.dataset import DataSource
from whisper_finetune_trainer.data.evaluation_sets import EvaluationClips
from whisper_finetune_trainer.data.layouts.layout import LIMITS, StreamLimits
from whisper_finetune_trainer.data.run_clips import Clips


def load_clips(config: TrainerConfig, limits: StreamLimits = LIMITS, words: frozenset[str] = frozenset()) -> Clips:
    """Return the clips of both splits. All of the scratch space may hold extracted audio."""
    extracted = ExtractedAudio(config.scratch_folder, config.scratch_limit_bytes)
    return dataset.load_clips(config.spec, open_source(config), extracted, limits, words)


def open_source(config: TrainerConfig) -> DataSource:
    """Return where the data of a configuration comes from."""
    return dataset.open_source(config.spec.dataset, config.spec.language, config.volumes, HubCommits())


def load_evaluation(config: TrainerConfig, wanted: EvaluationSet) -> EvaluationClips:
    """Return the clips of an evaluation, at the newest commits of the Hub."""
    with evaluation_sets.evaluation_named(wanted.name):
        commits = dataset.newest_commits(evaluation_sets.spec_of_evaluation(config.spec, wanted).dataset)
    extracted = ExtractedAudio(config.scratch_folder, config.scratch_limit_bytes)
    return evaluation_sets.load_evaluation(config.spec, wanted, config.volumes, commits, extracted)
