"""A callback whose answer takes its time, on a connection that goes on, ends, or is to end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from replyhook_receiver import bounds, serving
from replyhook_receiver.serving import Server, free_socket, server_config
from replyhook_receiver.short_way import Answer
from tests.receiver.support import until

CALLBACK = b"POST /callbacks/x/y HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
OTHER = b"POST /other HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


class Slow:
    """Takes callbacks and answers them when it is told to."""

    def __init__(self) -> None:
        self.pending: list[Callable[[Answer], None]] = []

    def take(self, scope: Any, body: bytes, answered: Callable[[Answer], None]) -> bool:
        assert (scope["method"], scope["path"], body) == ("POST", "/callbacks/x/y", b"{}")
        self.pending.append(answered)
        return True

    async def has(self, count: int) -> None:
        """Come back when so many are pending."""
        async with asyncio.timeout(60):
            while len(self.pending) < count:
                await asyncio.sleep(0.01)

    def answer(self, answer: Answer) -> None:
        """Answer the first."""
        self.pending.pop(0)(answer)


class Running:
    """A server, with a connection to it."""

    def __init__(self, slow: Slow, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.slow, self.server, self.reader, self.writer = slow, server, reader, writer

    async def answer(self) -> bytes:
        """The next answer's body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return await self.reader.readexactly(length)

    async def is_silent(self) -> None:
        """Nothing is said for a while."""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), 0.1)


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    async def echo(request: Request) -> Response:
        await request.body()
        return PlainTextResponse("other")

    async def long_way(request: Request) -> Response:
        await request.body()
        return PlainTextResponse("long")

    routes = [Route("/other", echo, methods=["POST"]), Route("/callbacks/x/y", long_way, methods=["POST"])]
    app = Starlette(routes=routes)
    app.state.callbacks = slow = Slow()
    bound = free_socket()
    server = serving._Embedded(server_config(app, host="127.0.0.1", port=0))
    task = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started:
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", bound.getsockname()[1])
    try:
        yield Running(slow, server, reader, writer)
    finally:
        server.should_exit = True
        await task
        writer.transport.abort()
        bound.close()


async def test_what_comes_behind_a_pending_callback_waits_for_its_answer() -> None:
    async with running() as on:
        on.writer.write(CALLBACK)
        await on.slow.has(1)
        on.writer.write(OTHER)
        await on.is_silent()
        on.slow.answer(Answer(200, b"first"))
        assert [await on.answer(), await on.answer()] == [b"first", b"other"]
        on.writer.write(CALLBACK)
        await on.slow.has(1)
        on.slow.answer(Answer(200, b"third"))
        assert await on.answer() == b"third"


async def test_a_callback_behind_a_pending_one_is_not_taken_before_its_turn() -> None:
    async with running() as on:
        on.writer.write(CALLBACK)
        await on.slow.has(1)
        on.writer.write(CALLBACK)
        await on.is_silent()
        assert len(on.slow.pending) == 1
        on.slow.answer(Answer(200, b"first"))
        assert [await on.answer(), await on.answer()] == [b"first", b"long"]


async def test_a_callback_with_the_beginning_of_another_behind_it_goes_the_long_way_and_so_does_the_other() -> None:
    async with running() as on:
        on.writer.write(CALLBACK + CALLBACK[:-10])
        assert await on.answer() == b"long"
        on.writer.write(CALLBACK[-10:] + CALLBACK[:5])
        assert await on.answer() == b"long"
        on.writer.write(CALLBACK[5:])
        assert await on.answer() == b"long"
        on.writer.write(CALLBACK)
        await on.slow.has(1)
        on.slow.answer(Answer(200, b"short"))
        assert await on.answer() == b"short"


async def test_what_looks_like_a_callback_amid_another_request_is_none() -> None:
    head = OTHER.partition(b"\r\n\r\n")[0]
    async with running() as on:
        on.writer.write(OTHER)
        assert await on.answer() == b"other"
        on.writer.write(head.replace(b": 2", b": %d" % len(CALLBACK)) + b"\r\n\r\n")
        await on.is_silent()
        on.writer.write(CALLBACK)
        assert await on.answer() == b"other"
        on.writer.write(head + b"\r\nx-one: ")
        await on.is_silent()
        on.writer.write(CALLBACK)
        assert (await asyncio.wait_for(on.reader.read(), 60)).startswith(b"HTTP/1.1 400 ")
        assert not on.slow.pending


async def test_a_server_that_ends_waits_for_pending_callbacks_and_closes_behind_their_answers() -> None:
    async with running() as on:
        on.writer.write(CALLBACK)
        await on.slow.has(1)
        (connection,) = on.server.server_state.connections
        on.server.should_exit = True
        await until(lambda: not connection.cycle.keep_alive)
        await on.is_silent()
        on.slow.answer(Answer(200, b"ok"))
        said = await asyncio.wait_for(on.reader.read(), 60)
        assert said.endswith(b"connection: close\r\n\r\nok")


async def test_an_answer_to_somebody_who_is_gone_is_dropped() -> None:
    async with running() as on:
        on.writer.write(CALLBACK)
        await on.slow.has(1)
        on.writer.transport.abort()
        async with asyncio.timeout(60):
            while on.server.server_state.connections:
                await asyncio.sleep(0.01)
        on.slow.answer(Answer(200, b"ok"))


async def test_an_answer_that_closes_ends_the_connection() -> None:
    async with running() as on:
        on.writer.write(CALLBACK)
        await on.slow.has(1)
        on.slow.answer(Answer(413, b"large", (b"connection", b"close")))
        said = await asyncio.wait_for(on.reader.read(), 60)
        assert said.startswith(b"HTTP/1.1 413 ")
        assert said.count(b"connection: close") == 1


def test_an_answer_carries_the_server_headers_of_its_moment_and_closes_only_where_it_is_the_last() -> None:
    ok = Answer(200, b"ok")
    first, second = [(b"date", b"the first second")], [(b"date", b"the second second")]

    assert b"date: the first second\r\n" in ok.in_full(first, last=False)
    assert ok.in_full(first, last=False) == ok.in_full(first, last=False)
    assert b"connection: close\r\n" in ok.in_full(first, last=True)

    of_second = ok.in_full(second, last=False)
    assert b"date: the second second\r\n" in of_second
    assert b"first" not in of_second
    assert b"connection: close" not in of_second


async def test_a_connection_is_left_alone_while_its_callback_is_pending_and_closed_when_it_idles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "HEADER_SECONDS", 0.1)
    async with running() as on:
        on.writer.write(CALLBACK)
        await on.slow.has(1)
        await on.is_silent()
        await on.is_silent()
        on.slow.answer(Answer(200, b"ok"))
        assert await on.answer() == b"ok"
        assert await asyncio.wait_for(on.reader.read(), 60) == b""
