"""The TrainerConfig: from the operator's environment variable, or from a YAML file on a workstation."""

import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import pydantic_core
import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from whisper_finetune_api import contract, reading
from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlanError
from whisper_finetune_api.reading import Reading
from whisper_finetune_api.run import CONFIG_ENV, TAKES_OVER_ENV, Accelerator, TrainerConfig
from whisper_finetune_api.v1alpha1 import GROUP, KIND, VERSION, WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.rules import NAME_MAX_LENGTH
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.output import run_identity

#: On a workstation a run takes at most half of what is free in the scratch folder.
_SCRATCH_PART = 2
_MEND = "name a trainer image of the operator's version in the cluster's runtimes"
_NO_TEXT = {
    bool: "YAML takes words such as no, off, yes and on for true or false",
    int: "YAML takes it for a number",
    float: "YAML takes it for a number",
}
_API_VERSION = f"{GROUP}/{VERSION}"
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpecFile:
    """The object that a file describes."""

    name: str
    namespace: str
    spec: WhisperFineTuneSpec


def config_of_environment(environment: Mapping[str, str]) -> TrainerConfig:
    """Return the configuration that the operator gave.

    Raises ConfigInvalid where there is none, and VersionMismatch where this image does not understand it.
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
        logger.warning("the operator sent fields that this image does not know; left out: %s", found.remark())
    return found.model.model_copy(update={"takes_over": TAKES_OVER_ENV in environment or None})


def _understood(text: str) -> Reading[TrainerConfig]:
    """Return the configuration without unknown fields. Inside of spec an unknown field raises VersionMismatch."""
    try:
        found = reading.read_leniently(TrainerConfig, pydantic_core.from_json(text))
    except ValidationError as error:
        raise _too_new(field_error_lines(error)) from None
    except ValueError as error:
        raise TrainerError("ConfigInvalid", f"${CONFIG_ENV}: the object: Invalid JSON: {error}") from None
    refused = [part for part in found.left_out if part.path[0] == "spec" or not part.is_unknown_field]
    if refused:
        raise _too_new(map(str, refused))
    return found


def _too_new(faults: Iterable[str]) -> TrainerError:
    return TrainerError("VersionMismatch", f"${CONFIG_ENV} is of another version: {'; '.join(faults)}; {_MEND}")


def config_of_workstation(
    described: SpecFile,
    volumes: Mapping[str, str],
    accelerator: Accelerator,
    scratch: Path,
    ipus: Optional[int] = None,
) -> TrainerConfig:
    """Return the configuration that the operator would make for the object. Raises ConfigInvalid.

    `volumes` has a local folder for each claim, and `ipus` is the size of the partition, if the command line gives it.
    """
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


def field_error_lines(error: ValidationError, prefix: str = "") -> Tuple[str, ...]:
    """Return one line per refused field, with its path and what is wrong."""
    return tuple(_line(prefix, detail) for detail in error.errors(include_url=False))


def _line(prefix: str, detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in ((prefix,) if prefix else ()) + detail["loc"])
    return f"{path or 'the object'}: {_message(detail)}"


def _message(detail: ErrorDetails) -> str:
    taken_for = _NO_TEXT.get(type(detail["input"])) if detail["type"] == "string_type" else None
    if taken_for:
        return f"without quotes, {taken_for}; write it in quotes"
    # pydantic adds these words to the messages of our own validators.
    return detail["msg"].replace("Value error, ", "")


def read_spec_file(path: Path) -> SpecFile:
    """Return the object in a file. Raises ConfigInvalid with one line for each fault."""
    found = _one_object(path)
    metadata = found.get("metadata") or {}
    name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", "default"))
    wrong = _header_errors(found, name)
    try:
        spec = WhisperFineTuneSpec.model_validate(found.get("spec"))
    except ValidationError as error:
        raise _refused(path, [*wrong, *field_error_lines(error, "spec")]) from None
    if wrong:
        raise _refused(path, wrong)
    return SpecFile(name, namespace, spec)


def _one_object(path: Path) -> Dict[str, Any]:
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text("utf-8-sig")) if document is not None]
    except OSError as error:
        raise _refused(path, [f"cannot be read: {error.strerror}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML raises ValueError for a date that does not exist.
        raise _refused(path, [f"is not YAML: {' '.join(str(error).split())}"]) from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise _refused(path, [f"must contain exactly one {KIND} object, and contains {len(documents)} documents"])
    if not isinstance(documents[0].get("metadata", {}), dict):
        raise _refused(path, ["metadata must be an object with a name"])
    return documents[0]


def _header_errors(found: Dict[str, Any], name: str) -> List[str]:
    wrong = []
    if found.get("apiVersion") != _API_VERSION or found.get("kind") != KIND:
        wrong.append(f"apiVersion and kind must be {_API_VERSION} and {KIND}")
    if not _NAME.match(name) or len(name) > NAME_MAX_LENGTH:
        wrong.append(f"metadata.name must be a Kubernetes name of at most {NAME_MAX_LENGTH} characters, not {name!r}")
    return wrong


def _refused(path: Path, wrong: List[str]) -> TrainerError:
    return TrainerError("ConfigInvalid", "\n".join(f"{path}: {line}" for line in wrong))
