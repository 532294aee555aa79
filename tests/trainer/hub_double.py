"""A double of the Hugging Face Hub: the files of one model, and the Hub's refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import loopback
from loopback import Answer

_COMMIT = "0123456789abcdef0123456789abcdef01234567"
#: Repository to the status and error code that the real Hub answers with.
REFUSALS = {
    "team/missing": (404, "RepoNotFound"),
    "team/gated": (403, "GatedRepo"),
    "team/forbidden": (403, None),
    "team/broken": (500, None),
}


def _entry(path: Path) -> dict[str, object]:
    return {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": _COMMIT}


@contextmanager
def serving(model: str, folder: Path) -> Iterator[str]:
    """Serve `folder` as `model`; yield the endpoint."""
    with loopback.serving(lambda request: _answer(request.path, model, folder)) as endpoint:
        yield endpoint


def _answer(path: str, model: str, folder: Path) -> Answer:
    if model not in path:
        return _refusal(*REFUSALS[next((name for name in REFUSALS if name in path), "team/missing")])
    if "no-such-revision" in path:
        return _refusal(404, "RevisionNotFound")
    if "/resolve/" in path:
        return _content((folder / path.rsplit("/", 1)[1]).read_bytes())
    if "/tree/" in path:
        return _content(json.dumps([_entry(file) for file in sorted(folder.iterdir())]).encode())
    files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
    return _content(json.dumps({"id": model, "sha": _COMMIT, "siblings": files}).encode())


def _refusal(status: int, code: str | None) -> Answer:
    return Answer(status, headers={"X-Error-Code": code} if code else {})


def _content(content: bytes) -> Answer:
    return Answer(content=content, headers={"X-Repo-Commit": _COMMIT, "ETag": f'"{len(content)}-{hash(content)}"'})
