"""The server around the application: what strangers may cost it before they have said anything."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from replyhook_receiver import bounds
from replyhook_receiver.bounds import MAX_HEADER_BYTES
from replyhook_receiver.serving import free_socket, served


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


APP = Starlette(routes=[Route("/", echo, methods=["POST"])])


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


async def test_endless_headers_are_cut_off_long_before_they_cost_anything() -> None:
    async with served(APP, free_socket()) as url:
        reader, writer = await connect(url)
        sent = 0
        with contextlib.suppress(ConnectionError):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\nx-a: ")
            while sent < 64 * MAX_HEADER_BYTES and not reader.at_eof():
                writer.write(b"a" * MAX_HEADER_BYTES)
                await writer.drain()
                sent += MAX_HEADER_BYTES
                await asyncio.sleep(0)
            assert await reader.read() == b""
        writer.close()
    assert sent < 64 * MAX_HEADER_BYTES


async def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "HEADER_SECONDS", 0.2)
    async with served(APP, free_socket()) as url:
        for start in (b"", b"POST / HTTP/1.1\r\nhost:"):
            reader, writer = await connect(url)
            writer.write(start)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), timeout=30) == b""
            writer.close()


async def test_large_bodies_and_several_requests_on_one_connection_are_no_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "HEADER_SECONDS", 0.5)
    body = b"x" * (4 * MAX_HEADER_BYTES)
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with served(APP, free_socket()) as url:
        reader, writer = await connect(url)
        for _ in range(3):
            writer.write(request)
            await writer.drain()
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=30)
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(len(str(len(body)))) == str(len(body)).encode()
            await asyncio.sleep(0.3)
        writer.close()


async def test_a_forwarded_address_is_not_taken_for_the_peers_own() -> None:
    async def who(request: Request) -> Response:
        return PlainTextResponse(f"{request.client.host if request.client else None} {request.url.scheme}")

    async with served(Starlette(routes=[Route("/", who)]), free_socket()) as url:
        reader, writer = await connect(url)
        forwarded = b"x-forwarded-for: 198.51.100.1\r\nx-forwarded-proto: https\r\n"
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + forwarded + b"\r\n")
        answer = await asyncio.wait_for(reader.read(), timeout=30)
        assert answer.endswith(b"127.0.0.1 http")
        writer.close()


async def test_whoever_was_let_in_in_the_last_moment_hears_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [await answer_to_one_let_in(turns, monkeypatch) for turns in range(6)]
    assert {answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer for answer in answers if answer} == {
        True
    }, "one that was let in is answered, and not waited for any more"


async def answer_to_one_let_in(turns: int, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a connection hears whose server ends so many turns of the event loop after it was made."""
    end = asyncio.Event()

    async def until_the_end(_: uvicorn.Server) -> None:
        await end.wait()

    monkeypatch.setattr(uvicorn.Server, "main_loop", until_the_end)
    async with served(APP, free_socket()) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=2) as caller:
            for _ in range(turns):
                await asyncio.sleep(0)
            end.set()
            await asyncio.sleep(0.1)
            try:
                caller.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
                return await asyncio.to_thread(caller.recv, 1000)
            except OSError:  # nobody had let it in
                return b""


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with free_socket() as bound:
        bound.listen()
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            free_socket(port=bound.getsockname()[1])
