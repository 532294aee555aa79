"""Where the addresses of a spec lie on this machine."""

from pathlib import Path

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
