"""What would be done with an object, and what the model's own configuration adds to it."""

import importlib
from typing import Any, Dict, Optional

from whisper_finetune_api import addresses, run_plan
from whisper_finetune_api.models import Dimensions
from whisper_finetune_api.run import TrainerConfig


def describe(config: TrainerConfig) -> Dict[str, Any]:
    """Return the run's plan and its folder as JSON; TrainerError where the model's folder can be read and is wrong."""
    dimensions = _dimensions_on_volume(config)
    spec = config.spec
    return {
        "name": config.name,
        "model": spec.model,
        "modelConfigRead": dimensions is not None,
        "runFolder": f"{spec.output.uri.rstrip('/')}/{config.run_folder_name}",
        **run_plan.make_run_plan(spec, config.accelerator, dimensions).to_json_object(),
    }


def _dimensions_on_volume(config: TrainerConfig) -> Optional[Dimensions]:
    if addresses.claim_of(config.spec.model) not in config.volumes:
        return None
    # Loads torch and transformers, which a plan from the table of models does without.
    model = importlib.import_module("whisper_finetune_trainer.model")
    dimensions: Dimensions = model.read_dimensions(config)
    return dimensions
