"""Which run this is: digests of what decides its weights and its result, and a UID without a cluster. Pure."""

import hashlib
import json
import uuid
from typing import Any, Dict, Sequence

from whisper_finetune_api import contract
from whisper_finetune_api.v1alpha1 import GROUP, WhisperFineTuneSpec

#: Fields of `training` that change when files are written, and not what is in them.
_TIMING_FIELDS = ("resumeEverySeconds",)
_DECIDING_FIELDS = ("model", "modelRevision", "language", "task", "dataset", "training", "ipus", "ipuConfig")
#: What is measured and written beside the weights.
_REPORTING_FIELDS = ("evaluations", "longForm", "acceptance", "output")
_PLACE_FIELDS = ("uri", "keepCheckpoints")


def training_fields_digest(spec: WhisperFineTuneSpec) -> str:
    """Return the sha256, in hex, of the fields that decide the weights.

    A run does not resume from a checkpoint with another digest.
    """
    return _digest(_deciding(spec))


def made_from_digest(spec: WhisperFineTuneSpec, data: Sequence[str], weights: str) -> str:
    """Return the sha256, in hex, of all that decides the result: fields, data and the weights at the start.

    `data` has the digests of all clips that are trained on or measured, and `weights` is that of the model. A run takes
    over the result of an earlier run of its name with the same digest. Otherwise each run would train again that is
    restored from a backup without its status.
    """
    fields = contract.without_later_defaults(spec)
    reported = {name: fields[name] for name in _REPORTING_FIELDS if name in fields}
    reported["output"] = {name: value for name, value in reported["output"].items() if name not in _PLACE_FIELDS}
    whole = {"fields": {**_deciding(spec), **reported}, "data": list(data), "weights": weights}
    return _digest(whole)


def workstation_uid(name: str, spec: WhisperFineTuneSpec) -> str:
    """Return the UID of a run without a cluster. The same name and fields give the same UID, so that it resumes."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{training_fields_digest(spec)}.{GROUP}"))


def _deciding(spec: WhisperFineTuneSpec) -> Dict[str, Any]:
    # A field of a later version that has its default decides nothing. So the digest stays that of earlier versions.
    fields = contract.without_later_defaults(spec)
    training = {name: value for name, value in fields["training"].items() if name not in _TIMING_FIELDS}
    return {**{name: fields[name] for name in _DECIDING_FIELDS if name in fields}, "training": training}


def _digest(content: Dict[str, Any]) -> str:
    rendered = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(rendered.encode()).hexdigest()
