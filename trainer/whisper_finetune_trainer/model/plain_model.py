"""The folder from which a model is loaded: only the needed files, by their real paths, and harmless settings.

transformers takes more than weights from a folder: its settings name other libraries, code, and files anywhere. Old
models are pickled. Only weights are read from them and never code, by every version of transformers.
"""

import contextlib
import fnmatch
import json
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence

import torch

from whisper_finetune_trainer.data.audio.decoding import FRAMES_PER_POSITION
from whisper_finetune_trainer.messages.errors import TrainerError, listed, quoted, words_of
from whisper_finetune_trainer.model import foreign_models
from whisper_finetune_trainer.stores import volumes
from whisper_finetune_trainer.stores.volumes import Mount, RefusedFileError

CONFIG = "config.json"
_SPELLINGS = "normalizer.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_INDEX = ".index.json"
#: Settings of a network that choose code or kernels from the Hub, or how attention is computed. The trainer chooses.
_CODE = frozenset(("auto_map", "attn_implementation", "_attn_implementation", "_attn_implementation_internal"))
#: Settings of a network that choose the form of its outputs. The caller chooses.
_FORMS = frozenset(("return_dict", "torchscript", "output_attentions", "output_hidden_states"))
_PROBABILITIES = (
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "encoder_layerdrop",
    "decoder_layerdrop",
    "mask_time_prob",
    "mask_feature_prob",
)
#: Settings of quantized weights, which other libraries read.
_QUANTIZED = ("quantization_config", "compression_config")
_GENERATION = frozenset(("auto_map", "custom_generate", "cache_implementation", "cache_config", "compile_config"))
TEXTS = ("*.json", "merges.txt")
#: PyTorch reads this variable at each torch.load. transformers 4.29 itself does not ask for weights only.
_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
#: Before this version of PyTorch, a file could run code or write beyond its memory, even if asked for weights only.
_SAFE_SINCE = (2, 10)


@contextlib.contextmanager
def make_plain_folder(folder: Path, mount: Mount, address: str, scratch_folder: str) -> Iterator[Path]:
    """Yield a temporary folder with links to the files of a model, and with settings that choose no code.

    Raises ModelNotFound. Raises ConfigInvalid if a file is outside of `mount`, or cannot be trained.
    """
    names = _names(folder, mount, address)
    with tempfile.TemporaryDirectory(prefix="model-", dir=scratch_folder) as made:
        for name in names:
            _bring(name, _resolved(folder / name, mount), Path(made, name), address)
        _require_shards(Path(made), names, address)
        yield Path(made)


def _names(folder: Path, mount: Mount, address: str) -> List[str]:
    """Return the files to load. Raises ModelNotFound, or ConfigInvalid for weights that must not be read."""
    if not volumes.is_folder(folder):
        raise TrainerError("ModelNotFound", f"model: {address} is not a folder of its volume")
    found = sorted(path.name for path in folder.iterdir())
    if CONFIG not in found:
        held = listed(found) if found else "nothing"
        more = foreign_models.advice_for_folder(found)
        raise TrainerError("ModelNotFound", f"model: {address} has no {CONFIG}; it holds {held}{more}")
    if not set(_WEIGHTS).intersection(found):
        more = foreign_models.advice_for_folder(found)
        if not more:
            # First say what kind of model it is, if it is no Whisper.
            _of_network(_read(_resolved(folder / CONFIG, mount), CONFIG, address), address)
        raise TrainerError("ModelNotFound", f"model: {address} has no weights; model.safetensors is expected{more}")
    names = [name for name in needed_files(found) if not name.startswith("adapter_")]
    if any(name.endswith(".bin") for name in names):
        require_safe_pickles(address)
    return names


def _resolved(path: Path, mount: Mount) -> str:
    try:
        found = mount.resolve(str(path))
        # The links are resolved by now. To open anything but a plain file could wait without end.
        is_plain = stat.S_ISREG(Path(found).stat().st_mode)
    except RefusedFileError as refused:
        raise TrainerError("ConfigInvalid", f"model: {refused.message}") from None
    if not is_plain:
        raise TrainerError("ConfigInvalid", f"model: {quoted(path.name)} is not a plain file")
    return found


def _bring(name: str, source: str, target: Path, address: str) -> None:
    """Link a file. Settings are written anew, without what they must not choose."""
    with volumes.open_plain(source) as file:
        if file.read(len(volumes.GIT_LFS)) == volumes.GIT_LFS:
            raise TrainerError("ConfigInvalid", f"model: {quoted(name)} of {address} {volumes.IS_OF_GIT_LFS}")
    keep = _KEPT.get(name)
    if keep is None and not name.endswith(_INDEX):
        target.symlink_to(source)
        return
    values = _read(source, name, address)
    target.write_text(json.dumps(keep(values, address) if keep else values), encoding="utf-8")


def _read(source: str, name: str, address: str) -> Dict[str, Any]:
    with volumes.open_plain(source) as file:
        return _parsed(file.read(), name, address)


def _parsed(content: bytes, name: str, address: str) -> Dict[str, Any]:
    try:
        values = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise TrainerError(
            "ConfigInvalid", f"model: {quoted(name)} of {address} is not JSON: {words_of(error)}"
        ) from error
    if not isinstance(values, dict):
        raise TrainerError("ConfigInvalid", f"model: {quoted(name)} of {address} is not a JSON object")
    return values


def _of_network(values: Mapping[str, Any], address: str) -> Dict[str, Any]:
    if values.get("model_type") != "whisper":
        kind = quoted(values.get("model_type"))
        raise TrainerError("ConfigInvalid", f"model: {address} is not a Whisper model; its model_type is {kind}")
    quantized = [key for key in _QUANTIZED if values.get(key)]
    if quantized:
        raise TrainerError(
            "ConfigInvalid",
            f"model: {CONFIG} of {address} has {quantized[0]}: quantized weights are not trained; take the model that "
            "they were made of",
        )
    _require_probabilities(values, address)
    _require_mask_lengths(values, address)
    return {key: value for key, value in values.items() if key not in {*_CODE, *_FORMS, *_QUANTIZED}}


def _require_probabilities(values: Mapping[str, Any], address: str) -> None:
    """Raise ConfigInvalid for a value that is no probability. The first step would fail on it, and be tried again."""
    for name in _PROBABILITIES:
        value = values.get(name, 0)
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise TrainerError(
                "ConfigInvalid",
                f"model: {name} in {CONFIG} of {address} is {quoted(value)}, and must be a number from 0 to 1",
            )


def _require_mask_lengths(values: Mapping[str, Any], address: str) -> None:
    """Raise ConfigInvalid for a mask of SpecAugment that is longer than what it masks. The first step would fail."""
    longest = {"time": _frames(values), "feature": values.get("num_mel_bins", 80)}
    for axis, most in longest.items():
        name = f"mask_{axis}_length"
        length = values.get(name, 10)
        used = values.get("apply_spec_augment") and values.get(f"mask_{axis}_prob", 0) > 0
        if used and not (type(length) is int and type(most) is int and 1 <= length <= most):
            raise TrainerError(
                "ConfigInvalid",
                f"model: {name} in {CONFIG} of {address} is {quoted(length)}, and must be a number from 1 to {most}",
            )


def _frames(values: Mapping[str, Any]) -> Any:
    positions = values.get("max_source_positions", 1500)
    return FRAMES_PER_POSITION * positions if type(positions) is int else positions


def _of_tokenizer(values: Mapping[str, Any], _address: str) -> Dict[str, Any]:
    # Settings that end with `_file` name files anywhere, which transformers 4.29 opens instead of the folder's own.
    return {key: value for key, value in values.items() if key != "auto_map" and not key.endswith("_file")}


def _of_spellings(values: Mapping[str, Any], address: str) -> Dict[str, Any]:
    if not all(isinstance(value, str) for value in values.values()):
        raise TrainerError(
            "ConfigInvalid", f"model: {_SPELLINGS} of {address} is not a list of words and their spellings"
        )
    return dict(values)


def _of_generation(values: Mapping[str, Any], _address: str) -> Dict[str, Any]:
    return {key: value for key, value in values.items() if key not in _GENERATION}


_KEPT: Mapping[str, Callable[[Mapping[str, Any], str], Dict[str, Any]]] = {
    CONFIG: _of_network,
    "tokenizer_config.json": _of_tokenizer,
    "generation_config.json": _of_generation,
    _SPELLINGS: _of_spellings,
}


def _require_shards(made: Path, names: List[str], address: str) -> None:
    """Raise ConfigInvalid if an index names something that is not a file of its folder."""
    for index in (name for name in names if name.endswith(_INDEX)):
        weights = _parsed((made / index).read_bytes(), index, address).get("weight_map")
        shards = weights.values() if isinstance(weights, dict) else [weights]
        missing = next((shard for shard in shards if not isinstance(shard, str) or shard not in names), None)
        if missing is not None or not isinstance(weights, dict):
            raise TrainerError(
                "ConfigInvalid",
                f"model: {quoted(index)} of {address} names {quoted(missing)}, which is not a file of its folder",
            )


def weight_files(names: Sequence[str]) -> List[str]:
    """Return the files with weights. Pickled ones are only returned if there are no others."""
    # Only at the top: repositories have other variants in folders.
    safe = [name for name in names if "/" not in name and name.endswith(".safetensors")]
    return safe or [name for name in names if name.startswith("pytorch_model") and name.endswith(".bin")]


def needed_files(names: Sequence[str]) -> List[str]:
    """Return the files with weights, and the text files beside them."""
    texts = [name for name in names if "/" not in name and any(fnmatch.fnmatch(name, text) for text in TEXTS)]
    return [*texts, *weight_files(names)]


def require_safe_pickles(address: str) -> None:
    """Raise ConfigInvalid if this version of PyTorch cannot read pickled weights without running code in them."""
    found = re.findall(r"\d+", str(torch.__version__))
    if tuple(map(int, found[:2])) >= _SAFE_SINCE:
        return
    needed = ".".join(map(str, _SAFE_SINCE))
    raise TrainerError(
        "ConfigInvalid",
        f"model: the weights of {address} are pickled, and a pickle can run code here: PyTorch is {torch.__version__}, "
        f"and reads weights alone from {needed} on. Write them anew where it is newer, such as in the trainer's image "
        'for CPUs: python -c "from transformers import WhisperForConditionalGeneration as W; '
        "W.from_pretrained('MODEL').save_pretrained('FOLDER')\", and copy the tokenizer's files to the same FOLDER",
    )


@contextlib.contextmanager
def weights_only() -> Iterator[None]:
    """Have torch.load refuse everything but weights inside of the context. Elsewhere the library resumes from more."""
    before = os.environ.get(_WEIGHTS_ONLY)
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WEIGHTS_ONLY]
        else:
            os.environ[_WEIGHTS_ONLY] = before
