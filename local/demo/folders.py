"""The folders for what the demo fetches and makes. None of it is ever committed."""

import os
from dataclasses import dataclass
from pathlib import Path

LANGUAGE = "it"
MODEL_NAME = "whisper-base"


def default_root() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "whisper-finetune" / "demo"


@dataclass(frozen=True)
class DemoFolders:
    """The demo's folders below one root."""

    root: Path

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def model(self) -> Path:
        return self.root / "model" / MODEL_NAME

    @property
    def speech(self) -> Path:
        return self.root / "speech" / LANGUAGE

    @property
    def licences(self) -> Path:
        return self.root / "LICENCES"
