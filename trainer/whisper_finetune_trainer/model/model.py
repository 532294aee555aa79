"""Load a Whisper model for one language and task, and save it as a plain Hugging Face folder."""

import hashlib
import pickle
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ContextManager, Mapping, Optional, Tuple

import torch
import transformers

from whisper_finetune_api.languages import LANGUAGES, language_code, text_language_code
from whisper_finetune_api.planning import model_dimensions
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.dataset import Task
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.machine import library_loading
from whisper_finetune_trainer.messages.errors import TrainerError, listed, words_of
from whisper_finetune_trainer.model import foreign_models, generation, model_folder, model_source, plain_model
from whisper_finetune_trainer.stores import volumes

#: Of each tensor, for the digest of a model.
_DIGESTED_VALUES = 1024


@dataclass(frozen=True)
class LoadedModel:
    """A Whisper in float32 on the CPU, its tokenizer, and what the training needs to know about both."""

    network: Any
    tokenizer: Any
    feature_settings: decoding.FeatureSettings
    dimensions: model_dimensions.Dimensions
    prompt_ids: Tuple[int, ...]
    #: How many tokens a label has at most, the prompt's among them. A text that is generated has no more.
    most_label_tokens: int
    #: The code of the language of the texts. For a translation, the speech is in another language.
    text_language_code: str
    english_only: bool
    #: The American spelling of each British one, for the English normalizer. It is empty if the folder has none.
    spellings: Mapping[str, str]
    task: Task = "transcribe"


def load_model(
    spec: WhisperFineTuneSpec, commit: Optional[str], mounted: Mapping[str, str], scratch_folder: str
) -> LoadedModel:
    """Load `spec.model`. Raises ModelNotFound, AccessDenied or ConfigInvalid. Network faults pass through.

    `commit` is the commit to read of a model of the Hub. `mounted` has the local folder of each claim.
    """
    # The library's progress bars, and its warnings about masks and arguments that it sets itself, confuse in a log.
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    opened = model_source.open_model(spec.model, commit or spec.model_revision, mounted, scratch_folder)
    with volumes.readable(spec.model, "model"), opened as folder:
        network = _read_network(folder, spec.model)
        tokenizer = _read_tokenizer(folder, spec.model)
    return _prepare(network, tokenizer, spec)


def digest_weights(network: Any) -> str:
    """Return a sha256, in hex, of a network's weights, by names, shapes and the first values of each tensor.

    Two models that were trained differently differ in nearly every tensor. To read all of a large one takes seconds.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().flatten()[:_DIGESTED_VALUES].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def hearing(loaded: LoadedModel, spec: WhisperFineTuneSpec) -> LoadedModel:
    """Return the same model as it hears the language and task of another spec. They share network and tokenizer.

    `prompted` makes the network hear so. Raises ConfigInvalid for a language or a task that the model does not know.
    """
    code = language_code(spec.language)
    if loaded.english_only:
        _refuse_other_than_english(spec)
        return loaded
    prompt = generation.other_prompt_ids(loaded.tokenizer, code, spec.task)
    text_code = text_language_code(spec.language, spec.task)
    return replace(loaded, prompt_ids=prompt, text_language_code=text_code, task=spec.task)


def prompted(heard: LoadedModel, spec: WhisperFineTuneSpec) -> ContextManager[None]:
    """Have the network hear as `hearing` returned it, for as long as the context lasts."""
    if heard.english_only:
        return nullcontext()
    code = language_code(spec.language)
    return generation.prompted(heard.network, heard.tokenizer, heard.prompt_ids, code, spec.task)


def read_first_weights(
    spec: WhisperFineTuneSpec, commit: Optional[str], mounted: Mapping[str, str], scratch_folder: str
) -> Mapping[str, torch.Tensor]:
    """Return the weights of `spec.model` by name, in float32 on the CPU. Arguments and errors are `load_model`'s."""
    opened = model_source.open_model(spec.model, commit or spec.model_revision, mounted, scratch_folder)
    with volumes.readable(spec.model, "model"), opened as folder:
        weights: Mapping[str, torch.Tensor] = _read_network(folder, spec.model).state_dict()
        return weights


def save_model(loaded: LoadedModel, folder: Path, card: str) -> None:
    """Write weights, tokenizer, feature settings, generation settings and card into an existing folder."""
    model_folder.write_model_folder(loaded.network, loaded.tokenizer, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _read_network(folder: Path, address: str) -> Any:
    # transformers loads half of itself when a network is first asked for.
    library_loading.load_module("transformers.models.whisper.modeling_whisper")
    try:
        with plain_model.weights_only():
            network, report = transformers.WhisperForConditionalGeneration.from_pretrained(
                str(folder), local_files_only=True, output_loading_info=True
            )
    except pickle.UnpicklingError as error:
        raise TrainerError(
            "ConfigInvalid", f"model: pytorch_model.bin of {address} has more than weights; convert it to safetensors"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # nonsense in the settings makes libraries raise anything, and nothing else is read here
        # An error with a number is the file system's, and may be gone at the next attempt.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TrainerError("ConfigInvalid", f"model: weights of {address} cannot be read: {_line(error)}") from error
    # transformers fills missing weights with random numbers, and only logs it.
    broken = sorted({*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])})
    if broken:
        more = foreign_models.advice_for_weights(report["unexpected_keys"])
        raise TrainerError(
            "ConfigInvalid",
            f"model: {len(broken)} weights of {address} are missing or of another shape than its "
            f"{plain_model.CONFIG} says, among them {listed(broken)}{more}",
        )
    # The argument for the type has another name in each version of transformers.
    return network.float()


def _read_tokenizer(folder: Path, address: str) -> Any:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        advice = foreign_models.WITHOUT_TOKENIZER
        raise TrainerError("ConfigInvalid", f"model: {address} has no tokenizer.json and no vocab.json; {advice}")
    try:
        return transformers.WhisperTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the tokenizers library raises a bare Exception for a broken file
        raise TrainerError("ConfigInvalid", f"model: tokenizer of {address} cannot be read: {_line(error)}") from error


def _prepare(network: Any, tokenizer: Any, spec: WhisperFineTuneSpec) -> LoadedModel:
    if len(tokenizer) > network.config.vocab_size:
        raise TrainerError(
            "ConfigInvalid",
            f"model: {spec.model} has {len(tokenizer)} tokens, more than its network's {network.config.vocab_size}",
        )
    code = language_code(spec.language)
    english_only = _is_english_only(network)
    if english_only:
        _refuse_other_than_english(spec)
    token_language: Optional[str] = None if english_only else code
    prompt_ids = generation.prompt_ids(tokenizer, token_language, spec.task)
    feature_settings = decoding.feature_settings_of(network.config)
    generation.require_packing_tokens(tokenizer, spec.training, feature_settings.window_seconds)
    longest = generation.longest_text_tokens(spec, network.config)
    generation.complete_settings(network, tokenizer, prompt_ids, token_language, spec.task, longest)
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        feature_settings=feature_settings,
        dimensions=_dimensions(network.config),
        prompt_ids=prompt_ids,
        most_label_tokens=longest,
        text_language_code=text_language_code(spec.language, spec.task),
        english_only=english_only,
        spellings=tokenizer.english_spelling_normalizer or {},
        task=spec.task,
    )


def _refuse_other_than_english(spec: WhisperFineTuneSpec) -> None:
    code = language_code(spec.language)
    if code != "en" or spec.task != "transcribe":
        raise TrainerError(
            "ConfigInvalid",
            f"model: {spec.model} is English-only, so it cannot {spec.task} {LANGUAGES[code]}; "
            "take the multilingual model of the same size",
        )


def _is_english_only(network: Any) -> bool:
    multilingual = getattr(network.generation_config, "is_multilingual", None)
    return multilingual is False or network.config.vocab_size == model_dimensions.ENGLISH_VOCABULARY


def _dimensions(config: Any) -> model_dimensions.Dimensions:
    return model_dimensions.Dimensions(
        config.d_model,
        config.encoder_layers,
        config.decoder_layers,
        config.encoder_attention_heads,
        config.vocab_size,
        config.num_mel_bins,
    )


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {words_of(error)}"
