"""What a run of an object would do, by its spec and by the configuration of its model."""

import importlib
import json
import logging
from pathlib import Path
from typing import Any, Dict, Optional

from whisper_finetune_api import addresses
from whisper_finetune_api.planning import model_dimensions, run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlan, IpuPlanError
from whisper_finetune_api.planning.model_dimensions import Dimensions
from whisper_finetune_api.planning.run_plan import RunPlan
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_api.v1alpha1 import UNPACKED, EvaluationSet, Training, WhisperFineTuneSpec
from whisper_finetune_trainer.ipu import library_arguments
from whisper_finetune_trainer.messages.errors import TrainerError, quoted, words_of
from whisper_finetune_trainer.stores import volumes

_CONFIG_FILE = "config.json"
logger = logging.getLogger(__name__)


def describe_run(config: TrainerConfig) -> Dict[str, Any]:
    """Return the run's plan and the address of its folder as JSON values.

    Raises ModelNotFound or ConfigInvalid where the model's volume is there and its configuration is missing or wrong.
    """
    spec = config.spec
    model_config = _read_model_config(config)
    dimensions = dimensions_of(model_config) if model_config is not None else None
    plan = _run_plan(config, dimensions)
    return {
        "name": config.name,
        "model": spec.model,
        "modelConfigRead": dimensions is not None,
        "runFolder": f"{spec.output.uri.rstrip('/')}/{config.run_folder_name}",
        **({"evaluations": [_describe(each, spec) for each in spec.evaluations]} if spec.evaluations else {}),
        **plan.to_json_object(),
        **_packing(config.spec.training),
        **(_told_to_library(config, plan, plan.ipu) if plan.ipu else {}),
    }


def _packing(training: Training) -> Dict[str, Any]:
    """Return how clips are packed. How many windows an epoch has is known only once the data set is read."""
    if training.packing in UNPACKED:
        return {}
    rates = {"timestampRate": training.timestamp_part, "promptRate": training.prompt_part}
    return {"packing": {"clips": training.packing, "batchSizeCounts": "Windows", **rates}}


def _describe(wanted: EvaluationSet, spec: WhisperFineTuneSpec) -> Dict[str, Any]:
    """Return a further data set with what it takes from the run, and with the most clips that are heard twice."""
    usual = {"language": spec.language, "task": spec.task, "maxClips": wanted.most_clips}
    return {**usual, **wanted.to_json_object()}


def _run_plan(config: TrainerConfig, dimensions: Optional[Dimensions]) -> RunPlan:
    try:
        return run_plan.make_run_plan(config.spec, config.accelerator, dimensions, config.ipus)
    except IpuPlanError as error:
        raise TrainerError("ConfigInvalid", str(error)) from None


def _told_to_library(config: TrainerConfig, plan: RunPlan, ipu: IpuPlan) -> Dict[str, Any]:
    return {
        "ipuConfig": library_arguments.ipu_config(ipu, executable_cache=None),
        "trainingArguments": library_arguments.training_arguments(
            config.spec.training, plan.schedule, config.scratch_folder, library_arguments.LOADER_WORKERS
        ),
    }


def dimensions_of(model_config: Dict[str, Any]) -> Dimensions:
    """Return the dimensions of a Whisper model by its config.json. Raises ConfigInvalid for any other model."""
    try:
        return Dimensions(
            width=model_config["d_model"],
            encoder_layers=model_config["encoder_layers"],
            decoder_layers=model_config["decoder_layers"],
            heads=model_config["decoder_attention_heads"],
            vocabulary=model_config["vocab_size"],
            mel_bins=model_config["num_mel_bins"],
        )
    except KeyError as error:
        kind = model_config.get("model_type")
        raise TrainerError("ConfigInvalid", f"model: {_CONFIG_FILE} of a {quoted(kind)} model has no {error}") from None


def _read_model_config(config: TrainerConfig) -> Optional[Dict[str, Any]]:
    model = config.spec.model
    if addresses.parse_address(model) is None:
        return None if model_dimensions.dimensions_of(model) else _read_from_hub(model, config.spec.model_revision)
    if addresses.claim_of(model) not in config.volumes:
        return None
    path = volumes.local_path(model, "model", config.volumes) / _CONFIG_FILE
    try:
        with volumes.open_plain(volumes.mount_of(model, config.volumes).resolve(str(path))) as file:
            return _parse(file.read().decode(), model)
    except OSError as error:
        raise TrainerError(
            "ModelNotFound", f"model: {_CONFIG_FILE} of {model} cannot be read: {error.strerror}"
        ) from None


def _read_from_hub(model: str, revision: Optional[str]) -> Optional[Dict[str, Any]]:
    # The library takes a second to load, and most plans are for models of the table.
    hub = importlib.import_module("huggingface_hub")
    try:
        path = hub.hf_hub_download(model, _CONFIG_FILE, revision=revision)
    except (OSError, ValueError) as error:
        # A plan is an estimate. Without the model's size only its memory is missing. The library raises ValueError for
        # an id that is not valid.
        logger.warning("%s of %s cannot be read from the Hub: %s", _CONFIG_FILE, model, words_of(error))
        return None
    return _parse(Path(path).read_text(encoding="utf-8"), model)


def _parse(text: str, model: str) -> Dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrainerError(
            "ConfigInvalid", f"model: {_CONFIG_FILE} of {model} is not JSON: {words_of(error)}"
        ) from None
    if not isinstance(found, dict):
        raise TrainerError("ConfigInvalid", f"model: {_CONFIG_FILE} of {model} is not a JSON object")
    return found
