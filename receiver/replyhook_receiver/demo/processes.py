"""Servers in processes of their own, as in real life: none holds another up, least of all by encoding video."""

import asyncio
import multiprocessing
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from starlette.applications import Starlette

from replyhook_receiver.serving import Server, configure_logging, server_config

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A server that was started, and may not listen yet."""

    process: BaseProcess
    port: int

    async def until_ready(self) -> str:
        """Its URL, once it listens. ``RuntimeError`` when it cannot start."""
        async with asyncio.timeout(_START_SECONDS):
            while not await _is_listening(self.port):
                if not self.process.is_alive():
                    raise RuntimeError("a server of the demo could not start; its words are above")
                await asyncio.sleep(_LOOK_SECONDS)
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def started(
    make_app: Callable[..., Starlette], *arguments: Any, bound: socket.socket
) -> AsyncIterator[ServerProcess]:
    """Serve ``make_app(*arguments)`` on ``bound``, in a new process that ends with the context, or with this one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(make_app, arguments, bound, theirs), daemon=True)
    try:
        await asyncio.to_thread(process.start)
        port = bound.getsockname()[1]
        theirs.close()
        bound.close()
        yield ServerProcess(process=process, port=port)
    finally:
        ours.close()
        await asyncio.to_thread(process.join, _STOP_SECONDS)
        if process.is_alive():
            process.kill()
            await asyncio.to_thread(process.join)


async def _is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _serve(
    make_app: Callable[..., Starlette], arguments: tuple[Any, ...], bound: socket.socket, parent: Connection
) -> None:
    configure_logging("error")
    server = Server(server_config(make_app(*arguments), host="127.0.0.1", port=bound.getsockname()[1]))

    def end_with_parent() -> None:
        try:
            parent.recv_bytes()
        except (EOFError, OSError):
            server.should_exit = True

    threading.Thread(target=end_with_parent, name="watch-parent", daemon=True).start()
    server.run(sockets=[bound])
