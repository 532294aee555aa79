"""Turns CTranslate2's Whisper into a Hugging Face folder that transformers 5 and 4.29 both read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration, WhisperTokenizer

from demo.faults import DemoError
from demo.input import ct2_checkpoint, whisper_tokenizer, whisper_weights
from demo.input.ct2_checkpoint import Variables
from demo.input.whisper_tokenizer import END_OF_TEXT, SPECIAL_TOKENS, SPOKEN
from demo.input.whisper_weights import State
from whisper_finetune_trainer.model import model_folder

AUDIO_POSITIONS = 1500
TEXT_POSITIONS = 448
FEED_FORWARD_RATIO = 4
#: The first timestamp is in the first second. A frame is 0.02 s.
LATEST_FIRST_TIMESTAMP = 50
#: A pod reads the weights as another user. safetensors writes files that only their owner may read.
READABLE_BY_ALL = 0o644


def convert(folder: Path, weights: bytes, settings: Mapping[str, Any], ranks: bytes, spellings: bytes) -> None:
    """Write the folder. `settings` is CTranslate2's config.json. Raises DemoError where the parts do not fit."""
    transformers.utils.logging.disable_progress_bar()
    variables = ct2_checkpoint.read(weights)
    state = whisper_weights.state_of(variables)
    tokenizer = whisper_tokenizer.build(whisper_tokenizer.read_ranks(ranks))
    tokenizer.english_spelling_normalizer = json.loads(spellings)
    network = network_of(state, model_config(variables, state))
    if len(tokenizer) != network.config.vocab_size:
        raise DemoError(f"the tokenizer has {len(tokenizer)} tokens, and the weights have {network.config.vocab_size}")
    network.generation_config = generation_config(tokenizer, settings)
    model_folder.write_model_folder(network, tokenizer, folder)
    for weights_file in folder.glob("*.safetensors"):
        weights_file.chmod(READABLE_BY_ALL)


def network_of(state: State, config: WhisperConfig) -> WhisperForConditionalGeneration:
    """Return the network with exactly these weights. The output projection is the token embedding."""
    network = WhisperForConditionalGeneration(config)
    missing, unexpected = network.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"proj_out.weight"}:
        raise DemoError(f"the weights do not fit Whisper: missing {missing}, unexpected {unexpected}")
    network.tie_weights()
    return network


def model_config(variables: Variables, state: State) -> WhisperConfig:
    """Return the model's configuration, as the shapes of the weights tell it."""
    vocabulary, width = state["model.decoder.embed_tokens.weight"].shape
    end_of_text = vocabulary - whisper_tokenizer.TIMESTAMPS - len(SPECIAL_TOKENS)
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (
            ("layers", whisper_weights.layers(variables, side)),
            ("attention_heads", int(variables[f"{side}/num_heads"])),
            ("ffn_dim", FEED_FORWARD_RATIO * width),
        )
    }
    return WhisperConfig(
        vocab_size=vocabulary,
        d_model=width,
        num_mel_bins=state["model.encoder.conv1.weight"].shape[1],
        max_source_positions=AUDIO_POSITIONS,
        max_target_positions=TEXT_POSITIONS,
        **ends(end_of_text),
        **sides,
    )


def ends(end_of_text: int) -> dict[str, int]:
    """Return the token ids that both configurations of a model have."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {**dict.fromkeys(names, end_of_text), "decoder_start_token_id": end_of_text + 1}


def generation_config(tokenizer: WhisperTokenizer, settings: Mapping[str, Any]) -> GenerationConfig:
    languages = ids(tokenizer, [f"<|{language}|>" for language in SPOKEN])
    if list(languages.values()) != settings["lang_ids"]:
        raise DemoError("the tokenizer numbers the languages otherwise than the weights do")
    return GenerationConfig(
        **ends(tokenizer.convert_tokens_to_ids(END_OF_TEXT)),
        max_length=TEXT_POSITIONS,
        alignment_heads=settings["alignment_heads"],
        suppress_tokens=settings["suppress_ids"],
        begin_suppress_tokens=settings["suppress_ids_begin"],
        is_multilingual=True,
        lang_to_id=languages,
        task_to_id={task: tokenizer.convert_tokens_to_ids(f"<|{task}|>") for task in ("transcribe", "translate")},
        no_timestamps_token_id=tokenizer.convert_tokens_to_ids("<|notimestamps|>"),
        prev_sot_token_id=tokenizer.convert_tokens_to_ids("<|startofprev|>"),
        max_initial_timestamp_index=LATEST_FIRST_TIMESTAMP,
        return_timestamps=False,
    )


def ids(tokenizer: WhisperTokenizer, tokens: Sequence[str]) -> dict[str, int]:
    return dict(zip(tokens, tokenizer.convert_tokens_to_ids(list(tokens)), strict=True))
