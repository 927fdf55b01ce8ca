"""Live notifications: every listener reads the table from where it stopped; a commit only nudges it."""

import asyncio
from collections.abc import AsyncIterator

from replyhook_receiver.records import NotificationRecord
from replyhook_receiver.stores.base import Store

_PAGE = 100


class Stream:
    """Hands out notifications in the order they were committed, without missing or repeating one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: set[asyncio.Event] = set()
        self._closed = False

    def nudge(self) -> None:
        """There may be something new."""
        for listener in self._listeners:
            listener.set()

    def close(self) -> None:
        """Let every listener end, so that the server can."""
        self._closed = True
        self.nudge()

    async def history(self, *, after: int, through: int, job_id: str) -> AsyncIterator[NotificationRecord]:
        """A job's notifications after one place in the stream, up to another; ``through`` is that of its last."""
        while after < through:
            page = await self._store.notifications(after=after, job_id=job_id, limit=_PAGE)
            for notification in page:
                after = notification.sequence
                if after <= through:
                    yield notification
            if not page:
                return

    async def follow(
        self, *, after: int, job_id: str | None = None, seconds: float | None = None
    ) -> AsyncIterator[NotificationRecord]:
        """Notifications after a place in the stream, of one job or of all, as they come; for ``seconds``, if given."""
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        fresh = asyncio.Event()
        self._listeners.add(fresh)
        try:
            while not self._closed:
                fresh.clear()
                page = await self._store.notifications(after=after, job_id=job_id, limit=_PAGE)
                for notification in page:
                    after = notification.sequence
                    yield notification
                if len(page) < _PAGE and not self._closed:
                    # Only the wait is bounded: what is being handed out is handed out whole.
                    async with asyncio.timeout_at(deadline):
                        await fresh.wait()
        except TimeoutError:
            return
        finally:
            self._listeners.discard(fresh)
