"""What the model hears in clips: their texts, searched for greedily in batches of clips of similar length."""

from typing import Callable, Dict, List, Sequence

import torch
from transformers.modeling_outputs import BaseModelOutput

from whisper_finetune_api.planning.run_plan import CLIPS_TRANSCRIBED_AT_ONCE
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.model import generation
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.pytorch.device import Device


def transcribe_clips(
    loaded: LoadedModel,
    device: Device,
    clips: Sequence[Clip],
    hidden_of: Callable[[Sequence[Clip]], torch.Tensor],
    on_clip: Callable[[int], None],
) -> List[Transcript]:
    """Return the transcript of each clip, in order.

    `hidden_of` returns the encoder's outputs of clips. `on_clip` is told how many are done.
    """
    heard: Dict[int, Transcript] = {}
    for indexes in _batches(clips):
        batch = [clips[index] for index in indexes]
        heard.update(zip(indexes, _decode(loaded, device, batch, hidden_of(batch))))
        on_clip(len(heard))
    return [heard[index] for index in range(len(clips))]


def transcription_groups(clips: Sequence[Clip]) -> List[List[Clip]]:
    """Return the clips in the batches in which they are transcribed."""
    return [[clips[index] for index in indexes] for indexes in _batches(clips)]


def _batches(clips: Sequence[Clip]) -> List[List[int]]:
    # Clips of similar length have texts of similar length, which end at about the same time.
    order = sorted(range(len(clips)), key=lambda index: clips[index].seconds)
    return [
        order[first : first + CLIPS_TRANSCRIBED_AT_ONCE] for first in range(0, len(order), CLIPS_TRANSCRIBED_AT_ONCE)
    ]


def _decode(loaded: LoadedModel, device: Device, clips: Sequence[Clip], hidden: torch.Tensor) -> List[Transcript]:
    settings = loaded.network.generation_config
    # One token more than a text may have shows whether the text ends there or goes on.
    most = max(generation.most_spoken_tokens(clip.seconds) for clip in clips) + 1
    with torch.inference_mode(), device.autocast():
        rows = loaded.network.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            max_new_tokens=min(most, settings.max_length - len(loaded.prompt_ids)),
            use_cache=True,
            # Otherwise transformers cuts the features at a timestamp among the tokens, and here it has no features.
            force_unique_generate_call=True,
        )
    prompt, ends = len(loaded.prompt_ids), {loaded.tokenizer.eos_token_id, settings.pad_token_id}
    return [
        generation.read_transcript(loaded.tokenizer, row[prompt:], ends, clip.seconds)
        for clip, row in zip(clips, rows.tolist())
    ]
