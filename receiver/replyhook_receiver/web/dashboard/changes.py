"""`/live`: a push to open pages whenever something was committed; they then fetch the part of them that is live."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

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


class Changes:
    """Passes on that something has changed, and nothing of what: each page asks for what it may see."""

    def __init__(self, *, seconds_apart: float = SECONDS_APART) -> None:
        self._seconds_apart = seconds_apart
        self._open: set[asyncio.Event] = set()
        self._of_keys: Counter[str] = Counter()
        self._closed = False

    def nudge(self) -> None:
        """Something may have changed. Costs nothing while no page is open."""
        for fresh in self._open:
            fresh.set()

    def close(self) -> None:
        """Let every page's stream end, so that the server can."""
        self._closed = True
        self.nudge()

    def route(self, ground: Ground) -> Route:
        """The stream, for those who are signed in."""

        async def listen(request: Request) -> Response:
            key_id = access_of_visit(request).key_id
            if len(self._open) >= MAX_OPEN or self._of_keys[key_id] >= MAX_OPEN_EACH:
                return unavailable(f"{MAX_OPEN_EACH} pages are open with this key already, or {MAX_OPEN} in all")

            async def is_still_in() -> bool:
                return await ground.visits.current(request) is not None

            return StreamingResponse(
                self._events(key_id, is_still_in), media_type="text/event-stream", headers=_HEADERS
            )

        return ground.page("/live", "live", listen)

    async def _events(self, key_id: str, is_still_in: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """The first at once: something may have changed since the page was made, or since the last stream broke."""
        fresh = asyncio.Event()
        self._open.add(fresh)
        self._of_keys[key_id] += 1
        now = asyncio.get_running_loop().time
        recheck = now() + _RECHECK_SECONDS
        try:
            yield _CHANGED
            while not self._closed:
                await asyncio.sleep(self._seconds_apart)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PING_SECONDS):
                        await fresh.wait()
                if now() >= recheck:
                    if not await is_still_in():
                        return  # the page comes again, and is sent to sign in
                    recheck = now() + _RECHECK_SECONDS
                yield _CHANGED if fresh.is_set() else _PING
                fresh.clear()
        finally:
            self._open.discard(fresh)
            self._of_keys[key_id] -= 1
            if not self._of_keys[key_id]:
                del self._of_keys[key_id]
