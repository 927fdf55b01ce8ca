"""`replyhook bench streams`: many listeners at one receiver, what each costs, and how soon the last one hears."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import cast

import msgspec

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from replyhook_receiver.bench.load import run_load
from replyhook_receiver.bench.receiver import API_KEY, BenchReceiver, running_receiver
from replyhook_receiver.bench.traffic import REPLY_KEY
from replyhook_receiver.serving import allow_many_connections

Say = Callable[[str], None]
_CONNECTED_AT_ONCE = 100
_SPARE_FILES = 100
_WARM_UP = 50
_LONGEST_SECONDS = 120
_LATEST_SECONDS = 10


class TooFewFiles(Exception):
    """The system does not let one process have so many connections."""


class StreamsResult(msgspec.Struct, kw_only=True, frozen=True):
    """What it came to. Milliseconds count from when a callback was sent, so its commit is in them."""

    listeners: int
    events: int
    received: int
    expected: int
    receiver_bytes_before: int
    receiver_bytes: int
    bytes_per_listener: int
    connect_seconds: float
    first_listener_p50_ms: float
    last_listener_p50_ms: float
    last_listener_max_ms: float
    callback_p50_ms: float

    @property
    def ok(self) -> bool:
        """Whether every listener was told everything once."""
        return self.received == self.expected

    def as_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsOptions:
    """How many listen, to how many events, at which pace."""

    folder: Path
    listeners: int = 2_000
    events: int = 50
    events_per_s: float = 10.0


@dataclass(slots=True)
class _Heard:
    """When each event came to the first and to the last listener, and how often."""

    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    count: int = 0
    expected: int = 0
    all: asyncio.Event = field(default_factory=asyncio.Event)
    problems: list[str] = field(default_factory=list)


class _Listener(asyncio.Protocol):
    """One open stream. It reads no more than it has to: there are thousands in this one process."""

    def __init__(self, heard: _Heard) -> None:
        self._heard = heard
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        head = f"GET /v1/stream HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {API_KEY}\r\n\r\n"
        self._transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        *whole, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for part in whole:
            if not self.opened.done():
                if part.startswith(b"HTTP/1.1 200 "):
                    self.opened.set_result(None)
                else:
                    self.opened.set_exception(RuntimeError(f"a stream was refused: {part[:80]!r}"))
                continue
            start = part.find(b'"progress":')
            if start > 0:
                job = part[part.find(b'"id":"') + 6 :][:30].decode()
                self._heard.first.setdefault(job, now)
                self._heard.last[job] = now
                self._heard.count += 1
                if self._heard.count == self._heard.expected:
                    self._heard.all.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(RuntimeError(f"a stream could not be opened ({exc})"))
        elif self._transport is not None and not self._transport.is_closing():
            self._heard.problems.append(f"a stream ended before its time ({exc})")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def run_streams(options: StreamsOptions, *, say: Say) -> StreamsResult:
    """Open the streams, send callbacks, and note who hears when. Raises ``TooFewFiles``."""
    check_files(options.listeners)
    heard = _Heard(expected=options.listeners * options.events)
    async with running_receiver(options.folder) as receiver:
        say("warming up")
        await run_load(receiver.port, [_callback(new_id("job")) for _ in range(_WARM_UP)], connections=4)
        listeners = await _connect(receiver, min(_WARM_UP, options.listeners), heard)
        before = receiver.resident_bytes()
        say(f"opening {options.listeners:,} streams")
        started = time.perf_counter()
        try:
            listeners += await _connect(receiver, options.listeners - len(listeners), heard)
            connect_seconds = time.perf_counter() - started
            say(f"sending {options.events:,} callbacks, {options.events_per_s:g} a second")
            sent, answered = await _send(receiver, options)
            await _until_heard(heard)
            after = receiver.resident_bytes()
        finally:
            for listener in listeners:
                listener.close()
    return _result(options, heard, sent, answered, before, after, connect_seconds)


def check_files(listeners: int) -> None:
    """Raise the limit on open files as far as it goes. Raises ``TooFewFiles`` where that is not enough."""
    try:
        import resource
    except ImportError:
        return
    allow_many_connections()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < listeners + _SPARE_FILES:
        raise TooFewFiles(
            f"{listeners:,} listeners need {listeners + _SPARE_FILES:,} open files, and this system's hard limit is "
            f"{hard:,}: raise it (ulimit -Hn, or LimitNOFILE= of the service) or ask for fewer with --listeners"
        )


async def _connect(receiver: BenchReceiver, count: int, heard: _Heard) -> list[_Listener]:
    loop = asyncio.get_running_loop()
    opened: list[_Listener] = []
    while len(opened) < count:
        some = [_Listener(heard) for _ in range(min(_CONNECTED_AT_ONCE, count - len(opened)))]
        opened += some
        async with asyncio.timeout(_LONGEST_SECONDS):
            for each in some:
                await loop.create_connection(lambda each=each: each, "127.0.0.1", receiver.port)  # type: ignore[misc] # a default argument
            await asyncio.gather(*(each.opened for each in some))
    return opened


async def _send(receiver: BenchReceiver, options: StreamsOptions) -> tuple[dict[str, float], list[float]]:
    """When each job's callback was sent, and how long the answer to it took."""
    sent: dict[str, float] = {}
    answered = []
    for number in range(options.events):
        job = new_id("job")
        request = _callback(job)
        started = sent[job] = time.perf_counter()
        answered += (await run_load(receiver.port, [request], connections=1)).latencies
        if number < options.events - 1:
            await asyncio.sleep(max(0.0, started + 1 / options.events_per_s - time.perf_counter()))
    return sent, answered


async def _until_heard(heard: _Heard) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LATEST_SECONDS):
            await heard.all.wait()
    if heard.problems:
        raise RuntimeError(heard.problems[0])


def _result(
    options: StreamsOptions,
    heard: _Heard,
    sent: dict[str, float],
    answered: list[float],
    before: int,
    after: int,
    connect_seconds: float,
) -> StreamsResult:
    firsts = [(heard.first[job] - at) * 1000 for job, at in sent.items() if job in heard.first]
    lasts = [(heard.last[job] - at) * 1000 for job, at in sent.items() if job in heard.last]
    measured = options.listeners - min(_WARM_UP, options.listeners)
    return StreamsResult(
        listeners=options.listeners,
        events=options.events,
        received=heard.count,
        expected=options.events * options.listeners,
        receiver_bytes_before=before,
        receiver_bytes=after,
        bytes_per_listener=round((after - before) / measured) if measured else 0,
        connect_seconds=round(connect_seconds, 2),
        first_listener_p50_ms=round(median(firsts), 1) if firsts else 0.0,
        last_listener_p50_ms=round(median(lasts), 1) if lasts else 0.0,
        last_listener_max_ms=round(max(lasts, default=0.0), 1),
        callback_p50_ms=round(median(answered) * 1000, 1),
    )


_TOKENS = TokenKeys((REPLY_KEY,))


def _callback(job: str) -> bytes:
    """A report of progress about a job, as useapi.net sends it: it leads to a notification and to no work."""
    path = f"/callbacks/useapi/{_TOKENS.mint(provider='useapi', job_id=job, now=datetime.now(UTC))}"
    content = {"video_id": f"v-{job}", "video_status_name": "GENERATING", "progress": 50, "replyRef": job}
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body
