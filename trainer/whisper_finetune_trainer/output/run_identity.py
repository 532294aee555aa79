"""Which run this is: a digest of the fields that decide its weights, and a UID for a run without a cluster. Pure."""

import hashlib
import json
import uuid
from typing import Any, Dict

from whisper_finetune_api import contract
from whisper_finetune_api.v1alpha1 import GROUP, WhisperFineTuneSpec

#: Fields of `training` that change when files are written, and not what is in them.
_TIMING_FIELDS = ("resumeEverySeconds",)
_DECIDING_FIELDS = ("model", "modelRevision", "language", "task", "dataset", "training", "ipus", "ipuConfig")


def training_fields_digest(spec: WhisperFineTuneSpec) -> str:
    """Return the sha256, in hex, of the fields that decide the weights.

    A run does not resume from a checkpoint with another digest.
    """
    rendered = json.dumps(_deciding(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(rendered.encode()).hexdigest()


def workstation_uid(name: str, spec: WhisperFineTuneSpec) -> str:
    """Return the UID of a run without a cluster. The same name and fields give the same UID, so that it resumes."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{training_fields_digest(spec)}.{GROUP}"))


def _deciding(spec: WhisperFineTuneSpec) -> Dict[str, Any]:
    # A field of a later version that has its default decides nothing. So the digest stays that of earlier versions.
    fields = contract.without_later_defaults(spec)
    training = {name: value for name, value in fields["training"].items() if name not in _TIMING_FIELDS}
    return {**{name: fields[name] for name in _DECIDING_FIELDS if name in fields}, "training": training}
