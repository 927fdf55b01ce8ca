"""Throwing away what is old, once a day and slowly: the receiver's own work beside the tasks."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

from anyio import to_thread

from replyhook_receiver.config import Settings
from replyhook_receiver.errors import ReceiverTrouble, StorageTrouble
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.retention import KeepFor, Swept

_log = logging.getLogger(__name__)

EVERY = timedelta(days=1)
REJECTED_FOR = timedelta(days=30)
_FIRST = timedelta(minutes=10)
_AFTER_TROUBLE = timedelta(minutes=5)
_LONGEST_SLEEP = timedelta(hours=1)  # another process (`replyhook db erase`) may note what is due earlier
_SHORTEST_PAUSE_SECONDS = 0.1
_PAUSE_TO_STEP = 5


def keep_for(settings: Settings) -> KeepFor:
    """How long each is kept, from the settings."""
    return KeepFor(
        bodies=timedelta(days=settings.keep_bodies_days),
        notifications=timedelta(days=settings.keep_notifications_days),
        history=timedelta(days=settings.keep_history_days),
        videos=timedelta(days=settings.keep_videos_days) if settings.keep_videos_days else None,
    )


class Housekeeping:
    """Sleeps until the next round is due, or a video is to be removed; when that is stands in the store."""

    def __init__(self, *, store: Store, storage: Storage, keep: KeepFor, now: Callable[[], datetime]) -> None:
        self._store = store
        self._storage = storage
        self._keep = keep
        self._now = now
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="replyhook-housekeeping")

    async def stop(self) -> None:
        """End where it is: the next round takes up what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                pause = await self._do_what_is_due()
            except ReceiverTrouble as error:
                _log.warning("what is old could not be thrown away now: %s", error)
                pause = _AFTER_TROUBLE
            except Exception:
                _log.exception("throwing away what is old failed by a fault of ours")
                pause = _LONGEST_SLEEP
            await asyncio.sleep(pause.total_seconds())

    async def _do_what_is_due(self) -> timedelta:
        """How long until there is something again."""
        retention = self._store.retention
        if await self._store.holding.status() is not None:
            return _LONGEST_SLEEP
        now = self._now()
        due = await retention.next_round()
        if due is None or due > now + EVERY:  # never planned, or by a clock that was ahead
            due = now + _FIRST
            await retention.plan_round(due)
        if due <= now:
            await self.prune()
            due = self._now() + EVERY
            await retention.plan_round(due)
        await remove_unwanted(self._store, self._storage, now=self._now())
        unwanted = await retention.next_unwanted()
        first = due if unwanted is None else min(due, unwanted)
        return min(max(first - self._now(), timedelta(seconds=1)), _LONGEST_SLEEP)

    async def prune(self) -> None:
        """One round."""
        swept: Counter[str] = Counter()
        async with contextlib.aclosing(self._store.retention.prune(self._keep, now=self._now())) as steps:
            async for step in at_leisure(steps):
                swept[step.what] += step.count
        done = ", ".join(f"{count} {what}" for what, count in swept.items() if count)
        swept["rejected files"] = await remove_rejected(self._storage, now=self._now())
        _log.info("thrown away as old: %s", done or "nothing")


async def remove_rejected(storage: Storage, *, now: datetime) -> int:
    """Remove what came in place of videos and was put aside long ago; how many."""
    try:
        return await to_thread.run_sync(lambda: storage.remove_rejected(before=now - REJECTED_FOR))
    except StorageTrouble as error:
        _log.warning("what was put aside could not be removed: %s", error)
        return 0


async def at_leisure(steps: AsyncIterator[Swept]) -> AsyncIterator[Swept]:
    """The steps of a round with a pause after each, the longer the longer it took: callbacks have the disk first."""
    begun = time.monotonic()
    async for step in steps:
        took = time.monotonic() - begun
        yield step
        await asyncio.sleep(max(_SHORTEST_PAUSE_SECONDS, _PAUSE_TO_STEP * took))
        begun = time.monotonic()


async def remove_unwanted(store: Store, storage: Storage, *, now: datetime) -> int:
    """Remove the videos whose rows went from storage; how many. What cannot be reached now is tried again later."""
    removed = 0
    while names := await store.retention.unwanted_videos(now=now):
        for name in names:
            try:
                await storage.remove(name)
            except StorageTrouble as error:
                _log.warning("an unwanted video could not be removed: %s", error)
                raise
            await store.retention.forget_video(name, now=now)
            removed += 1
    return removed
