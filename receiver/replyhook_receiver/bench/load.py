"""A closed loop of HTTP/1.1 requests over many connections: each sends its next request when its answer has come."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from statistics import quantiles
from typing import cast

_LONGEST_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What a run of requests came to. Latencies are in seconds, in the order the answers came."""

    seconds: float
    acknowledged: int
    latencies: list[float] = field(repr=False)

    @property
    def requests_per_s(self) -> float:
        """How many were answered each second."""
        return self.acknowledged / self.seconds

    def percentile_ms(self, percent: int) -> float:
        """The latency, in milliseconds, that so many of a hundred requests did not exceed."""
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1] * 1000


class LoadFailed(Exception):
    """The server ended a connection or answered something else than was expected."""


async def run_load(port: int | Sequence[int], requests: Sequence[bytes], *, connections: int) -> LoadResult:
    """Send every one of ``requests`` once to loopback; each must be answered 200 with the body ``ok``.

    Of several ports connections go to each in turn, as a balancer deals them out.
    """
    loop = asyncio.get_running_loop()
    run = _Run(waiting=deque(requests), total=len(requests), done=loop.create_future())
    lines = [_Line(run) for _ in range(min(connections, len(requests)))]
    ports = [port] if isinstance(port, int) else port
    for line, each in zip(lines, cycle(ports), strict=False):
        await loop.create_connection(lambda line=line: line, "127.0.0.1", each)  # type: ignore[misc] # a default argument
    started = time.perf_counter()
    for line in lines:
        line.send_next()
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            await run.done
    finally:
        for line in lines:
            line.close()
    return LoadResult(seconds=time.perf_counter() - started, acknowledged=len(run.latencies), latencies=run.latencies)


@dataclass(slots=True)
class _Run:
    waiting: deque[bytes]
    total: int
    done: asyncio.Future[None]
    latencies: list[float] = field(default_factory=list)

    def fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(LoadFailed(why))


class _Line(asyncio.Protocol):
    """One connection. It reads no more of an answer than is needed to tell a good one from any other."""

    __slots__ = ("_buffer", "_run", "_sent_at", "_transport")

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send_next(self) -> None:
        if self._run.waiting and self._transport is not None:
            request = self._run.waiting.popleft()
            self._sent_at = time.perf_counter()
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank or len(body) < 2:
            return
        if not head.startswith(b"HTTP/1.1 200 ") or body != b"ok":
            self._run.fail(f"answered {self._buffer[:200]!r}")
            return
        self._buffer = b""
        latencies = self._run.latencies
        latencies.append(time.perf_counter() - self._sent_at)
        if len(latencies) == self._run.total:
            self._run.done.set_result(None)
        else:
            self.send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.fail(f"the server ended a connection ({exc})")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
