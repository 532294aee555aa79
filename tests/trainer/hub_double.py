"""A double of the Hugging Face Hub, which cannot be reached from here: one model's files, and the Hub's refusals."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def _answer(path: str, model: str, folder: Path) -> "bytes | tuple[int, str | None]":
    if model not in path:
        return REFUSALS[next((name for name in REFUSALS if name in path), "team/missing")]
    if "no-such-revision" in path:
        return 404, "RevisionNotFound"
    if "/resolve/" in path:
        return (folder / path.rsplit("/", 1)[1]).read_bytes()
    if "/tree/" in path:
        return json.dumps([_entry(file) for file in sorted(folder.iterdir())]).encode()
    files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
    return json.dumps({"id": model, "sha": _COMMIT, "siblings": files}).encode()


@contextmanager
def serving(model: str, folder: Path) -> Iterator[str]:
    """Serve `folder` as `model` on a free port of the loopback; yield the endpoint."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = _answer(self.path, model, folder)
            if isinstance(answer, bytes):
                self._send(answer)
            else:
                self._refuse(*answer)

        do_HEAD = do_GET  # noqa: N815 -- the name that http.server looks for

        def _refuse(self, status: int, code: str | None) -> None:
            self.send_response(status)
            if code is not None:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", _COMMIT)
            self.send_header("ETag", f'"{len(content)}-{hash(content)}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing: the tests' output is theirs."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
