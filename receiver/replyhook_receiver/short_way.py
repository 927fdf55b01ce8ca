"""The short way of a callback through the server: no task and no messages where a request came whole, in one piece.

Such a piece is read apart from the connection's own parser: one that is anything but a single plain callback goes on to
that as if nothing had been. What is answered the application decides in either case.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_WHOLE_BYTES = 64 * 1024
_START = b"POST /callbacks/"
_PLAIN_PATH = re.compile(rb"/callbacks/[\w./-]*")
_NOT_PLAIN = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
_CLOSE = b"connection: close\r\n"


class Answer:
    """An answer that is sent as it is, again and again, whichever way its request came."""

    __slots__ = ("_end", "_headers", "_of_server", "_whole", "body", "closes", "start", "status")

    def __init__(self, status: int, words: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.closes = (b"connection", b"close") in headers
        plain = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(words)).encode()))
        self.start: Message = {"type": "http.response.start", "status": status, "headers": [*plain, *headers]}
        self.body: Message = {"type": "http.response.body", "body": words}
        self._headers = b"".join(b"%b: %b\r\n" % pair for pair in (*plain, *headers))
        self._end = b"\r\n" + words
        self._of_server: list[tuple[bytes, bytes]] = []
        self._whole = self._built([], last=False)

    def in_full(self, server_headers: list[tuple[bytes, bytes]], *, last: bool) -> bytes:
        """Its bytes as uvicorn would send them; ``last`` where the connection ends with it."""
        if last:
            return self._built(server_headers, last=True)
        if server_headers is not self._of_server:  # uvicorn makes a new list of them each second, with the date
            self._of_server, self._whole = server_headers, self._built(server_headers, last=False)
        return self._whole

    def _built(self, server_headers: list[tuple[bytes, bytes]], *, last: bool) -> bytes:
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


class _Reader:
    """Reads pieces that may each be a whole request."""

    __slots__ = ("_parser", "body", "headers", "keep_alive", "requests", "url")

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)

    def read(self, piece: bytes) -> bool:
        """Whether ``piece`` is one whole, plain request. If not, this reader is good for nothing any more."""
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.requests = 0
        try:
            self._parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade):
            return False
        names = dict(self.headers)
        return (
            self.requests == 1
            and b"content-length" in names
            and _NOT_PLAIN.isdisjoint(names)
            and _PLAIN_PATH.fullmatch(self.url) is not None
            and self._parser.get_http_version() == "1.1"
            and len(piece) == self._length(piece)
        )

    def _length(self, piece: bytes) -> int:
        """How long the request is: what is behind it may be the beginning of another."""
        return piece.find(b"\r\n\r\n") + 4 + len(self.body)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.requests += 1
        self.keep_alive = self._parser.should_keep_alive()  # it forgets


class _Cycle:
    """A request on the short way, with what uvicorn asks of the cycle in its place."""

    __slots__ = ("disconnected", "keep_alive", "more_body", "response_complete")

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.more_body = False
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> "_Cycle":
        """What uvicorn wakes a waiting application by; here none waits."""
        return self

    def set(self) -> None:
        """Nobody waits."""


class ShortWayProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol, which hands plain callbacks over at once.

    While one is pending it stands where uvicorn has its cycles, so that whatever comes behind it waits its turn, and
    disconnects and shutdowns reach it.
    """

    _callbacks: TakesCallbacks | None = None
    _reader: _Reader | None = None
    _is_amid_message = False
    _idle_until: float | None = None
    _idle_timer: asyncio.TimerHandle | None = None
    _answers_once_more = False
    """Whether the server is about to end: what still comes is answered as the connection's last."""

    def takes_short_way(self, piece: bytes) -> bool:
        """Whether ``piece`` was a callback that is answered, now or later; if not, it is to be read as ever."""
        self._idle_until = None
        if self._callbacks is None or not piece.startswith(_START) or not self._is_free(piece):
            return False
        reader = self._reader or _Reader()
        self._reader = None
        if not reader.read(piece):
            return False
        self._reader = reader
        scope = {
            "type": "http",
            "method": "POST",
            "path": reader.url.decode("ascii"),
            "headers": reader.headers,
            "client": self.client,
        }
        body, reader.body, reader.headers = reader.body, b"", []  # it stays, and with it whatever it holds
        before = self.cycle
        self.cycle = cycle = _Cycle(reader.keep_alive and not self._answers_once_more)  # type: ignore[assignment] # it has what is asked of it
        if self._callbacks.take(scope, body, lambda answer: self._answer(cycle, answer)):
            self._unset_keepalive_if_required()
            return True
        self.cycle = before
        return False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if not self.config.root_path and self.limit_concurrency is None:
            self._callbacks = getattr(getattr(self.config.app, "state", None), "callbacks", None)

    def on_message_begin(self) -> None:
        self._is_amid_message = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._is_amid_message = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader = None  # it and its parser hold each other
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def _is_free(self, piece: bytes) -> bool:
        """Whether nothing is under way on the connection."""
        return (
            not self._is_amid_message
            and len(piece) <= MAX_WHOLE_BYTES
            and getattr(self.cycle, "response_complete", True)  # None before the first, whatever uvicorn's types say
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _answer(self, cycle: _Cycle, answer: Answer) -> None:
        if cycle.disconnected:
            return
        cycle.response_complete = True
        last = answer.closes or not cycle.keep_alive
        if not self.transport.is_closing():
            self.transport.write(answer.in_full(self.server_state.default_headers, last=last))
        if last:
            self.transport.close()
        if self.pipeline or last:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._wait_for_more()

    def _wait_for_more(self) -> None:
        """As uvicorn waits for a next request; but a timer for each would cost as much as reading it: one looks again
        when it goes off."""
        self._idle_until = self.loop.time() + self.timeout_keep_alive
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        self._idle_timer = None
        if self._idle_until is None:  # something came, and is waited for in other ways
            return
        left = self._idle_until - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._look_whether_idle)
        else:
            self.timeout_keep_alive_handler()
