"""The short way of a callback through the server: no task and no messages where its body came whole with its headers.

The application decides what is answered in either case; a request that is not plain takes the way of all others.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Protocol, cast

from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_PLAIN_PATH = re.compile(rb"/callbacks/[\w./-]*")
_NOT_PLAIN = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
_CLOSE = b"connection: close\r\n"


class Answer:
    """An answer that is sent as it is, again and again, whichever way its request came."""

    __slots__ = ("_end", "_headers", "body", "closes", "start", "status")

    def __init__(self, status: int, words: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.closes = (b"connection", b"close") in headers
        plain = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(words)).encode()))
        self.start: Message = {"type": "http.response.start", "status": status, "headers": [*plain, *headers]}
        self.body: Message = {"type": "http.response.body", "body": words}
        self._headers = b"".join(b"%b: %b\r\n" % pair for pair in (*plain, *headers))
        self._end = b"\r\n" + words

    def in_full(self, server_headers: list[tuple[bytes, bytes]], *, last: bool) -> bytes:
        """Its bytes as uvicorn would send them; ``last`` where the connection ends with it."""
        of_server = b"".join([b"%b: %b\r\n" % pair for pair in server_headers])
        close = _CLOSE if last and not self.closes else b""
        return b"".join((STATUS_LINE[self.status], of_server, self._headers, close, self._end))


class TakesCallbacks(Protocol):
    """What an application offers as ``app.state.callbacks`` to have its callbacks brought the short way."""

    def take(self, scope: Scope, body: bytes, answered: Callable[[Answer], None]) -> bool:
        """Take a whole POST; ``answered`` is called with its answer, now or later. It never raises.

        False, and nothing has happened, where that is not possible without waiting: then it goes the way of all others.
        """
        ...


class _Cycle:
    """A request on the short way, with what uvicorn asks of the cycle in its place."""

    __slots__ = ("before", "body", "disconnected", "keep_alive", "more_body", "response_complete")

    def __init__(self, *, before: object, keep_alive: bool) -> None:
        self.before = before
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> "_Cycle":
        """What uvicorn wakes a waiting application by; here none waits."""
        return self

    def set(self) -> None:
        """Nobody waits."""


class ShortWayProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol, which holds plain callbacks back until ``go_on`` and then hands them over.

    While one is pending it stands where uvicorn has its cycles, so that whatever comes behind it waits its turn, and
    disconnects and shutdowns reach it.
    """

    _callbacks: TakesCallbacks | None = None
    _held: _Cycle | None = None

    def go_on(self) -> None:
        """Let a request that was held back go on, now that all that came with it has been read."""
        cycle = self._held
        if cycle is None:
            return
        if cycle.more_body or self._callbacks is None:
            self._go_the_long_way()
            return

        def answered(answer: Answer) -> None:
            self._answer(cycle, answer)

        if self._callbacks.take(cast("Scope", self.scope), bytes(cycle.body), answered):
            self._held = None
        else:
            self._go_the_long_way()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if not self.config.root_path and self.limit_concurrency is None:
            self._callbacks = getattr(getattr(self.config.app, "state", None), "callbacks", None)

    def on_message_begin(self) -> None:
        if self._held is not None:  # something is behind it
            self._go_the_long_way()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._callbacks is None or not self._is_plain():
            super().on_headers_complete()
            return
        self.scope["method"] = "POST"
        self.scope["path"] = self.url.decode("ascii")
        self._held = _Cycle(before=self.cycle, keep_alive=self.parser.should_keep_alive())
        self.cycle = self._held  # type: ignore[assignment] # it has what is asked of it

    def _is_plain(self) -> bool:
        names = dict(self.headers)
        return (
            b"content-length" in names
            and _NOT_PLAIN.isdisjoint(names)
            and _PLAIN_PATH.fullmatch(self.url) is not None
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and getattr(self.cycle, "response_complete", True)  # None before the first, whatever uvicorn's types say
            and not self.flow.write_paused
        )

    def _go_the_long_way(self) -> None:
        cycle, self._held = self._held, None
        if cycle is None:
            return
        self.cycle = cycle.before  # type: ignore[assignment] # uvicorn's own
        super().on_headers_complete()
        # The parser may be beyond it already, and forgets.
        self.scope["method"] = "POST"
        self.cycle.keep_alive = cycle.keep_alive
        super().on_body(bytes(cycle.body))
        if not cycle.more_body:
            super().on_message_complete()

    def _answer(self, cycle: _Cycle, answer: Answer) -> None:
        if cycle.disconnected:
            return
        cycle.response_complete = True
        last = answer.closes or not cycle.keep_alive
        if not self.transport.is_closing():
            self.transport.write(answer.in_full(self.server_state.default_headers, last=last))
        if last:
            self.transport.close()
        self.on_response_complete()
