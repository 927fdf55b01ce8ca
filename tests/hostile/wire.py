"""HTTP as a stranger speaks it: bytes to a socket, whatever they are, and what comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

Pairs = Iterable[tuple[str, bytes]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_ok(self) -> bool:
        """Whether it is what every provider takes for success."""
        return (self.status, self.body) == (200, b"ok") and self.headers["content-type"].startswith("text/plain")


def pairs(headers: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """Headers to send, in order."""
    return [(name, value.encode("latin-1")) for name, value in headers.items()]


def request(
    target: str | bytes, body: bytes = b"", headers: Pairs = (), *, method: str = "POST", close: bool = True
) -> bytes:
    """A well-formed request around whatever is in it."""
    path = target.encode("ascii") if isinstance(target, str) else target
    named = [("host", b"hooks.example.com"), *headers, ("content-length", b"%d" % len(body))]
    named += [("connection", b"close")] if close else []
    lines = b"".join(name.encode("latin-1") + b": " + value + b"\r\n" for name, value in named)
    return method.encode() + b" " + path + b" HTTP/1.1\r\n" + lines + b"\r\n" + body


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """A connection, closed at the end however it stands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def heard(reader: asyncio.StreamReader, *, seconds: float = 30.0, quiet: float = 0.25) -> bytes:
    """All that is said until the connection is closed, or until it has been quiet for a while after something.

    Raises ``TimeoutError`` where nothing is said and nothing closed: left waiting is no answer.
    """
    said = b""
    with contextlib.suppress(ConnectionError):
        while True:
            try:
                piece = await asyncio.wait_for(reader.read(65536), quiet if said else seconds)
            except TimeoutError:
                if said:
                    break
                raise
            if not piece:
                break
            said += piece
    return said


async def exchange(port: int, *pieces: bytes, seconds: float = 30.0) -> bytes:
    """Send ``pieces`` one after another on one connection; what was answered, byte for byte."""
    async with connected(port) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        return await heard(reader, seconds=seconds)


def replies(said: bytes) -> list[Reply]:
    """The answers in ``said``; interim ones (100) are passed over. ``ValueError`` for anything else."""
    found = []
    while said:
        head, found_end, said = said.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ")
        if version != "HTTP/1.1" or not found_end:
            raise ValueError(f"no answer: {first!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if status == "100":
            continue
        length = int(headers.get("content-length", "0"))
        found.append(Reply(status=int(status), headers=headers, body=said[:length]))
        said = said[length:]
    return found
