"""The admin's file: what the cluster offers to run trainers on."""

from pathlib import Path

from whisper_finetune_api.v1alpha1.model import ApiModel


class RuntimesError(Exception):
    """The file cannot be used; the text is one line for the admin."""


class Runtimes(ApiModel):
    """The whole file."""


def load(path: Path) -> Runtimes:
    """Read the admin's file; RuntimesError says what is wrong, where, and what to do."""
    raise NotImplementedError
