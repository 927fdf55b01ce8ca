"""`/live`: a push to open pages whenever something has changed; they then fetch the part of them that is live."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from replyhook_receiver.stores.streams import StreamFilter
from replyhook_receiver.stream import Stream
from replyhook_receiver.web.auth import Access
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.problems import unavailable

MAX_OPEN = 500
"""Pages that are open at one time, over all who are signed in."""
MAX_OPEN_EACH = 20
"""Those of one key."""
SECONDS_APART = 1.0
"""A page is told no more often than this, however much happens."""

_PING_SECONDS = 15.0
_RECHECK_SECONDS = 30.0
_CHANGED = b"event: changed\r\ndata: {}\r\n\r\n"
_PING = b": ping\r\n\r\n"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no", "x-content-type-options": "nosniff"}

IsStillIn = Callable[[], Awaitable[bool]]
Wait = Callable[[float], Awaitable[bool | None]]
"""Waits so many seconds at most: whether something changed; None where there will be nothing more."""


class Changes:
    """Passes on that something has changed, and nothing of what: each page asks for what it may see.

    With a key of one user's it is told of that user's notifications alone: when others' things change is not for it.
    """

    def __init__(self, stream: Stream, *, seconds_apart: float = SECONDS_APART) -> None:
        self._stream = stream
        self._seconds_apart = seconds_apart
        self._open: set[asyncio.Event] = set()
        self._of_keys: Counter[str] = Counter()
        self._closed = False

    def nudge(self) -> None:
        """Something was committed. Costs nothing while no page is open."""
        for fresh in self._open:
            fresh.set()

    def close(self) -> None:
        """Let every page's stream end, so that the server can."""
        self._closed = True
        self.nudge()

    def route(self, ground: Ground) -> Route:
        """The stream, for those who are signed in."""

        async def listen(request: Request) -> Response:
            access = access_of_visit(request)
            if self._of_keys.total() >= MAX_OPEN or self._of_keys[access.key_id] >= MAX_OPEN_EACH:
                return unavailable(f"{MAX_OPEN_EACH} pages are open with this key already, or {MAX_OPEN} in all")

            async def is_still_in() -> bool:
                return await ground.visits.current(request) is not None

            return StreamingResponse(self.events(access, is_still_in), media_type="text/event-stream", headers=_HEADERS)

        return ground.page("/live", "live", listen)

    async def events(self, access: Access, is_still_in: IsStillIn) -> AsyncIterator[bytes]:
        """What a page is sent: the first at once, since something may have changed after it was made, or while no
        stream was open."""
        self._of_keys[access.key_id] += 1
        try:
            waiting = self._any_change() if access.user is None else self._own_change(access.user)
            async with waiting as wait:
                async for event in self._told(wait, is_still_in):
                    yield event
        finally:
            self._of_keys[access.key_id] -= 1
            if not self._of_keys[access.key_id]:
                del self._of_keys[access.key_id]

    async def _told(self, wait: Wait, is_still_in: IsStillIn) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        recheck = now() + _RECHECK_SECONDS
        yield _CHANGED
        while True:
            await asyncio.sleep(self._seconds_apart)
            has_changed = await wait(_PING_SECONDS)
            if has_changed is None:
                return
            if now() >= recheck:
                if not await is_still_in():
                    return  # the page comes again, and is sent to sign in
                recheck = now() + _RECHECK_SECONDS
            yield _CHANGED if has_changed else _PING

    @contextlib.asynccontextmanager
    async def _any_change(self) -> AsyncIterator[Wait]:
        fresh = asyncio.Event()
        self._open.add(fresh)

        async def wait(seconds: float) -> bool | None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await fresh.wait()
            has_changed = fresh.is_set()
            fresh.clear()
            return None if self._closed else has_changed

        try:
            yield wait
        finally:
            self._open.discard(fresh)

    @contextlib.asynccontextmanager
    async def _own_change(self, user: str) -> AsyncIterator[Wait]:
        last = (await self._stream.entries.bounds()).last
        follower = await self._stream.follow(StreamFilter(users=frozenset({user})), after=last)

        async def wait(seconds: float) -> bool | None:
            found = await follower.next(seconds)
            return None if found is None else bool(found)

        try:
            yield wait
        finally:
            self._stream.leave(follower)
