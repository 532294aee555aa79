"""Transcribe clips greedily in the model's full window: the same code before and after training."""

from typing import Callable, Dict, List, Sequence

import torch
from transformers.modeling_outputs import BaseModelOutput

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.model import generation
from whisper_finetune_trainer.model.generation import Transcript
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
) -> List[Transcript]:
    """Return what is heard of each clip, in order.

    `hidden_of` gives encoder outputs of clips, `on_clip` is told how many are done.
    """
    heard: Dict[int, Transcript] = {}
    for places in _batches(clips):
        batch = [clips[place] for place in places]
        heard.update(zip(places, _decode(loaded, device, batch, hidden_of(batch))))
        on_clip(len(heard))
    return [heard[place] for place in range(len(clips))]


def groups(clips: Sequence[Clip]) -> List[List[Clip]]:
    """Return the clips in the batches that they are transcribed in."""
    return [[clips[place] for place in places] for places in _batches(clips)]


def _batches(clips: Sequence[Clip]) -> List[List[int]]:
    # Clips of like length have texts of like length, which end at about the same time.
    order = sorted(range(len(clips)), key=lambda place: clips[place].seconds)
    return [order[first : first + _BATCH_SIZE] for first in range(0, len(order), _BATCH_SIZE)]


def _decode(loaded: LoadedModel, device: Device, clips: Sequence[Clip], hidden: torch.Tensor) -> List[Transcript]:
    settings = loaded.network.generation_config
    # One more than a text may have: it tells one that ends there from one that goes on.
    most = max(generation.most_spoken_tokens(clip.seconds) for clip in clips) + 1
    with torch.inference_mode(), device.autocast():
        rows = loaded.network.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            max_new_tokens=min(most, settings.max_length - len(loaded.prompt_ids)),
            use_cache=True,
            # Else a timestamp among the tokens makes transformers cut the features there, which are not given.
            force_unique_generate_call=True,
        )
    prompt, ends = len(loaded.prompt_ids), {loaded.tokenizer.eos_token_id, settings.pad_token_id}
    return [
        generation.read_transcript(loaded.tokenizer, row[prompt:], ends, clip.seconds)
        for clip, row in zip(clips, rows.tolist())
    ]
