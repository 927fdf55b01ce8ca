"""Live notifications: one reader of the table hands every listener what it wants; a commit only nudges it.

A listener that joins, or that has let too much wait, reads the table up to the place where the reader is; from there
on it is handed what comes. So nothing is missed or repeated, and what waits for one listener is bounded.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import msgspec

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.streams import EVERYTHING, StreamEntry, StreamFilter

MAX_WAITING = 64
"""Entries that wait for one listener before it is left to read them from the table."""

_PAGE = 100
_END = 2**62
_SLICE = 64  # listeners that are woken before others may run: thousands at once would hold up callbacks
_BATCH_BYTES = 32 * 1024
_STORE_PAUSE_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Event(NamedTuple):
    """An entry as server-sent bytes, which all listeners share."""

    sequence: int
    data: bytes


def as_event(entry: StreamEntry) -> Event:
    """An entry as it is sent."""
    return Event(entry.sequence, server_sent(entry.type, entry.body, event_id=entry.sequence))


def server_sent(name: str, body: bytes, *, event_id: int | None = None) -> bytes:
    """One server-sent event. A body's own line ends, of which JSON has none, cannot end it."""
    lines = [f"id: {event_id}".encode()] if event_id is not None else []
    lines += [b"event: " + name.encode(), *(b"data: " + line for line in body.splitlines() or [b""])]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def said(name: str, *, reason: str, detail: str, event_id: int | None = None) -> bytes:
    """An event of the stream's own, which is no notification."""
    return server_sent(name, msgspec.json.encode({"reason": reason, "detail": detail}), event_id=event_id)


class Stream:
    """Hands out notifications in the order they were committed, without missing or repeating one."""

    def __init__(self, store: Store) -> None:
        self.entries = store.streams
        self._followers = _Index()
        self._fresh = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._place: int | None = None
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many there are."""
        return len(self._followers)

    def nudge(self) -> None:
        """There may be something new."""
        self._fresh.set()

    def close(self) -> None:
        """Let every listener end, so that the server can."""
        self._closed = True
        self.nudge()
        for follower in self._followers:
            follower.close()

    async def stop(self) -> None:
        """End, and read no more."""
        self.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def history(self, *, after: int, through: int, job_id: str) -> AsyncIterator[StreamEntry]:
        """A job's notifications after one place in the stream, up to another."""
        wanted = StreamFilter(jobs=frozenset({job_id}))
        while after < through:
            page = await self.entries.page(wanted, after=after, through=through, limit=_PAGE)
            for entry in page.entries:
                yield entry
            after = page.through

    async def follow(self, wanted: StreamFilter, *, after: int) -> "Follower":
        """Begin to follow after a place; to be ended with ``leave``. Raises ``StoreUnavailable``."""
        if self._place is None:
            last = (await self.entries.bounds()).last
            if self._place is None:  # somebody else may have begun meanwhile
                self._place = last
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="replyhook-stream")
        follower = Follower(self, wanted, after)
        self._followers.add(follower)
        self.join(follower)
        self._fresh.set()
        if self._closed:
            follower.close()
        return follower

    def join(self, follower: "Follower") -> None:
        """From here on ``follower`` is handed what comes; what came before it reads itself."""
        follower.joined_at(self._place or 0)

    def leave(self, follower: "Follower") -> None:
        """Hand it nothing more."""
        follower.close()
        self._followers.remove(follower)
        if not self._followers:
            self._place = None  # nobody listens: nothing is read until somebody does
            self._fresh.set()

    async def _read(self) -> None:
        try:
            while self._followers and not self._closed:
                self._fresh.clear()
                if not await self._read_page():
                    await self._fresh.wait()
        except Exception:
            _log.exception("the stream stopped by a fault of ours; its listeners have to come again")
            for follower in self._followers:
                follower.close()

    async def _read_page(self) -> bool:
        """Hand out what is new; whether there may be more."""
        if self._place is None:
            return False
        try:
            page = await self.entries.page(EVERYTHING, after=self._place, through=_END, limit=_PAGE)
        except StoreUnavailable as error:
            _log.warning("the stream cannot be read: %s", error)
            await asyncio.sleep(_STORE_PAUSE_SECONDS)
            return True
        for entry in page.entries:
            await self._hand_out(entry)
        return len(page.entries) == _PAGE

    async def _hand_out(self, entry: StreamEntry) -> None:
        if self._place is None or entry.sequence <= self._place:
            return  # all had left while it was read
        # Before anybody else may run: who joins from here on reads this entry from the table.
        self._place = entry.sequence
        event = as_event(entry)
        for number, follower in enumerate(self._followers.that_want(entry), start=1):
            follower.offer(event)
            if number % _SLICE == 0:
                await asyncio.sleep(0)


class Follower:
    """One listener's place: what it wants, and the little that waits for it."""

    __slots__ = ("_after", "_closed", "_fresh", "_missed_after", "_stream", "_through", "_waiting", "wanted")

    def __init__(self, stream: Stream, wanted: StreamFilter, after: int) -> None:
        self.wanted = wanted
        self._stream = stream
        self._after = after
        self._through = after
        self._missed_after: int | None = None
        self._waiting: deque[Event] = deque()
        self._fresh = asyncio.Event()
        self._closed = False

    def joined_at(self, place: int) -> None:
        """What is up to ``place`` is read from the table, what is after it is offered."""
        self._through, self._missed_after = place, None

    def offer(self, event: Event) -> None:
        """Take what comes; where too much waits, let it go and remember from where on to read it."""
        if event.sequence <= max(self._through, self._after) or self._missed_after is not None:
            return
        if len(self._waiting) == MAX_WAITING:
            self._missed_after = self._waiting[0].sequence - 1
            self._waiting.clear()
        else:
            self._waiting.append(event)
        self._fresh.set()

    def close(self) -> None:
        """There will be nothing more."""
        self._closed = True
        self._fresh.set()

    @property
    def is_current(self) -> bool:
        """Whether it was handed everything that came so far."""
        return not self._waiting and self._missed_after is None and self._after >= self._through

    async def next(self, seconds: float) -> list[Event] | None:
        """What is next: nothing, where nothing came for so long; None at the end. Raises ``StoreUnavailable``."""
        while not self._closed:
            if self._after < self._through:
                if found := await self._read_table():
                    return found
            elif self._waiting:
                return self._take_waiting()
            elif self._missed_after is not None:
                self._after = self._missed_after
                self._stream.join(self)
            else:
                self._fresh.clear()
                try:
                    async with asyncio.timeout(seconds):
                        await self._fresh.wait()
                except TimeoutError:
                    return []
        return None

    async def _read_table(self) -> list[Event]:
        page = await self._stream.entries.page(self.wanted, after=self._after, through=self._through, limit=_PAGE)
        self._after = page.through
        return [as_event(entry) for entry in page.entries]

    def _take_waiting(self) -> list[Event]:
        taken, size = [], 0
        while self._waiting and size < _BATCH_BYTES:
            event = self._waiting.popleft()
            taken.append(event)
            size += len(event.data)
        return taken


class _Index:
    """The listeners by what they want: whoever wants some jobs is asked about those only, the same wish only once."""

    def __init__(self) -> None:
        self._by_job: dict[str | None, dict[StreamFilter, set[Follower]]] = {}
        self._all: set[Follower] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Follower]:
        return iter(list(self._all))

    def add(self, follower: Follower) -> None:
        self._all.add(follower)
        for job_id in follower.wanted.jobs or [None]:
            self._by_job.setdefault(job_id, {}).setdefault(follower.wanted, set()).add(follower)

    def remove(self, follower: Follower) -> None:
        self._all.discard(follower)
        for job_id in follower.wanted.jobs or [None]:
            by_wish = self._by_job.get(job_id, {})
            same = by_wish.get(follower.wanted, set())
            same.discard(follower)
            if not same:
                by_wish.pop(follower.wanted, None)
            if not by_wish:
                self._by_job.pop(job_id, None)

    def that_want(self, entry: StreamEntry) -> list[Follower]:
        return [
            follower
            for job_id in (None, entry.job_id)
            for wanted, same in self._by_job.get(job_id, {}).items()
            if wanted.takes(entry)
            for follower in same
        ]
