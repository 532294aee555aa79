"""The file of whisper.cpp: header, mel filters, vocabulary, and one tensor after the other, with little in memory.

The engine knows the ids of Whisper's special tokens by the size of the vocabulary, and counts the tokens after the
texts' by itself. Weights of two dimensions may be in blocks of 32 numbers with 5 bits each (ggml's q5_0).
"""

import json
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO, Iterator, List, Mapping, Tuple

import numpy as np
from safetensors import safe_open
from transformers import WhisperFeatureExtractor
from transformers.convert_slow_tokenizer import bytes_to_unicode

_MAGIC = 0x67676D6C
_FLOAT32, _FLOAT16, _Q5_0 = 0, 1, 6
#: What the header says of all weights: the kind of most of them, with the version of ggml's blocks.
_FILE_TYPES = {"float16": 1, "q5_0": 8 + 2 * 1000}
#: Sizes of Whisper's own vocabularies: English, 99 languages, and large-v3's with Cantonese.
_VOCABULARIES = (51864, 51865, 51866)
_BLOCK = 32
_NAMES = (
    (r"^model\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.k_proj\.", ".key."),
    (r"\.q_proj\.", ".query."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"\.embed_positions\.weight$", ".positional_embedding"),
    (r"\.embed_tokens\.", ".token_embedding."),
)


def write_ggml_file(model: Path, target: Path, weights: str) -> None:
    """Write a plain Hugging Face folder as one file. `weights` are float16 or q5_0.

    Raises ValueError for a model whose vocabulary is not Whisper's.
    """
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    size = config["vocab_size"]
    if size not in _VOCABULARIES:
        known = ", ".join(map(str, _VOCABULARIES))
        raise ValueError(f"whisper.cpp knows vocabularies of {known} tokens, and this model has {size}")
    with target.open("wb") as file:
        file.write(struct.pack("<I11i", _MAGIC, *_dimensions(config), _FILE_TYPES[weights]))
        filters = np.ascontiguousarray(WhisperFeatureExtractor.from_pretrained(str(model)).mel_filters.T, "<f4")
        file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        tokens = _text_tokens(model)
        file.write(struct.pack("<i", len(tokens)))
        file.writelines(struct.pack("<i", len(token)) + token for token in tokens)
        for name, values in _tensors(model):
            _write_tensor(file, name, values, weights)


def _dimensions(config: Mapping[str, Any]) -> List[int]:
    sides = ("source", "encoder"), ("target", "decoder")
    heard = ([config[f"max_{length}_positions"], config["d_model"], *_layers(config, side)] for length, side in sides)
    return [config["vocab_size"], *(number for numbers in heard for number in numbers), config["num_mel_bins"]]


def _layers(config: Mapping[str, Any], side: str) -> Tuple[int, int]:
    return config[f"{side}_attention_heads"], config[f"{side}_layers"]


def _text_tokens(model: Path) -> List[bytes]:
    """Return the bytes of each token of texts, in the order of their ids."""
    vocabulary = json.loads((model / "vocab.json").read_text(encoding="utf-8"))
    end = vocabulary["<|endoftext|>"]
    by_id = {number: text for text, number in vocabulary.items() if number < end}
    as_byte = {character: byte for byte, character in bytes_to_unicode().items()}
    return [bytes(as_byte[character] for character in by_id[number]) for number in range(end)]


def _tensors(model: Path) -> Iterator[Tuple[str, Any]]:
    """Yield the name that whisper.cpp has for a weight, and its values in float32."""
    for path in sorted(model.glob("model*.safetensors")):
        if ".fp16." in path.name:
            continue
        with safe_open(str(path), framework="np") as opened:
            for name in opened.keys():  # noqa: SIM118 -- it is no dict
                # The decoder's embeddings are its projection too.
                if name != "proj_out.weight":
                    yield _renamed(name), opened.get_tensor(name).astype(np.float32)


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _write_tensor(file: BinaryIO, name: str, values: Any, weights: str) -> None:
    is_bias_of_convolution = re.match(r"^encoder\.conv[12]\.bias$", name)
    shape = (*values.shape, 1) if is_bias_of_convolution else values.shape
    if values.ndim == 1 or name.endswith(".positional_embedding"):
        kind, content = _FLOAT32, values.astype("<f4").tobytes()
    elif weights == "q5_0" and values.ndim == 2 and shape[-1] % _BLOCK == 0:  # noqa: PLR2004
        kind, content = _Q5_0, quantize_to_q5_0(values)
    else:
        kind, content = _FLOAT16, values.astype("<f2").tobytes()
    encoded = name.encode()
    file.write(struct.pack(f"<3i{len(shape)}i", len(shape), len(encoded), kind, *reversed(shape)) + encoded + content)


def quantize_to_q5_0(values: Any) -> bytes:
    """Return ggml's q5_0 blocks of float32 values: a float16 scale, 32 fifth bits, and 32 times four bits, each."""
    blocks = values.reshape(-1, _BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    scale = largest / np.float32(-16)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    levels = np.minimum(31, (blocks * inverse + np.float32(16.5)).astype(np.int8)).astype(np.uint8)
    low, high = levels[:, : _BLOCK // 2], levels[:, _BLOCK // 2 :]
    made = np.zeros(len(blocks), dtype=[("scale", "<f2"), ("fifth", "u1", 4), ("four", "u1", 16)])
    made["scale"] = scale[:, 0]
    made["fifth"] = np.packbits(levels >> 4, axis=1, bitorder="little")
    made["four"] = (low & 0xF) | ((high & 0xF) << 4)
    return made.tobytes()
