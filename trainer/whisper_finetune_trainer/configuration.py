"""The TrainerConfig: from the operator's environment variable, or made on a workstation."""

import shutil
from pathlib import Path
from typing import Mapping, Optional

from pydantic import ValidationError

from whisper_finetune_api import run_plan
from whisper_finetune_api.ipu_refusals import IpuPlanError
from whisper_finetune_api.run import CONFIG_ENV, Accelerator, TrainerConfig
from whisper_finetune_trainer import field_errors, identity
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.spec_file import SpecFile

#: Caches take at most this part of what is free in the scratch folder.
_SCRATCH_PART = 2


def from_environment(environment: Mapping[str, str]) -> TrainerConfig:
    """Return the configuration that the operator gave; TrainerError(ConfigInvalid) where it is missing or malformed."""
    text = environment.get(CONFIG_ENV)
    if not text:
        raise TrainerError(
            "ConfigInvalid",
            f"${CONFIG_ENV} is not set: in a pod the operator sets it; "
            "on a workstation use `python -m whisper_finetune_trainer run SPEC.yaml --volume CLAIM=FOLDER`",
        )
    try:
        return TrainerConfig.model_validate_json(text)
    except ValidationError as error:
        raise TrainerError("ConfigInvalid", f"${CONFIG_ENV}: " + "; ".join(field_errors.lines(error))) from None


def of_workstation(
    described: SpecFile,
    volumes: Mapping[str, str],
    accelerator: Accelerator,
    scratch: Path,
    ipus: Optional[int] = None,
) -> TrainerConfig:
    """Return the configuration that the operator would make of the object, on this machine; ConfigInvalid."""
    spec = described.spec
    size = (ipus or spec.ipus) if accelerator == "ipu" else None
    try:
        schedule = run_plan.make_run_plan(spec, accelerator, ipus=size).schedule
    except IpuPlanError as error:
        raise TrainerError("ConfigInvalid", str(error)) from None
    return TrainerConfig(
        name=described.name,
        namespace=described.namespace,
        uid=identity.workstation_uid(described.name, spec),
        spec=spec,
        accelerator=accelerator,
        ipus=size,
        schedule=schedule,
        volumes=dict(volumes),
        progress_port=0,
        scratch_folder=str(scratch),
        scratch_limit_bytes=shutil.disk_usage(scratch).free // _SCRATCH_PART,
    )
