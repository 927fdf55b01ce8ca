"""Running applications on real sockets with uvicorn: one in the foreground, or several within one event loop."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from replyhook_receiver.bounds import BoundedProtocol
from replyhook_receiver.logs import handler
from replyhook_receiver.service_manager import READY, STOPPING, Tell

SHUTDOWN_SECONDS = 10
_TURNS_TO_CONNECT = 3
"""Turns of the event loop: asyncio takes two between letting a connection in and telling its protocol of it."""


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
        await self._let_nobody_else_in()
        await super().shutdown(sockets)

    async def _let_nobody_else_in(self) -> None:
        """What was let in a moment ago becomes a connection that hears of the end: asyncio would drop it unanswered."""
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listening in server.sockets:
                with contextlib.suppress(NotImplementedError):  # another event loop, which drops nobody
                    loop.remove_reader(listening.fileno())
        await _let_connect()
        for server in self.servers:
            server.close()
        await _let_connect()


async def _let_connect() -> None:
    for _ in range(_TURNS_TO_CONNECT):
        await asyncio.sleep(0)


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
