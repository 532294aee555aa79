"""Where the addresses of a spec lie on this machine."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from whisper_finetune_api import addresses
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.errors import TrainerError


def local_path(address: str, field: str, config: TrainerConfig) -> Path:
    """Return the local path of a `pvc://` address; ConfigInvalid for every other one, and for an unmounted claim."""
    parsed = addresses.parse(address)
    if parsed is None or parsed.scheme != "pvc":
        kind = "a Hub id" if parsed is None else f"{parsed.scheme}://"
        raise TrainerError(
            "ConfigInvalid",
            f"{field}: {kind} is not supported by this version; copy {address} to a volume and use pvc://claim/path",
        )
    if parsed.place not in config.volumes:
        mounted = ", ".join(sorted(config.volumes)) or "none"
        raise TrainerError(
            "ConfigInvalid",
            f"{field}: claim {parsed.place} is not mounted here (mounted: {mounted}); "
            f"on a workstation pass --volume {parsed.place}=FOLDER",
        )
    return Path(addresses.local_path(address, config.volumes))


@contextmanager
def readable(address: str, field: str) -> Iterator[None]:
    """Turn a refusal of the file system, while an address is read, into AccessDenied."""
    try:
        yield
    except PermissionError as error:
        raise TrainerError(
            "AccessDenied",
            f"{field}: user {os.geteuid()} may not read {error.filename} of {address}; "
            "open it to that user, or set fsGroup or runAsUser of the runtime",
        ) from error
