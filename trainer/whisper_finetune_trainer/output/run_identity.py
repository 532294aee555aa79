"""Which run this is: what decides its weights, as one digest, and a UID for runs that no cluster gave one. Pure."""

import hashlib
import json
import uuid
from typing import Any, Dict

from whisper_finetune_api import contract
from whisper_finetune_api.v1alpha1 import GROUP, WhisperFineTuneSpec

#: Fields of `training` that change when files are written, never what is in them.
_TIMING_FIELDS = ("resumeEverySeconds",)
_DECIDING_FIELDS = ("model", "modelRevision", "language", "task", "dataset", "training", "ipus", "ipuConfig")


def training_fields_digest(spec: WhisperFineTuneSpec) -> str:
    """Return the sha256 of the fields that decide the weights: a checkpoint of others is never resumed from."""
    rendered = json.dumps(_deciding(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(rendered.encode()).hexdigest()


def workstation_uid(name: str, spec: WhisperFineTuneSpec) -> str:
    """Return the UID of a run without a cluster: the same name and fields give the same one, so it resumes."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{training_fields_digest(spec)}.{GROUP}"))


def _deciding(spec: WhisperFineTuneSpec) -> Dict[str, Any]:
    # A field that came later and stands at its default decides nothing: the digest stays that of earlier versions.
    fields = contract.without_later_defaults(spec)
    training = {name: value for name, value in fields["training"].items() if name not in _TIMING_FIELDS}
    return {**{name: fields[name] for name in _DECIDING_FIELDS if name in fields}, "training": training}
