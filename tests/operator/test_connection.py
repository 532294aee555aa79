"""What is sent to the API server arrives as it is meant, and its lines come whole however they are cut on the way."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from operator_process import free_port
from whisper_finetune_operator.api.connection import Access, Answer, Connection, UnreachableError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def connected(answer: Handler) -> AsyncIterator[Connection]:
    """Serve, and yield a connection to the server."""
    application, port = web.Application(), free_port()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    access = Access(f"http://127.0.0.1:{port}", "speech", ssl.create_default_context(), "token", None)
    try:
        async with Connection(access, connections=1, timeout_seconds=20) as way:
            yield way
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("text", "sent"), [("più", '{"text":"più"}'), ("cut \ud83d", r'{"text": "cut \ud83d"}')], ids=["letters", "half"]
)
async def test_any_text_can_be_sent(text: str, sent: str) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"came": (await request.read()).decode()}, status=201)

    async with connected(echo) as way:
        assert await way.send("POST", "/runs", body={"text": text}, headers={}) == Answer(201, {"came": sent})


@pytest.mark.parametrize("content", [b"<html>gone</html>", b"\xff", b""], ids=["page", "no text", "nothing"])
async def test_an_answer_that_is_no_json_has_its_code_all_the_same(content: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=content, status=502)

    async with connected(answer) as way:
        found = await way.send("GET", "/runs", body=None, headers={})
    assert (found.code, found.body) == (502, {"message": content.decode(errors="replace")})


async def lines_of(way: Connection, total_seconds: float = 20) -> list[Answer | bytes]:
    lines = way.lines("/runs", headers={}, connect_seconds=5, total_seconds=total_seconds)
    return [line async for line in lines]


async def test_lines_come_whole_however_they_are_cut() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in (b'{"a"', b": 1}\n{", b'"b": 2}\n', b"a rest without an end"):
            await response.write(part)
        return response

    async with connected(stream) as way:
        assert await lines_of(way) == [b'{"a": 1}', b'{"b": 2}']


async def test_a_stream_that_is_refused_gives_the_refusal() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"message": "later"}, status=429, headers={"Retry-After": "7"})

    async with connected(refuse) as way:
        assert await lines_of(way) == [Answer(429, {"message": "later"}, retry_after_seconds=7.0)]


async def test_a_stream_without_an_end_is_given_up() -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async with connected(hang) as way:
        with pytest.raises(UnreachableError):
            await lines_of(way, total_seconds=0.1)
