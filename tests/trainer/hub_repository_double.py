"""A double of the Hugging Face Hub for a model that is pushed: repositories, branches, commits, and their files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import loopback
from loopback import Answer, Request

TOKEN = "hf_of_the_owner"  # noqa: S105 -- of a double
_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What clients have made of it."""

    endpoint: str = ""
    #: The only repository that the token may write to; it is made by a client.
    writable: str = "team/whisper-it"
    is_made: bool = False
    is_private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    #: Commits that fail before one succeeds.
    failures: int = 0

    def answer(self, method: str, path: str, body: bytes, token: str | None) -> tuple[int, bytes]:
        """Return status and content for a request."""
        self.requests.append((method, path))
        is_reading = method in ("GET", "HEAD")
        if not is_reading and token != f"Bearer {TOKEN}":
            return 401, b'{"error": "Invalid username or password."}'
        if path == "/api/validate-yaml":
            return 200, b'{"errors": [], "warnings": []}'
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if f"/{self.writable}" not in path or not self.is_made:
            return (404 if is_reading else 403), b'{"error": "You have no rights here."}'
        return self._read(path) if is_reading else self._write(method, path, body)

    def _read(self, path: str) -> tuple[int, bytes]:
        if "/tree/" in path:
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": _COMMIT}
                for name, content in sorted(self.files.items())
            ]
            return 200, json.dumps(tree).encode()
        if "/resolve/" in path:
            revision_and_name = path.split("/resolve/", 1)[1]
            content = self.files.get(revision_and_name.split("/", 1)[1])
            return (404, b"") if content is None else (200, content)
        return 200, json.dumps({"id": self.writable, "sha": _COMMIT, "siblings": []}).encode()

    def _write(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if "/branch/" in path:
            self.branches.append(f"{method} {path.rsplit('/', 1)[1]}")
            return 200, b"{}"
        if "/preupload/" in path:
            files = [{**asked, "uploadMode": "regular", "shouldIgnore": False} for asked in json.loads(body)["files"]]
            return 200, json.dumps({"files": files}).encode()
        return self._commit(body)

    def _create(self, asked: dict[str, object]) -> tuple[int, bytes]:
        if f"{asked.get('organization')}/{asked['name']}" != self.writable:
            return 403, b'{"error": "You have no rights here."}'
        if self.is_made:
            return 409, json.dumps({"url": f"{self.endpoint}/{self.writable}"}).encode()
        self.is_made, self.is_private = True, bool(asked.get("private") or asked.get("visibility") == "private")
        return 200, json.dumps({"url": f"{self.endpoint}/{self.writable}", "id": "1"}).encode()

    def _commit(self, body: bytes) -> tuple[int, bytes]:
        if self.failures:
            self.failures -= 1
            return 503, b'{"error": "busy"}'
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "header":
                self.commits.append(line["value"]["summary"])
            elif line["key"] == "file":
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        url = f"{self.endpoint}/{self.writable}/commit/{_COMMIT}"
        return 200, json.dumps({"success": True, "commitOid": _COMMIT, "commitUrl": url, "hookOutput": ""}).encode()


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve on a free port of the loopback."""
    hub = Hub()
    with loopback.serving(lambda request: _answer(hub, request)) as hub.endpoint:
        yield hub


def _answer(hub: Hub, request: Request) -> Answer:
    status, content = hub.answer(request.method, request.path, request.body, request.headers.get("authorization"))
    headers = {"X-Repo-Commit": _COMMIT, "ETag": f'"{hash(content)}"'}
    if status == 404:
        headers["X-Error-Code"] = "EntryNotFound" if "/resolve/" in request.path else "RepoNotFound"
    return Answer(status, content, headers)
