"""Running applications on real sockets with uvicorn: one in the foreground, or several within one event loop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SHUTDOWN_SECONDS = 10
HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 64 * 1024


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


def configure_logging(level: str) -> None:
    """Our logs on stderr, one line each; libraries that log URLs are kept quiet."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s  %(message)s")
    for name in ("httpx", "httpcore", "aiosqlite", "sse_starlette"):
        logging.getLogger(name).setLevel(logging.WARNING)


def free_socket(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A bound socket; with port 0 on a free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol, with a limit on the bytes and the seconds that a request's headers may take."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        if self._header_bytes is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes is not None and self._header_bytes > MAX_HEADER_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_headers()

    def on_headers_complete(self) -> None:
        self._headers_came()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        if getattr(self, "_deadline", None) is None:
            self._header_bytes: int | None = 0
            self._deadline: asyncio.TimerHandle | None = self.loop.call_later(HEADER_SECONDS, self._time_is_up)

    def _time_is_up(self) -> None:
        self._deadline = None
        cycle = getattr(self, "cycle", None)  # None before the first request, whatever uvicorn's types say
        if cycle is not None and not cycle.response_complete:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._time_is_up)  # an answer is still on its way
        else:
            self.transport.abort()

    def _headers_came(self) -> None:
        self._header_bytes = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """uvicorn, which waits for open connections before it ends; an application's open streams are told to end first."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is open, then stop."""
        app = self.config.app
        if isinstance(app, Starlette) and hasattr(app.state, "before_shutdown"):
            app.state.before_shutdown()
        await super().shutdown(sockets)


class _Embedded(Server):
    """A server that leaves the signals to whoever runs the event loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: Starlette, bound: socket.socket) -> AsyncIterator[str]:
    """Serve ``app`` on ``bound`` while the context lasts; its base URL. ``RuntimeError`` when it cannot start."""
    host, port = bound.getsockname()[:2]
    server = _Embedded(server_config(app, host=host, port=port))
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
