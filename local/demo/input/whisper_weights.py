"""Turn CTranslate2's variables into those of Hugging Face's Whisper: their names, and the fused projections."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from demo.faults import DemoError
from demo.input.ct2_checkpoint import Variables

State = dict[str, Tensor]


def state_of(variables: Variables) -> State:
    """Return the state dict, float32, without the output projection (it is the token embedding)."""
    state: State = {}
    for side in ("encoder", "decoder"):
        state[f"model.{side}.embed_positions.weight"] = tensor(variables, f"{side}/position_encodings/encodings")
        state |= norm(variables, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for number in range(layers(variables, side)):
            state |= layer(variables, f"{side}/layer_{number}", f"model.{side}.layers.{number}", side)
    for number in (1, 2):
        state |= linear(variables, f"encoder/conv{number}", f"model.encoder.conv{number}")
    state["model.decoder.embed_tokens.weight"] = tensor(variables, "decoder/embeddings/weight")
    return state


def layers(variables: Variables, side: str) -> int:
    """Return the number of layers of one side."""
    numbers = [int(found[1]) for name in variables if (found := re.match(rf"{side}/layer_(\d+)/", name))]
    return 1 + max(numbers)


def layer(variables: Variables, source: str, target: str, side: str) -> State:
    """Return the weights of one layer. CTranslate2 calls a decoder's cross attention `attention`."""
    state = (
        fused(variables, f"{source}/self_attention/linear_0", f"{target}.self_attn", ("q_proj", "k_proj", "v_proj"))
        | linear(variables, f"{source}/self_attention/linear_1", f"{target}.self_attn.out_proj")
        | norm(variables, f"{source}/self_attention/layer_norm", f"{target}.self_attn_layer_norm")
        | linear(variables, f"{source}/ffn/linear_0", f"{target}.fc1")
        | linear(variables, f"{source}/ffn/linear_1", f"{target}.fc2")
        | norm(variables, f"{source}/ffn/layer_norm", f"{target}.final_layer_norm")
    )
    return state | cross_attention(variables, f"{source}/attention", target) if side == "decoder" else state


def cross_attention(variables: Variables, source: str, target: str) -> State:
    return (
        linear(variables, f"{source}/linear_0", f"{target}.encoder_attn.q_proj")
        | fused(variables, f"{source}/linear_1", f"{target}.encoder_attn", ("k_proj", "v_proj"))
        | linear(variables, f"{source}/linear_2", f"{target}.encoder_attn.out_proj")
        | norm(variables, f"{source}/layer_norm", f"{target}.encoder_attn_layer_norm")
    )


def fused(variables: Variables, source: str, target: str, names: Sequence[str]) -> State:
    """Return the projections that are fused in one matrix. Whisper's k has no bias, so CTranslate2's must be zero."""
    weights = tensor(variables, f"{source}/weight").chunk(len(names))
    biases = tensor(variables, f"{source}/bias").chunk(len(names))
    state: State = {}
    for name, weight, bias in zip(names, weights, biases, strict=True):
        state[f"{target}.{name}.weight"] = weight.clone()
        if name != "k_proj":
            state[f"{target}.{name}.bias"] = bias.clone()
        elif bias.any():
            raise DemoError(f"{source} has a bias for k, and Whisper has none: these are not Whisper's weights")
    return state


def linear(variables: Variables, source: str, target: str) -> State:
    return {
        f"{target}.weight": tensor(variables, f"{source}/weight"),
        f"{target}.bias": tensor(variables, f"{source}/bias"),
    }


def norm(variables: Variables, source: str, target: str) -> State:
    return {
        f"{target}.weight": tensor(variables, f"{source}/gamma"),
        f"{target}.bias": tensor(variables, f"{source}/beta"),
    }


def tensor(variables: Variables, name: str) -> Tensor:
    return torch.from_numpy(variables[name].astype(np.float32))
