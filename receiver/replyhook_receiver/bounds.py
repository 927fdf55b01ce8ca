"""What one connection may send and wait for: uvicorn's protocol with bounds on all that no application sees."""

import asyncio
import sys

from httptools import HttpParserUpgrade

from replyhook_receiver.short_way import ShortWayProtocol

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 64 * 1024
LINGER_SECONDS = 1.0
LAST_CALL_SECONDS = 0.5
FIRST_CALL_SECONDS = 3.0  # a caller on a busy machine, or whose first packet was lost, connects long before it speaks
MAX_LATE_BYTES = 2 * 1024 * 1024
MAX_PIPELINED = 32  # requests that wait behind another on one connection; no provider is known to send any so
UNREAD_SECONDS = 10.0
OVERHEAD_PER_BYTE = 8  # a chunk of one byte takes five more; what chunks are wrapped in beyond this is no honest body


class BoundedProtocol(ShortWayProtocol):
    """uvicorn's httptools protocol, with our short way, and with bounds on what comes besides a body or too late.

    Bounded are the bytes and the seconds of the headers, the bytes around a body's chunks and behind them (which no
    application ever sees), what is still sent of a body after the answer to it, the requests that wait behind another,
    and the seconds for which answers are left unread.
    """

    _overhead_bytes = 0
    _lingers: asyncio.TimerHandle | None = None
    _headers_due: float | None = None
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        if self.takes_short_way(data):
            self._headers_came()
            return
        self._overhead_bytes += len(data)
        self._received = data
        super().data_received(data)
        self._received = b""
        if self._overhead_bytes > (MAX_HEADER_BYTES if self._lingers is None else MAX_LATE_BYTES):
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._overhead_bytes = 0
        self._expect_headers()

    def on_headers_complete(self) -> None:
        self._headers_came()
        if self.transport.is_closing():
            return
        super().on_headers_complete()
        if self._answers_once_more:
            self.cycle.keep_alive = False
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()
        self.headers = _NOWHERE  # uvicorn would add a body's trailers to the headers that the application already has

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self._lingers is None:
            self._overhead_bytes = max(0, self._overhead_bytes - len(body) * OVERHEAD_PER_BYTE)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stop_lingering()

    def on_response_complete(self) -> None:
        if self.cycle.more_body and not self.pipeline:
            # Not closed at once: whoever is still sending would lose the answer with the connection.
            self._overhead_bytes = 0
            self._lingers = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        super().on_response_complete()
        if self.pipeline and not self.transport.is_closing():
            self.flow.pause_reading()  # uvicorn reads on after every answer: faster than it answers what it has read

    def shutdown(self) -> None:
        """The server ends. Where no request is, one may be on its way: it is still answered, not met with a reset."""
        self._answers_once_more = True
        cycle = getattr(self, "cycle", None)
        if_idle = FIRST_CALL_SECONDS if cycle is None else LAST_CALL_SECONDS
        is_idle = cycle is None or cycle.response_complete
        self.loop.call_later(if_idle if is_idle else 0, super().shutdown)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._are_read()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_time()
        self._stop_lingering()
        self._are_read()
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        return any(name == b"upgrade" for name, _ in self.scope["headers"])

    def handle_websocket_upgrade(self) -> None:
        """An offer to upgrade is never taken up: read the request again without it, as the connection's last.

        httptools drops the body of every such request, and Java's HttpClient offers h2c with each plain one. uvicorn
        calls this while it handles the exception that says where the body begins.
        """
        offer = sys.exception()
        rest = self._received[offer.args[0] :] if isinstance(offer, HttpParserUpgrade) else b""
        lines = [
            b"%b %b HTTP/%b" % (self.scope["method"].encode(), self.url, self.scope["http_version"].encode()),
            *(name + b": " + value for name, value in self.scope["headers"] if name not in _OFFER),
            b"connection: close",
        ]
        super().data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _expect_headers(self) -> None:
        # A timer for every request would cost as much as reading it: one is set, and looks again when it goes off.
        self._headers_due = self.loop.time() + HEADER_SECONDS
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._look_at_time)

    def _look_at_time(self) -> None:
        self._deadline = None
        if self._headers_due is None:
            return
        left = self._headers_due - self.loop.time()
        cycle = getattr(self, "cycle", None)  # None before the first request, whatever uvicorn's types say
        if left > 0:
            self._deadline = self.loop.call_later(left, self._look_at_time)
        elif cycle is not None and not cycle.response_complete:  # an answer is still on its way
            self._expect_headers()
        else:
            self.transport.abort()

    def _headers_came(self) -> None:
        self._headers_due = None

    def _forget_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _are_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _stop_lingering(self) -> None:
        if self._lingers is not None:
            self._lingers.cancel()
            self._lingers = None


class _Nowhere(list[tuple[bytes, bytes]]):
    """A list that stays empty."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        pass


_NOWHERE = _Nowhere()
_OFFER = (b"upgrade", b"connection", b"http2-settings")
