"""The network as optimum-graphcore is given it: the loaded weights, with the settings that are published with them."""

import copy
from typing import Any

from whisper_finetune_trainer.model.model import LoadedModel

#: The notebook sets these on both configurations.
_ON_BOTH = ("max_length", "forced_decoder_ids", "suppress_tokens")


def label_tokens(loaded: LoadedModel) -> int:
    """Return the one length of all labels and the longest text that is generated."""
    return int(loaded.network.generation_config.max_length)


def with_generation_settings(loaded: LoadedModel) -> Any:
    """Return the loaded network with settings of its own, set on both its configurations.

    transformers 4.29 reads some of them here and some there; newer ones refuse to save what has them on `config`, so
    the loaded network itself is left as it is. The weights are shared.
    """
    network = copy.copy(loaded.network)
    network.config = copy.deepcopy(network.config)
    network.generation_config = copy.deepcopy(network.generation_config)
    for name in _ON_BOTH:
        setattr(network.config, name, getattr(network.generation_config, name))
    return network
