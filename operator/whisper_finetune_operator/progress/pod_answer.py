"""One bounded GET to a pod that nobody need trust: so many bytes in all, of whatever kind, and so many seconds."""

import asyncio
from http import HTTPStatus

import h11

BODY_MAX_BYTES = 64 * 1024
#: Of everything before the body: interim answers and headers.
_HEAD_MAX_BYTES = 16 * 1024
_PART_BYTES = 16 * 1024


class RefusedAnswerError(Exception):
    """The answer of a trainer cannot be used. `cause` is the metric's label."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


async def get_bounded(host: str, port: int, path: str, *, timeout_seconds: float) -> bytes:
    """Return the body of a good answer. RefusedAnswerError (unreachable, status, malformed, oversized) for any other.

    A redirect is none: it could lead anywhere in the cluster's network. No proxy of the environment is followed.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=_PART_BYTES)
            try:
                return await _exchange(reader, writer, _host_header(host, port), path)
            finally:
                # Not closed in good order, which would wait for what a pod goes on sending.
                writer.transport.abort()
    except (OSError, TimeoutError) as problem:
        raise RefusedAnswerError("unreachable", str(problem) or "no answer in time") from problem
    except h11.RemoteProtocolError as problem:
        raise RefusedAnswerError("malformed", f"no HTTP: {problem}") from problem


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str) -> bytes:
    exchange = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_MAX_BYTES)
    headers = [("Host", host), ("Accept", "application/json"), ("Connection", "close")]
    writer.write(exchange.send(h11.Request(method="GET", target=path, headers=headers)) or b"")
    writer.write(exchange.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    body = bytearray()
    received_bytes = 0
    while True:
        event = exchange.next_event()
        if event is h11.NEED_DATA:
            part = await reader.read(_PART_BYTES)
            received_bytes += len(part)
            if received_bytes > _HEAD_MAX_BYTES + BODY_MAX_BYTES:
                raise RefusedAnswerError("oversized", f"longer than {BODY_MAX_BYTES} bytes")
            exchange.receive_data(part)
        elif isinstance(event, h11.Response) and event.status_code != HTTPStatus.OK:
            raise RefusedAnswerError("status", f"HTTP status {event.status_code}")
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)


def _host_header(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
