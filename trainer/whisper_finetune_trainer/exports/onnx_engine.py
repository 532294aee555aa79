"""ONNX Runtime: PyTorch's own exporter makes the graphs of encoder and decoder, and the runtime hears with them."""

import json
import shutil
from pathlib import Path
from typing import Any, List

import numpy as np
import onnxruntime
import torch
import transformers
from tokenizers import Tokenizer

from whisper_finetune_trainer.exports.engines import Hear, HearingSettings, Samples
from whisper_finetune_trainer.model import examples, generation
from whisper_finetune_trainer.model.generation import Transcript

#: As Hugging Face's optimum calls them.
_ENCODER, _DECODER = "encoder_model.onnx", "decoder_model.onnx"
_TOKENIZER, _FEATURES, _GENERATION = "tokenizer.json", "preprocessor_config.json", "generation_config.json"
_OPSET = 18


class _Encoder(torch.nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self._encoder = network.model.encoder

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self._encoder(input_features).last_hidden_state
        return states


class _Decoder(torch.nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self._decoder, self._projection = network.model.decoder, network.proj_out

    def forward(self, input_ids: torch.Tensor, encoder_hidden_states: torch.Tensor) -> torch.Tensor:
        found = self._decoder(input_ids=input_ids, encoder_hidden_states=encoder_hidden_states, use_cache=False)
        logits: torch.Tensor = self._projection(found.last_hidden_state)
        return logits


class OnnxEngine:
    """Makes a graph of the encoder and one of the decoder, without a cache, and hears with them."""

    def convert(self, model: Path, target: Path, weights: str) -> None:
        """Write the export of a plain Hugging Face folder. `weights` is a type of PyTorch."""
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        network = transformers.WhisperForConditionalGeneration.from_pretrained(
            str(model), dtype=getattr(torch, weights)
        ).eval()
        sizes = network.config
        features = torch.zeros(2, sizes.num_mel_bins, 2 * sizes.max_source_positions)
        states = torch.zeros(2, sizes.max_source_positions, sizes.d_model)
        batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=sizes.max_target_positions)
        _write_graph(_Encoder(network), {"input_features": features}, ({0: batch},), target / _ENCODER)
        spoken = {"input_ids": torch.zeros(2, 3, dtype=torch.int64), "encoder_hidden_states": states}
        _write_graph(_Decoder(network), spoken, ({0: batch, 1: length}, {0: batch}), target / _DECODER)
        for name in (_TOKENIZER, _FEATURES, _GENERATION, "config.json"):
            shutil.copyfile(model / name, target / name)

    def open(self, target: Path, settings: HearingSettings, threads: int) -> Hear:
        """Load an export. Raises RuntimeError, ValueError or OSError where it is broken."""
        tokenizer = Tokenizer.from_file(str(target / _TOKENIZER))
        features = _read_json(target / _FEATURES)
        not_first = list(_read_json(target / _GENERATION).get("begin_suppress_tokens") or ())
        encoder, decoder = (_session(target / name, threads) for name in (_ENCODER, _DECODER))

        def hear(samples: Samples, seconds: float) -> Transcript:
            heard = examples.log_mel(samples, features["feature_size"], features["chunk_length"]).numpy()[None]
            (states,) = encoder.run(None, {"input_features": heard})
            # One token more than a text may have shows whether the text ends there or goes on.
            most = min(generation.most_spoken_tokens(seconds) + 1, settings.most_tokens - len(settings.prompt_ids))
            tokens: List[int] = []
            while len(tokens) < most and not settings.end_ids.intersection(tokens[-1:]):
                ids = np.array([[*settings.prompt_ids, *tokens]], dtype=np.int64)
                (logits,) = decoder.run(None, {"input_ids": ids, "encoder_hidden_states": states})
                following = logits[0, -1]
                if not tokens:
                    following[not_first] = -np.inf
                tokens.append(int(following.argmax()))
            return generation.read_transcript(tokenizer, tokens, settings.end_ids, seconds)

        return hear


def _write_graph(module: torch.nn.Module, inputs: Any, dynamic: Any, target: Path) -> None:
    torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        str(target),
        input_names=list(inputs),
        output_names=["last_hidden_state" if target.name == _ENCODER else "logits"],
        dynamic_shapes=dynamic,
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


ENGINE = OnnxEngine()
