"""How things went lately, read once for all who look at the same time, and never before they looked."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.overview import Lately

SECONDS_APART = 0.5
_MOST_REMEMBERED = 64


class Glances:
    """Readings of one store, everybody's or one user's. Those of the same begin half a second apart at least: whoever
    comes meanwhile shares the next one, so that what was there before anybody looked is seen."""

    def __init__(self, store: Store, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._next: dict[str | None, asyncio.Task[Lately]] = {}
        self._began: dict[str | None, float] = {}

    async def lately(self, user: str | None) -> Lately:
        """How things went, as of now. Raises ``StoreUnavailable``."""
        reading = self._next.get(user)
        if reading is None:
            reading = self._next[user] = asyncio.create_task(self._read(user), name="overview")
            reading.add_done_callback(_look_at_fault)
        return await asyncio.shield(reading)  # others wait for it, too

    async def _read(self, user: str | None) -> Lately:
        now = asyncio.get_running_loop().time
        try:
            await asyncio.sleep(max(0.0, self._began.get(user, float("-inf")) + SECONDS_APART - now()))
        finally:
            del self._next[user]  # whoever comes from here on sees more than this one does
        if len(self._began) >= _MOST_REMEMBERED:
            self._began.clear()
        self._began[user] = now()
        return await self._store.overview.lately(user=user, now=self._now())


def _look_at_fault(reading: asyncio.Task[Lately]) -> None:
    """All who waited may have gone: then nobody else looks at it, and asyncio would complain."""
    if not reading.cancelled():
        reading.exception()
