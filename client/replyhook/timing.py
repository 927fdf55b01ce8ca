"""How long the other side may take over a body, however busy it seems: a time-out of httpx's counts silence alone."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

_STREAM_SILENCE_SECONDS = 45.0  # the receiver pings every 15
_EVENT_ENDS = (b"\n\n", b"\r\r", b"\r\n\r\n")


def stream_timeout(seconds: float) -> httpx.Timeout:
    """The time-outs of a stream that is read for ``seconds``."""
    return httpx.Timeout(min(10.0, seconds), read=min(_STREAM_SILENCE_SECONDS, seconds))


class UntilTime(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends with a time-out once ``seconds`` are over, however often the other side pings.

    With ``longest_event_bytes`` it is a stream of events, and breaks off in one that is longer.
    """

    def __init__(self, inner: Any, seconds: float, *, longest_event_bytes: int | None = None) -> None:
        self._inner = inner
        self._end = time.monotonic() + seconds
        self._longest = longest_event_bytes
        self._since_event = 0
        self._tail = b""

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            yield self._checked(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield self._checked(chunk)

    def _checked(self, chunk: bytes) -> bytes:
        if time.monotonic() > self._end:
            raise httpx.ReadTimeout("the time for this answer is over")
        if self._longest is not None:
            seen = self._tail + chunk
            has_ended = any(end in seen for end in _EVENT_ENDS)
            self._since_event = 0 if has_ended else self._since_event + len(chunk)
            self._tail = seen[-3:]
            if self._since_event > self._longest:
                raise httpx.ReadError("an event of the stream does not end")
        return chunk

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()
