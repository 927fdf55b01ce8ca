"""Answers that misbehave on the wire: no answer at all, half a file, a slow one, something else than a video."""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from replyhook_receiver.sandbox.faults import Fault

VIDEO = "video/mp4"
HANG_UP_SECONDS = 5.0
SLOW_CHUNK_BYTES = 1024
PAGE = "<!doctype html><title>Just a moment...</title><h1>Checking your browser</h1>"


async def hang_up(receive: Receive) -> None:
    """Close the connection as it is; what was sent so far still arrives.

    ASGI has no word for this, so uvicorn's own request object is asked. Without a server the caller gets the error.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the sandbox closed the connection")
    transport.close()
    with anyio.move_on_after(HANG_UP_SECONDS):
        await _closed(receive)


async def _closed(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_hung_up(receive: Receive, work: Callable[[], Awaitable[object]]) -> None:
    """Do ``work`` until it is done or the caller closes the connection. What was not read of the body is lost."""
    async with anyio.create_task_group() as tasks:

        async def stop_when_closed() -> None:
            await _closed(receive)
            tasks.cancel_scope.cancel("the caller closed the connection")

        tasks.start_soon(stop_when_closed)
        await work()
        tasks.cancel_scope.cancel("done")


class NoAnswer(Response):
    """The connection is closed and nothing was said."""

    async def __call__(self, _scope: Scope, receive: Receive, _send: Send) -> None:
        await hang_up(receive)


class _CutOff(FileResponse):
    """The connection is closed after half of what was announced; who asks for the rest alone gets it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if any(name == b"range" for name, _ in scope["headers"]):
            await super().__call__(scope, receive, send)
            return
        left = 0

        async def half(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                left = int(dict(message["headers"])[b"content-length"]) // 2
                await send(message)
            elif left:
                body = message.get("body", b"")[:left]
                left -= len(body)
                await send({"type": "http.response.body", "body": body, "more_body": True})
                if not left:
                    await hang_up(receive)

        await super().__call__(scope, receive, half)


class _CutAnywhere(FileResponse):
    """The connection is closed at any byte of what was announced, of the rest as well; or, by chance, at its end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left, is_cut = 0, False

        async def some(message: Message) -> None:
            nonlocal left, is_cut
            if message["type"] == "http.response.start":
                length = int(dict(message["headers"]).get(b"content-length", b"0"))
                left = random.randint(0, length)
                is_cut = left < length
                await send(message)
            elif not is_cut:
                await send(message)
            elif left >= 0:
                body = message.get("body", b"")[:left]
                left -= len(body)
                await send({"type": "http.response.body", "body": body, "more_body": True})
                if not left:
                    left = -1
                    await hang_up(receive)

        await super().__call__(scope, receive, some)


class _NoRange(_CutOff):
    """Who asks for the rest gets everything, from the start, in peace."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if any(name == b"range" for name, _ in scope["headers"]):
            headers = [(name, text) for name, text in scope["headers"] if name not in (b"range", b"if-range")]
            await FileResponse.__call__(self, {**scope, "headers": headers}, receive, send)
            return
        await super().__call__(scope, receive, send)


class _Slow(FileResponse):
    """The body trickles."""

    chunk_size = SLOW_CHUNK_BYTES

    def __init__(self, path: Path, *, bytes_per_second: float, **arguments: Any) -> None:
        super().__init__(path, **arguments)
        self._bytes_per_second = bytes_per_second

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def trickle(message: Message) -> None:
            await send(message)
            await anyio.sleep(len(message.get("body", b"")) / self._bytes_per_second)

        # Nobody listens to the rest of what would take minutes.
        await unless_hung_up(receive, partial(super().__call__, scope, receive, trickle))


def answered(fault: Fault, response: Response) -> Response:
    """The answer to a submit call that was accepted: ``response``, unless it gets lost."""
    return NoAnswer() if fault is Fault.LOST_ANSWER else response


async def video_answer(path: Path, fault: Fault, *, slow_bytes_per_second: float) -> Response:
    """The file at ``path`` as ``fault`` lets it arrive."""
    match fault:
        case Fault.EXPIRED_LINK:
            return PlainTextResponse("AccessDenied: Request has expired", 403)
        case Fault.HTML:
            return HTMLResponse(PAGE)
        case Fault.TRUNCATED:
            whole = await anyio.Path(path).read_bytes()
            return Response(whole[: len(whole) // 2], media_type=VIDEO)
        case Fault.CUT_OFF:
            return _CutOff(path, media_type=VIDEO)
        case Fault.CUT_ANYWHERE:
            return _CutAnywhere(path, media_type=VIDEO)
        case Fault.NO_RANGE:
            return _NoRange(path, media_type=VIDEO)
        case Fault.SLOW:
            return _Slow(path, media_type=VIDEO, bytes_per_second=slow_bytes_per_second)
        case _:
            return FileResponse(path, media_type=VIDEO)
