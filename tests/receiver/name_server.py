"""A real name server on UDP that changes its answers, and a resolver that asks it, as the machine's own would."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

_A, _AAAA, _IN = 1, 28, 1
_QUERY = struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0)


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """Answers each name with the next of its lists of addresses; the last one stays. TTL 0, as an attacker would."""

    answers: dict[str, list[Sequence[str]]]
    asked: list[str] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)
    transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        name, end = _name_at(data, 12)
        (kind,) = struct.unpack(">H", data[end : end + 2])
        self.asked.append(f"{name} {'A' if kind == _A else 'AAAA'}")
        turns = self.answers.get(name, [()])
        # AAAA is asked for last: the next question has the next answer.
        found = turns.pop(0) if kind == _AAAA and len(turns) > 1 else turns[0]
        wanted = [ip_address(text) for text in found if (":" in text) == (kind == _AAAA)]
        head = data[:2] + struct.pack(">HHHHH", 0x8180, 1, len(wanted), 0, 0)
        records = b"".join(
            struct.pack(">HHHIH", 0xC00C, kind, _IN, 0, len(each.packed)) + each.packed for each in wanted
        )
        self.transport.sendto(head + data[12 : end + 4] + records, addr)

    def resolve(self, host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        """As ``socket.getaddrinfo``, but asked of this server."""
        found: list[tuple[Any, ...]] = []
        for kind, family in ((_A, socket.AF_INET), (_AAAA, socket.AF_INET6)):
            for text in _ask(self.address, host.rstrip("."), kind):
                where = (text, port) if family is socket.AF_INET else (text, port, 0, 0)
                found.append((family, socket.SOCK_STREAM, 6, "", where))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return found


@asynccontextmanager
async def a_name_server(**answers: list[Sequence[str]]) -> AsyncIterator[NameServer]:
    """A name server that knows these names (with _ for .)."""
    server = NameServer(answers={name.replace("_", "."): turns for name, turns in answers.items()})
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()


def _ask(server: tuple[str, int], host: str, kind: int) -> list[str]:
    labels = b"".join(bytes([len(label)]) + label.encode("idna") for label in host.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.sendto(_QUERY + labels + b"\0" + struct.pack(">HH", kind, _IN), server)
        data = asking.recv(4096)
    (count,) = struct.unpack(">H", data[6:8])
    place = _name_at(data, 12)[1] + 4
    found = []
    for _ in range(count):
        size = struct.unpack(">H", data[place + 10 : place + 12])[0]
        found.append(str(ip_address(data[place + 12 : place + 12 + size])))
        place += 12 + size
    return found


def _name_at(data: bytes, place: int) -> tuple[str, int]:
    labels = []
    while size := data[place]:
        labels.append(data[place + 1 : place + 1 + size].decode())
        place += 1 + size
    return ".".join(labels).lower(), place + 1
