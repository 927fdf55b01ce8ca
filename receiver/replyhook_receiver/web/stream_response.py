"""One open stream: what is new, a heartbeat now and then, and an end that says why."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stream import Event, Follower, Stream, said

ENDED = "stream.ended"
_PING = b": ping\r\n\r\n"
_CHUNK_BYTES = 32 * 1024
_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would keep events back
    "referrer-policy": "no-referrer",
}

IsAllowed = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """Seconds. ``slow`` is how long one send may wait for its listener to read.

    One that never reads again cannot be told anything: the server ends its connection (``serving``).
    """

    ping: float = 15.0
    recheck: float = 30.0
    slow: float = 5.0


class StreamResponse(Response):
    """Sends ``opening`` and then what ``follower`` is handed, until it, the listener or the time is at an end.

    ``is_allowed`` is asked now and then. Nothing is kept for a listener but what waits in its ``follower`` and in its
    connection; one that is slow to read is told so and let go, and comes again with ``Last-Event-ID``.
    """

    def __init__(
        self,
        stream: Stream,
        follower: Follower,
        *,
        opening: AsyncIterator[bytes],
        seconds: float | None = None,
        is_allowed: IsAllowed,
        times: StreamTimes,
        headers: dict[str, str] | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(headers=_HEADERS | (headers or {}))
        del self.headers["content-length"]
        self._stream = stream
        self._follower = follower
        self._opening = opening
        self._seconds = seconds
        self._is_allowed = is_allowed
        self._times = times
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching = asyncio.create_task(self._watch(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                with suppress(StoreUnavailable):  # it ends, and is opened anew where it was left
                    await self._send_all(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watching.cancel()
            self._stream.leave(self._follower)
            self._ended()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._follower.close()

    async def _send_all(self, send: Send) -> None:
        now = asyncio.get_running_loop().time
        end = None if self._seconds is None else now() + self._seconds
        recheck, ping = now() + self._times.recheck, now() + self._ping_seconds()
        async for chunk in self._opening:
            if await self._is_slow(send, chunk):
                return
        while True:
            due = min(recheck, ping, recheck if end is None else end)
            events = await self._follower.next(max(due - now(), 0.0))
            if events is None:
                return
            for chunk in _chunks(events):
                if await self._is_slow(send, chunk):
                    return
            if end is not None and now() >= end and self._follower.is_current:
                return
            if now() >= recheck:
                if not await self._is_allowed():
                    await send(
                        _body(said(ENDED, reason="not_allowed", detail="the key to this stream is not valid now"))
                    )
                    return
                recheck = now() + self._times.recheck
            if events:
                ping = now() + self._ping_seconds()
            elif now() >= ping:
                if await self._is_slow(send, _PING):
                    return
                ping = now() + self._ping_seconds()

    async def _is_slow(self, send: Send, chunk: bytes) -> bool:
        """Send; a listener that took too long for it is told so. What was sent is whole: it goes on after that."""
        started = asyncio.get_running_loop().time()
        await send(_body(chunk))
        if asyncio.get_running_loop().time() - started <= self._times.slow:
            return False
        detail = f"nothing was read for {self._times.slow:g} s; come again with Last-Event-ID: nothing is lost"
        await send(_body(said(ENDED, reason="too_slow", detail=detail)))
        return True

    def _ping_seconds(self) -> float:
        return self._times.ping * random.uniform(0.7, 1.0)  # noqa: S311 - so that thousands do not send theirs at once


def _body(content: bytes) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": True}


def _chunks(events: Sequence[Event]) -> list[bytes]:
    """The events' bytes in few sends; one event alone is sent as it is, the same bytes for all."""
    if len(events) == 1:
        return [events[0].data]
    chunks, some, size = [], [], 0
    for event in events:
        some.append(event.data)
        size += len(event.data)
        if size >= _CHUNK_BYTES:
            chunks.append(b"".join(some))
            some, size = [], 0
    return [*chunks, b"".join(some)] if some else chunks
