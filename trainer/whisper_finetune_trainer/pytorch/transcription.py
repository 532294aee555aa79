"""Transcribe clips greedily in the model's full window: the same code before and after training."""

from typing import Callable, List, Sequence

import torch
from transformers.modeling_outputs import BaseModelOutput

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.pytorch.device import Device

#: Clips that are decoded together; more would wait longer for the longest text among them.
_BATCH_SIZE = 16


def transcribe(
    loaded: LoadedModel,
    device: Device,
    clips: Sequence[Clip],
    hidden_of: Callable[[Sequence[Clip]], torch.Tensor],
    on_clip: Callable[[int], None],
) -> List[str]:
    """Return one text per clip, in order.

    `hidden_of` gives encoder outputs of clips, `on_clip` is told how many are done. A text ends at the
    generation settings' max_length at the latest.
    """
    texts = [""] * len(clips)
    done = 0
    for places in _batches(clips):
        for place, text in zip(places, _decode(loaded, device, hidden_of([clips[place] for place in places]))):
            texts[place] = text
        done += len(places)
        on_clip(done)
    return texts


def groups(clips: Sequence[Clip]) -> List[List[Clip]]:
    """Return the clips in the batches that they are transcribed in."""
    return [[clips[place] for place in places] for places in _batches(clips)]


def _batches(clips: Sequence[Clip]) -> List[List[int]]:
    # Clips of like length have texts of like length, which end at about the same time.
    order = sorted(range(len(clips)), key=lambda place: clips[place].seconds)
    return [order[first : first + _BATCH_SIZE] for first in range(0, len(order), _BATCH_SIZE)]


def _decode(loaded: LoadedModel, device: Device, hidden: torch.Tensor) -> List[str]:
    with torch.inference_mode(), device.autocast():
        tokens = loaded.network.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            num_beams=1,
            do_sample=False,
            use_cache=True,
            # Else a timestamp among the tokens makes transformers cut the features there, which are not given.
            force_unique_generate_call=True,
        )
    return [text.strip() for text in loaded.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
