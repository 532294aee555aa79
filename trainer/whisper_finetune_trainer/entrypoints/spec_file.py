"""A WhisperFineTune object from a YAML file, as kubectl takes it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import yaml
from pydantic import ValidationError

from whisper_finetune_api.v1alpha1 import GROUP, KIND, VERSION, WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.rules import NAME_MAX_LENGTH
from whisper_finetune_trainer.entrypoints import field_errors
from whisper_finetune_trainer.messages.errors import TrainerError

_API_VERSION = f"{GROUP}/{VERSION}"
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")


@dataclass(frozen=True)
class SpecFile:
    """The object that a file describes."""

    name: str
    namespace: str
    spec: WhisperFineTuneSpec


def read(path: Path) -> SpecFile:
    """Return the object; TrainerError(ConfigInvalid) with a line for each thing that is wrong."""
    found = _one_object(path)
    metadata = found.get("metadata") or {}
    name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", "default"))
    wrong = _header_errors(found, name)
    try:
        spec = WhisperFineTuneSpec.model_validate(found.get("spec"))
    except ValidationError as error:
        raise _refused(path, [*wrong, *field_errors.lines(error, "spec")]) from None
    if wrong:
        raise _refused(path, wrong)
    return SpecFile(name, namespace, spec)


def _one_object(path: Path) -> Dict[str, Any]:
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text("utf-8-sig")) if document is not None]
    except OSError as error:
        raise _refused(path, [f"cannot be read: {error.strerror}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # A ValueError is also said of a day that no calendar has.
        raise _refused(path, [f"is not YAML: {' '.join(str(error).split())}"]) from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise _refused(path, [f"must hold exactly one {KIND} object, and holds {len(documents)} documents"])
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
