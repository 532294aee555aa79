"""The network as optimum-graphcore is given it: the loaded weights, with the notebook's generation settings."""

import copy
from typing import Any

from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.model.model import LoadedModel


def label_tokens(config: TrainerConfig, loaded: LoadedModel) -> int:
    """Return the one length of all labels and the longest text that is generated."""
    return min(config.spec.training.max_label_tokens, int(loaded.network.config.max_target_positions))


def with_generation_settings(loaded: LoadedModel, max_length: int) -> Any:
    """Return the loaded network with settings of its own, set on both its configurations.

    transformers 4.29 reads some of them here and some there; newer ones refuse to save what has them on `config`, so
    the loaded network itself is left as it is. The weights are shared.
    """
    network = copy.copy(loaded.network)
    network.config = copy.deepcopy(network.config)
    network.generation_config = copy.deepcopy(network.generation_config)
    for settings in (network.config, network.generation_config):
        settings.max_length = max_length
        settings.forced_decoder_ids = [list(place) for place in enumerate(loaded.prompt_ids[1:], start=1)]
        settings.suppress_tokens = []
    return network
