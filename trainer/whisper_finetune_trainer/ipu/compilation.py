"""Compile the training graph on a machine without IPUs, into the executable cache for runs of the same shapes."""

import os
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from whisper_finetune_api.v1alpha1 import UNPACKED, WhisperFineTuneSpec
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.ipu import assembly, executable_cache, train_data
from whisper_finetune_trainer.ipu.examples import DECODER_INPUTS
from whisper_finetune_trainer.machine import hardware_faults, pod_limits
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import model
from whisper_finetune_trainer.model.backend import BackendSettings, plan_training
from whisper_finetune_trainer.model.model import LoadedModel


def fill_cache(spec: WhisperFineTuneSpec, ipus: Optional[int], mounted: Mapping[str, str], scratch_folder: str) -> str:
    """Compile for a run's model and a partition of so many IPUs. Return the cache's folder. Raises TrainerError.

    `mounted` has the local folder of each claim. The data set is not read, because every batch has the same
    shape. The graphs of generation are not compiled.
    """
    cache = executable_cache.prepare_executable_cache(os.environ)
    if cache.folder is None:
        fault = cache.fault or "$POPLAR_EXECUTABLE_CACHE_DIR is not set"
        raise TrainerError("ConfigInvalid", f"there is no executable cache to compile into: {fault}")
    loaded = model.load_model(spec, None, mounted, scratch_folder)
    planned = plan_training(spec, "ipu", ipus, loaded.dimensions)
    settings = BackendSettings(
        accelerator="ipu",
        training=spec.training,
        schedule=planned.schedule,
        ipu_plan=planned.ipu,
        scratch_folder=scratch_folder,
        encoder_outputs_bytes=0,
        # No IPUs are waited for: nothing runs on them.
        ipu_wait_seconds=0,
        cpus=pod_limits.available_cpus(),
    )
    example = _example(
        loaded, assembly.feature_type(settings.training), is_packed=spec.training.packing not in UNPACKED
    )
    data = train_data.of_one_example(example, settings.layout())
    try:
        with data.order.after(0):
            assembly.make_trainer(settings, loaded, cache, data, compile_only=True)
    except SystemExit as ended:
        # The library says in this way that it is done.
        if ended.code != 0:
            raise
    except Exception as error:
        explained = hardware_faults.explain(error, "Training", "ipu", spec.training, None)
        if explained is None:
            raise
        raise explained from error
    return cache.folder


def _example(loaded: LoadedModel, feature_type: str, *, is_packed: bool) -> Dict[str, Any]:
    settings = loaded.feature_settings
    frames = settings.window_seconds * decoding.FRAMES_PER_SECOND
    labels: List[int] = [*loaded.prompt_ids, loaded.tokenizer.eos_token_id]
    # The graph of a packed training has one input more.
    inputs = {DECODER_INPUTS: labels} if is_packed else {}
    return {"input_features": np.zeros((settings.mel_bins, frames), dtype=feature_type), "labels": labels, **inputs}
