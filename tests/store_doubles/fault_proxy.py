"""A proxy before an HTTP service. It cuts connections, answers for the service, or is slow, as a test tells it."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    #: With its query.
    path: str


class Gate:
    """Holds requests back until it is opened, or drops them."""

    def __init__(self) -> None:
        #: Once a request stands before it.
        self.reached = threading.Event()
        self._opened = threading.Event()
        self.drops = False

    def set(self) -> None:
        """Let the requests through, and all that come."""
        self._opened.set()

    def drop(self) -> None:
        """Let none of the requests through that stand here: their client is gone. Those that come pass."""
        self.drops = True
        self._opened.set()

    def wait(self) -> bool:
        """Stand before the gate; return whether the request may go on."""
        is_first = not self._opened.is_set()
        self.reached.set()
        self._opened.wait()
        return not (self.drops and is_first)


@dataclass
class Fault:
    """What befalls the requests that it is for; `times` counts down to none."""

    is_for: Callable[[Request], bool]
    #: Of a client's body, before the connection is cut.
    cut_after_bytes: int | None = None
    #: An answer of a status and a body, instead of the service's.
    answer: tuple[int, str] | None = None
    delay_seconds: float = 0.0
    gate: Gate | None = None
    times: int = 1_000_000
    seen: int = 0


@dataclass
class FaultProxy:
    """A running proxy; faults may be added and taken away at any time."""

    endpoint: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    #: Of the service's answers, that clients were sent.
    sent_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> Fault:
        """Let a fault befall requests from now on."""
        self.faults.append(fault)
        return fault

    def cut(self, is_for: Callable[[Request], bool], after_bytes: int = 0, times: int = 1_000_000) -> Fault:
        """Cut the connections of some requests in the middle of their bodies."""
        return self.add(Fault(is_for, cut_after_bytes=after_bytes, times=times))

    def refuse(self, is_for: Callable[[Request], bool], status: int, code: str, times: int = 1_000_000) -> Fault:
        """Answer some requests as S3 does with an error."""
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>the test says {code}</Message></Error>'
        return self.add(Fault(is_for, answer=(status, body), times=times))

    def close(self, is_for: Callable[[Request], bool]) -> Gate:
        """Hold some requests back; return the gate to open."""
        gate = Gate()
        self.add(Fault(is_for, gate=gate))
        return gate

    def fault_for(self, request: Request) -> Fault | None:
        """Return what befalls a request now, and count it."""
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.seen < fault.times and fault.is_for(request):
                    fault.seen += 1
                    return fault
        return None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy
    service: str

    def _serve(self) -> None:
        fault = self.proxy.fault_for(Request(self.command, self.path))
        length = int(self.headers.get("Content-Length") or 0)
        if fault is not None and fault.cut_after_bytes is not None:
            self.rfile.read(min(length, fault.cut_after_bytes))
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(length)
        if fault is not None:
            time.sleep(fault.delay_seconds)
        if fault is not None and fault.gate is not None and not fault.gate.wait():
            self.close_connection = True
            return
        if fault is not None and fault.answer is not None:
            status, text = fault.answer
            self._answer(status, {"Content-Type": "application/xml"}, text.encode())
            return
        self._forward(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 -- the names that http.server looks for

    def _forward(self, body: bytes) -> None:
        onward = http.client.HTTPConnection(self.service)
        # The request is signed with the host that the client named.
        onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                onward.putheader(name, value)
        onward.endheaders(body)
        answer = onward.getresponse()
        self._answer(answer.status, dict(answer.getheaders()), answer.read())
        onward.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        kept = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
        # The length of a HEAD's answer is not that of its body.
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        for name, value in {**kept, "Content-Length": length}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            with self.proxy._lock:
                self.proxy.sent_bytes += len(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the tests' output is theirs."""


_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that goes away is what these tests are about."""


@contextlib.contextmanager
def before(endpoint: str) -> Iterator[FaultProxy]:
    """Stand before a service (`http://HOST:PORT`) on a free port of the loopback."""
    proxy = FaultProxy()
    handler = type("Handler", (_Handler,), {"proxy": proxy, "service": endpoint.rsplit("/", 1)[-1]})
    server = _Server(("127.0.0.1", 0), handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
