"""What a run does with its output, without training. `stored_run.py VERB ADDRESS FOLDER` prints an answer as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.output.object_storage import ObjectStorage
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.output.uploads import Uploads
from whisper_finetune_trainer.stores import object_store

NAME, UID = "demo-12345678", "12345678-0000-0000-0000-000000000000"
#: More than the libraries send at once.
STATE_BYTES = 60 << 20


def opened(address: str, scratch: Path) -> RunFolder:
    store = object_store.open_store(address, "output.uri")
    return RunFolder(ObjectStorage(store, scratch, Uploads()), NAME, address, UID, "f" * 64)


def write(folder: RunFolder) -> Any:
    """Write three states, of which the newest two stay, and name the run in latest.json."""
    folder.prepare()
    for step in (1, 2, 3):
        folder.write_folder(f"resume/checkpoint-{step}", step, fill(step))
        folder.prune("resume", 2)
    folder.update_latest(lambda known: {"step": 3, "before": known})
    folder.wait_until_written()
    return None


def fill(step: int) -> Callable[[Path], None]:
    def state(path: Path) -> None:
        (path / "state.bin").write_bytes(bytes([step]) * STATE_BYTES)

    return state


def resume(folder: RunFolder) -> Any:
    """Go on from the newest whole state, as a later attempt does."""
    folder.prepare()
    with folder.newest_to_resume() as newest:
        content = (newest.local / "state.bin").read_bytes() if newest else b""
        found = newest.stored.path if newest else None
    latest: list[Any] = []
    folder.update_latest(lambda known: latest.append(known))  # noqa: PLW0108 -- append gives None: nothing is written
    folder.wait_until_written()
    return {"state": found, "bytes": len(content), "step": content[0] if content else None, "latest": latest[0]}


def main(verb: str, address: str, scratch: str) -> None:
    """Print the answer, or the refusal."""
    try:
        answer = {"write": write, "resume": resume}[verb](opened(address, Path(scratch)))
    except TrainerError as error:
        answer = {"reason": error.reason, "message": error.message}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
