"""Saying, every few seconds, that this process does the work of a database that several share."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from datetime import datetime

from replyhook.ids import new_id
from replyhook_receiver.errors import ReceiverTrouble
from replyhook_receiver.stores.workers import BEAT, Workers

_LEAVE_SECONDS = 3.0
_log = logging.getLogger(__name__)


class Heartbeat:
    """One process's row. It beats while ``is_healthy`` says so: a worker that stands still is not at work."""

    def __init__(self, *, workers: Workers, is_healthy: Callable[[], bool], now: Callable[[], datetime]) -> None:
        self.worker_id = new_id("wrk")
        self._workers = workers
        self._is_healthy = is_healthy
        self._now = now
        self._host = socket.gethostname()
        self._started_at = now()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        await self._beat()
        self._task = asyncio.create_task(self._run(), name="replyhook-heartbeat")

    async def stop(self) -> None:
        """End, and say so where that can be said."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(ReceiverTrouble, TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._workers.leave(self.worker_id)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT.total_seconds())
            if self._is_healthy():
                await self._beat()

    async def _beat(self) -> None:
        try:
            await self._workers.beat(self.worker_id, host=self._host, started_at=self._started_at, now=self._now())
        except ReceiverTrouble as error:
            _log.debug("the store does not take a heartbeat now: %s", error)
