"""A double of the Hugging Face Hub's API for data sets and models: a repository's contents, and its files."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import loopback
from loopback import Answer, Request

#: Opens gated repositories.
TOKEN = "hf_of_somebody_who_accepted"  # noqa: S105 -- of a double


@dataclass(frozen=True)
class Repository:
    """A folder for each revision, the `configs` of a data set's card, and whether its terms must be accepted.

    What is pushed to a revision is another folder; the one before stays where its commit is named.
    """

    revisions: dict[str, Path]
    configs: list[dict[str, Any]] | None = None
    is_gated: bool = False
    #: Folders that a revision had before.
    history: list[Path] = field(default_factory=list)


def commit_of(folder: Path) -> str:
    """Return the commit that a folder stands for."""
    return hashlib.sha1(str(folder).encode(), usedforsecurity=False).hexdigest()


def push(repository: Repository, revision: str, folder: Path) -> None:
    """Let a revision be another folder from now on."""
    repository.history.append(repository.revisions[revision])
    repository.revisions[revision] = folder


def _folder(repository: Repository, revision: str) -> Path | None:
    commits = {commit_of(folder): folder for folder in (*repository.revisions.values(), *repository.history)}
    return repository.revisions.get(revision) or commits.get(revision)


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _entry(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    kind = "directory" if path.is_dir() else "file"
    return {"type": kind, "path": name, "size": path.stat().st_size if path.is_file() else 0, "oid": "0" * 40}


def _described(name: str, repository: Repository, folder: Path) -> Answer:
    info = {
        "id": name,
        "sha": commit_of(folder),
        "gated": "auto" if repository.is_gated else False,
        "siblings": [{"rfilename": file} for file in _names(folder)],
        "cardData": {"configs": repository.configs} if repository.configs else {},
    }
    return Answer(content=json.dumps(info).encode())


def _tree(folder: Path, path: str) -> Answer:
    entries = sorted((folder / path).iterdir()) if (folder / path).is_dir() else []
    return Answer(
        content=json.dumps([_entry(folder, entry.relative_to(folder).as_posix()) for entry in entries]).encode()
    )


def _paths_info(folder: Path, body: str) -> Answer:
    wanted = urllib.parse.parse_qs(body).get("paths", [])
    return Answer(content=json.dumps([_entry(folder, name) for name in wanted if (folder / name).exists()]).encode())


def _file(repository: Repository, folder: Path, path: str, headers: dict[str, str], commit: str) -> Answer:
    if repository.is_gated and headers.get("authorization") != f"Bearer {TOKEN}":
        return Answer(403, headers={"X-Error-Code": "GatedRepo"})
    if not (folder / path).is_file():
        return Answer(404, headers={"X-Error-Code": "EntryNotFound"})
    content = (folder / path).read_bytes()
    sent = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
    if "range" not in headers:
        return Answer(content=content, headers=sent)
    first, last = (int(place) for place in headers["range"].removeprefix("bytes=").split("-"))
    return Answer(206, content[first : last + 1], sent)


def answer(repositories: dict[str, Repository], request: Request) -> Answer:
    """Return what the Hub answers to a request."""
    parts = urllib.parse.urlsplit(request.path).path.strip("/").split("/")
    is_api = parts[0] == "api"
    # api/datasets/OWNER/NAME/..., datasets/OWNER/NAME/..., and the same of models; of a file without "models".
    start = 2 if is_api else int(parts[0] == "datasets")
    name = "/".join(parts[start : start + 2])
    what, *rest = [urllib.parse.unquote(part) for part in parts[start + 2 :]] or ["revision", "main"]
    repository = repositories.get(name)
    if repository is None:
        return Answer(401, headers={"X-Error-Code": "RepoNotFound"})
    folder = _folder(repository, rest[0])
    if folder is None:
        return Answer(404, headers={"X-Error-Code": "RevisionNotFound"})
    if what == "revision":
        return _described(name, repository, folder)
    if what == "tree":
        return _tree(folder, "/".join(rest[1:]))
    if what == "paths-info":
        return _paths_info(folder, request.body.decode())
    return _file(repository, folder, "/".join(rest[1:]), request.headers, commit_of(folder))


@contextmanager
def serving(repositories: dict[str, Repository]) -> Iterator[str]:
    """Serve repositories; yield the endpoint."""
    with loopback.serving(lambda request: answer(repositories, request)) as endpoint:
        yield endpoint
