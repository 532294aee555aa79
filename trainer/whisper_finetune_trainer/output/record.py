"""Records: small JSON files in a run's folder. One attempt writes them and later attempts, of any version, read them.

A reader leaves out a field that it does not know. A change for which that would be wrong raises FORMAT. The manifest of
a folder carries the format of all files in the folder.
"""

from typing import Optional, Type, TypeVar

from pydantic import Field, ValidationError

from whisper_finetune_api import reading
from whisper_finetune_api.v1alpha1.api_model import ApiModel
from whisper_finetune_trainer.messages.errors import TrainerError

FORMAT = 1


class Record(ApiModel):
    """The field that all records have. Records without it are of format 1."""

    format: int = Field(FORMAT, ge=1, le=FORMAT)


SomeRecord = TypeVar("SomeRecord", bound=Record)
Model = TypeVar("Model", bound=ApiModel)


def read_record(kind: Type[SomeRecord], found: object) -> Optional[SomeRecord]:
    """Return the record that JSON holds, or None where it holds no such record.

    Raises VersionMismatch for a record of a later format. To return None for it would train the run anew, over what is
    there.
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
    """Return what the JSON says, without the fields that are not known. Return None where it is invalid otherwise."""
    try:
        whole = reading.read_leniently(kind, found)
    except ValidationError:
        return None
    return whole.model if all(part.is_unknown_field for part in whole.left_out) else None
