"""Running applications on real sockets with uvicorn: one in the foreground, or several within one event loop."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import FrameType

import uvicorn
from httptools import HttpParserUpgrade
from starlette.applications import Starlette

from replyhook_receiver.logs import handler
from replyhook_receiver.service_manager import READY, STOPPING, Tell
from replyhook_receiver.short_way import ShortWayProtocol

SHUTDOWN_SECONDS = 10
HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 64 * 1024
LINGER_SECONDS = 1.0
LAST_CALL_SECONDS = 0.5
MAX_LATE_BYTES = 2 * 1024 * 1024
MAX_PIPELINED = 32  # requests that wait behind another on one connection; no provider is known to send any so
UNREAD_SECONDS = 10.0
OVERHEAD_PER_BYTE = 8  # a chunk of one byte takes five more; what chunks are wrapped in beyond this is no honest body


def server_config(app: Starlette, *, host: str, port: int) -> uvicorn.Config:
    """uvicorn as we always run it: its access log off (paths hold tokens), its other logs through ours."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # else uvicorn believes loopback's X-Forwarded-For: whom to believe is a setting of ours
        ws="none",  # nothing here speaks WebSocket, whatever else is installed
        http=BoundedProtocol,
        date_header=True,
        lifespan="on",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def configure_logging(level: str, log_format: str = "text") -> None:
    """Our logs on stderr, one line each; libraries that log URLs are kept quiet."""
    logging.basicConfig(level=level.upper(), handlers=[handler(log_format)])
    for name in ("httpx", "httpcore", "aiosqlite", "sse_starlette"):
        logging.getLogger(name).setLevel(logging.WARNING)


def keep_garbage_collection_rare() -> None:
    """Take what is loaded for good out of Python's garbage collection, and look for cycles less often.

    Callbacks make many objects and hardly a cycle; the default looks through all of them every 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def allow_many_connections() -> None:
    """Raise the limit on open files as far as the system lets us: each connection is one, and so are the database's."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_socket(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A bound socket; with port 0 on a free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio sends small answers at once only where it is, and else waits 40 ms for an ACK.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


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
        is_idle = cycle is None or cycle.response_complete
        self.loop.call_later(LAST_CALL_SECONDS if is_idle else 0, super().shutdown)

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


class Server(uvicorn.Server):
    """uvicorn, which waits for open connections before it ends; an application's open streams are told to end first."""

    def __init__(self, config: uvicorn.Config, *, tell: Tell = lambda _: None) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then settle down."""
        await super().startup(sockets)
        keep_garbage_collection_rare()
        self._tell(READY)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End. uvicorn raises the signal anew when all is done; SIGTERM is obeyed instead: the exit code is 0."""
        if sig == signal.SIGTERM:
            self.should_exit = True
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is open, then stop."""
        self._tell(STOPPING)
        app = self.config.app
        if isinstance(app, Starlette) and hasattr(app.state, "before_shutdown"):
            app.state.before_shutdown()
        await super().shutdown(sockets)


class _Embedded(Server):
    """A server that leaves the signals, and the process's garbage, to whoever runs the event loop."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await uvicorn.Server.startup(self, sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: Starlette, bound: socket.socket, *, config: uvicorn.Config | None = None) -> AsyncIterator[str]:
    """Serve ``app`` on ``bound`` while the context lasts; its base URL. ``RuntimeError`` when it cannot start.

    ``config`` takes the place of ours.
    """
    host, port = bound.getsockname()[:2]
    server = _Embedded(config or server_config(app, host=host, port=port))
    task = asyncio.create_task(server.serve(sockets=[bound]), name=f"server-{port}")
    try:
        while not server.started:
            if task.done():
                raise RuntimeError("the server could not start") from task.exception()
            await asyncio.sleep(0.01)
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        bound.close()
