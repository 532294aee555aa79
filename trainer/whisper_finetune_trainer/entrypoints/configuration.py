"""The TrainerConfig: from the operator's environment variable, or made on a workstation."""

import logging
import shutil
from pathlib import Path
from typing import Iterable, Mapping, Optional

import pydantic_core
from pydantic import ValidationError

from whisper_finetune_api import contract, reading
from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlanError
from whisper_finetune_api.reading import Reading
from whisper_finetune_api.run import CONFIG_ENV, Accelerator, TrainerConfig
from whisper_finetune_trainer.entrypoints import field_errors
from whisper_finetune_trainer.entrypoints.spec_file import SpecFile
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.output import run_identity

#: Caches take at most this part of what is free in the scratch folder.
_SCRATCH_PART = 2
_MEND = "name a trainer image of the operator's version in the cluster's runtimes"
logger = logging.getLogger(__name__)


def from_environment(environment: Mapping[str, str]) -> TrainerConfig:
    """Return the configuration that the operator gave.

    TrainerError: ConfigInvalid where there is none, VersionMismatch where it is more than this image understands.
    """
    text = environment.get(CONFIG_ENV)
    if not text:
        raise TrainerError(
            "ConfigInvalid",
            f"${CONFIG_ENV} is not set: in a pod the operator sets it; "
            "on a workstation use `python -m whisper_finetune_trainer run SPEC.yaml --volume CLAIM=FOLDER`",
        )
    theirs = contract.number_in_environment(environment)
    if theirs > contract.CONTRACT:
        numbers = f"the operator speaks contract {theirs} and this image {contract.CONTRACT}"
        raise TrainerError("VersionMismatch", f"this trainer is older than its operator ({numbers}): {_MEND}")
    found = _understood(text)
    if found.left_out:
        logger.warning("the operator says more than this image knows; left out: %s", found.remark())
    return found.model


def _understood(text: str) -> Reading[TrainerConfig]:
    """Return the configuration without what a trainer may pass over: fields that it does not know, outside of spec."""
    try:
        found = reading.read_leniently(TrainerConfig, pydantic_core.from_json(text))
    except ValidationError as error:
        raise _too_new(field_errors.lines(error)) from None
    except ValueError as error:
        raise TrainerError("ConfigInvalid", f"${CONFIG_ENV}: the object: Invalid JSON: {error}") from None
    refused = [part for part in found.left_out if part.path[0] == "spec" or not part.is_unknown_field]
    if refused:
        raise _too_new(map(str, refused))
    return found


def _too_new(faults: Iterable[str]) -> TrainerError:
    return TrainerError("VersionMismatch", f"${CONFIG_ENV} is of another version: {'; '.join(faults)}; {_MEND}")


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
        uid=run_identity.workstation_uid(described.name, spec),
        spec=spec,
        accelerator=accelerator,
        ipus=size,
        schedule=schedule,
        volumes=dict(volumes),
        progress_port=0,
        scratch_folder=str(scratch),
        scratch_limit_bytes=shutil.disk_usage(scratch).free // _SCRATCH_PART,
    )
