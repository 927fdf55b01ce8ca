"""Listeners that are slow, cut off, or many: none misses or repeats anything, and none costs the others."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette

from replyhook.ids import new_id
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.records import Registration
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.stores.streams import EVERYTHING, StreamBounds, StreamFilter, StreamPage, StreamStore
from replyhook_receiver.stream import MAX_WAITING, Event, Stream
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.live import StreamApi
from replyhook_receiver.web.problems import HANDLERS
from replyhook_receiver.web.stream_links import StreamLinks
from replyhook_receiver.web.stream_response import StreamTimes
from tests.receiver.sqlite_file import lay
from tests.receiver.support import API_KEY, NOW, TOKENS, until

USERS = ("ann", "bob")


class CountedReads:
    """A stream store that counts how often it is read."""

    def __init__(self, inner: StreamStore) -> None:
        self._inner = inner
        self.pages = 0

    async def page(self, wanted: StreamFilter, *, after: int, through: int, limit: int = 100) -> StreamPage:
        self.pages += 1
        return await self._inner.page(wanted, after=after, through=through, limit=limit)

    async def bounds(self) -> StreamBounds:
        return await self._inner.bounds()


@dataclass
class Table:
    """A store that notifications are written to as fast as wanted, and the stream over it."""

    store: SQLiteStore
    stream: Stream
    reads: CountedReads
    jobs: dict[str, str]
    written: int = 0

    async def write(self, count: int, *, padding: int = 0) -> None:
        """So many notifications in one commit, of Ann's job and of Bob's in turn."""
        body = json.dumps({"type": "job.running", "padding": "x" * padding}).encode()
        users = [USERS[(self.written + number) % 2] for number in range(count)]
        rows = [("ntf", self.jobs[user], "job.running", body, 0) for user in users]
        statement = "INSERT INTO notifications (id, job_id, type, body, created_ms) VALUES (?, ?, ?, ?, ?)"
        await self.store.database.write(lambda raw: raw.executemany(statement, rows))
        self.written += count


@pytest.fixture
async def table(tmp_path: Path) -> AsyncIterator[Table]:
    store = SQLiteStore(lay(tmp_path / "live.db"), describe=lambda *_: b"")
    await store.open()
    reads = CountedReads(store.streams)
    store.streams = reads
    stream = Stream(store)
    store.on_change(tasks=lambda: None, notifications=stream.nudge)
    jobs = {user: new_id("job") for user in USERS}
    for user, job in jobs.items():
        known = Registration(job_id=job, provider="fal", reference=None, user=user, notify=(), request={})
        await store.register(known, now=NOW)
    yield Table(store=store, stream=stream, reads=reads, jobs=jobs)
    await stream.stop()
    await store.close()


@asynccontextmanager
async def serving(table: Table) -> AsyncIterator[int]:
    links = StreamLinks(tokens=TOKENS, public_url="http://x")
    announcer = Announcer(public_url="http://x", personal=frozenset())
    times = StreamTimes(slow=0.4)
    api = StreamApi(
        stream=table.stream, store=table.store, announcer=announcer, links=links, now=lambda: NOW, times=times
    )
    app = Starlette(routes=api.routes(ApiKeys([API_KEY])), exception_handlers=HANDLERS)
    app.state.before_shutdown = table.stream.close
    bound = free_socket()
    port: int = bound.getsockname()[1]
    async with served(app, bound):
        yield port


@asynccontextmanager
async def connected(port: int, after: int, query: str = "") -> AsyncIterator[asyncio.StreamReader]:
    """An open stream, with the smallest buffers that the system gives."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
    lines = (
        f"GET /v1/stream{query} HTTP/1.1",
        "host: x",
        f"authorization: Bearer {API_KEY}",
        f"last-event-id: {after}",
    )
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
    try:
        yield reader
    finally:
        writer.transport.abort()


async def events(reader: asyncio.StreamReader) -> AsyncIterator[tuple[str, int | None]]:
    """Name and id of each whole event, until the stream ends or is cut. A chunk's own lines are passed over."""
    name, place = "", None
    try:
        while line := await reader.readline():
            text = line.decode().strip()
            if text.startswith("id: "):
                place = int(text[4:])
            elif text.startswith("event: "):
                name = text[7:]
            elif text.startswith("data: ") and line.endswith(b"\n"):
                yield name, place
                name, place = "", None
    except ConnectionError:
        return


async def test_a_listener_that_does_not_read_is_told_so_and_goes_on_without_loss_or_repeat(table: Table) -> None:
    async with serving(table) as port:
        heard: list[int] = []
        ended = ""
        async with connected(port, 0) as reader:
            await until(lambda: table.stream.listeners == 1)
            for _ in range(60):  # far more than fits into the buffers on the way
                await table.write(100, padding=2000)
            await asyncio.sleep(0.8)
            async with asyncio.timeout(60):
                async for name, place in events(reader):
                    if place is None:
                        ended = name
                    else:
                        heard.append(place)
        assert ended == "stream.ended"
        assert 0 < len(heard) < table.written
        await until(lambda: table.stream.listeners == 0)
        async with connected(port, heard[-1], "?seconds=0.1") as reader, asyncio.timeout(60):
            heard += [place async for _, place in events(reader) if place is not None]
    assert heard == list(range(1, table.written + 1))


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_is_cut_off_stalls_and_comes_back_hears_everything_once(table: Table, seed: int) -> None:
    luck = random.Random(seed)
    total, user = 1500, luck.choice([None, *USERS])
    chosen = [number for number in range(1, total + 1) if user is None or USERS[(number - 1) % 2] == user]

    async def write() -> None:
        while table.written < total:
            await table.write(min(luck.choice([1, 3, 40, MAX_WAITING * 3]), total - table.written), padding=300)
            await asyncio.sleep(luck.choice([0, 0.001, 0.01]))

    async def listen(port: int) -> list[int]:
        heard: list[int] = []
        while not heard or heard[-1] != chosen[-1]:
            query = f"?user={user}" if user else ""
            patience = luck.randrange(1, 400)
            async with connected(port, heard[-1] if heard else 0, query) as reader:
                async for _, place in events(reader):
                    if place is not None:
                        heard.append(place)
                    patience -= 1
                    if not patience or heard[-1] == chosen[-1]:
                        break
                    if luck.random() < 0.02:
                        await asyncio.sleep(0.03)
        return heard

    async with serving(table) as port, asyncio.timeout(40):
        *all_heard, _ = await asyncio.gather(listen(port), listen(port), write())
    for heard in all_heard:
        assert heard == chosen


async def test_one_reading_of_the_table_serves_every_listener(table: Table) -> None:
    await table.write(1)
    followers = [await table.stream.follow(EVERYTHING, after=1) for _ in range(200)]
    ann = await table.stream.follow(StreamFilter(users=frozenset({"ann"})), after=1)
    before = table.reads.pages
    await table.write(4)
    for follower in followers:
        told: list[int] = []
        while len(told) < 4:
            told += [event.sequence for event in await follower.next(5) or []]
        assert told == [2, 3, 4, 5]
    assert [event.sequence for event in await ann.next(5) or []] == [3, 5]
    assert table.reads.pages - before <= 3
    for follower in (*followers, ann):
        table.stream.leave(follower)
    assert table.stream.listeners == 0
    read = table.reads.pages
    await table.write(1)
    await asyncio.sleep(0.05)
    assert table.reads.pages <= read + 1, "nobody listens, but the table is read"


async def test_what_waits_for_one_listener_is_bounded_and_nothing_of_it_is_lost(table: Table) -> None:
    follower = await table.stream.follow(EVERYTHING, after=0)
    await table.write(MAX_WAITING * 5)
    await until(lambda: follower._missed_after is not None)
    assert len(follower._waiting) <= MAX_WAITING
    told: list[int] = []
    while len(told) < table.written:
        told += [event.sequence for event in await follower.next(5) or []]
    assert told == list(range(1, table.written + 1))
    assert follower.is_current
    table.stream.leave(follower)


async def test_what_was_read_from_the_table_is_not_taken_again_when_it_is_handed_out_late(table: Table) -> None:
    await table.write(3)
    follower = await table.stream.follow(EVERYTHING, after=0)
    follower.offer(Event(2, b"late"))
    assert [event.sequence for event in await follower.next(5) or []] == [1, 2, 3]
    follower.offer(Event(3, b"late"))
    assert await follower.next(0.05) == []
    table.stream.leave(follower)
