"""Records: small JSON files in a run's folder that one attempt writes and later ones read, perhaps of another version.

A field that a reader does not know is left out. Where that would mislead, FORMAT is raised: a folder's manifest speaks
for all files in the folder.
"""

from typing import Optional, Type, TypeVar

from pydantic import Field, ValidationError

from whisper_finetune_api import reading
from whisper_finetune_api.v1alpha1.api_model import ApiModel
from whisper_finetune_trainer.messages.errors import TrainerError

FORMAT = 1


class Record(ApiModel):
    """What all records have. The first ones did not say their format."""

    format: int = Field(FORMAT, ge=1, le=FORMAT)


SomeRecord = TypeVar("SomeRecord", bound=Record)
Model = TypeVar("Model", bound=ApiModel)


def read_record(kind: Type[SomeRecord], found: object) -> Optional[SomeRecord]:
    """Return a record of JSON, None where it is not one.

    TrainerError(VersionMismatch) where it is of a later format: to take it for none would train the run anew over it.
    """
    written = found.get("format") if isinstance(found, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise TrainerError(
            "VersionMismatch",
            f"the run's folder was written by a newer trainer (format {written}, and this image reads {FORMAT}): "
            "name a trainer image of that version in the cluster's runtimes",
        )
    return understand_record(kind, found)


def understand_record(kind: Type[Model], found: object) -> Optional[Model]:
    """Return what the JSON says without fields that are not known, None where anything else is not as it must be."""
    try:
        whole = reading.read_leniently(kind, found)
    except ValidationError:
        return None
    return whole.model if all(part.is_unknown_field for part in whole.left_out) else None
