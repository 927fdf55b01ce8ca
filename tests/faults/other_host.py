"""Another host on this machine: a network namespace on a cable that can be cut, or a relay that can fall silent."""

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PROGRAM = "/usr/sbin/ip"


@dataclass
class OtherHost:
    """Where a process is run (``under``), how it and we reach each other, and its cable.

    Where there are no namespaces, it is this host, and only what goes to PostgreSQL can be cut.
    """

    address: str = "127.0.0.1"
    """Its own."""
    ours: str = "127.0.0.1"
    """Ours, as it sees it."""
    postgres_port: int = 0
    namespace: str | None = None
    _whole: asyncio.Event = field(default_factory=asyncio.Event)
    _passing: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def under(self) -> tuple[str, ...]:
        """What starts a program there."""
        return (_PROGRAM, "netns", "exec", self.namespace) if self.namespace else ()

    def cut(self) -> None:
        """Let nothing pass either way. No connection is closed: nobody is told."""
        if self.namespace:
            _ip("link", "set", self.namespace, "down")
        else:
            self._whole.clear()

    def mend(self) -> None:
        """Let everything pass again, also what was under way."""
        if self.namespace:
            _ip("link", "set", self.namespace, "up")
        self._whole.set()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to: int) -> None:
        """Pass on what comes, to PostgreSQL and back."""
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", to)
        for source, target in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pass(source, target))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while content := await source.read(65_536):
                await self._whole.wait()
                target.write(content)
                await target.drain()
        except OSError:
            pass  # the other end is gone, and so is this
        finally:
            target.transport.abort()

    async def end(self) -> None:
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed


@asynccontextmanager
async def another_host(postgres_port: int) -> AsyncIterator[OtherHost]:
    """One that reaches our PostgreSQL; gone with the context."""
    with contextlib.ExitStack() as stack:
        host = _a_namespace(stack) or OtherHost()
        host.mend()
        server = await asyncio.start_server(
            lambda reader, writer: host.relay(reader, writer, to=postgres_port), host.ours, 0
        )
        host.postgres_port = server.sockets[0].getsockname()[1]
        try:
            yield host
        finally:
            server.close()
            await host.end()


def _a_namespace(stack: contextlib.ExitStack) -> OtherHost | None:
    """A namespace and the cable to it, or None where we may make none."""
    if os.geteuid() != 0 or not Path(_PROGRAM).exists():
        return None
    name, net = f"rh{os.getpid()}", f"10.231.{random.randrange(256)}"
    try:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "del", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("addr", "add", f"{net}.1/30", "dev", name)
        _ip("-n", name, "addr", "add", f"{net}.2/30", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("link", "set", name, "up")
    except subprocess.CalledProcessError:
        stack.close()
        return None
    return OtherHost(address=f"{net}.2", ours=f"{net}.1", namespace=name)


def _ip(*arguments: str) -> None:
    subprocess.run([_PROGRAM, *arguments], check=True, capture_output=True)
