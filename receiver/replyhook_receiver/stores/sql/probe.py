"""Whether commits reach the disk: free while they do; after one that failed, a tiny one of its own finds out."""

import asyncio
import time
from collections.abc import Callable

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.writer import Writer

_BETWEEN_SECONDS = 1.0
_PATIENCE_SECONDS = 0.5


class Probe:
    """Watches over one writer. ``touch`` changes nothing, by a write that has to reach the disk.

    Only such a one undoes a failure: a commit of reads alone proves nothing.
    """

    def __init__(self, writer: Writer, touch: Callable[[Raw], None]) -> None:
        self._writer = writer
        self._touch = touch
        self._overcome = 0
        self._began_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def check(self) -> bool:
        """Whether writes are taken and reach the disk; tries one at most once a second, and waits only shortly."""
        if self._writer.hangs:  # it has not failed, and may never
            return False
        if self._is_needed and (self._task is None or self._task.done()):
            if time.monotonic() - self._began_at < _BETWEEN_SECONDS:
                return False
            self._began_at = time.monotonic()
            self._task = asyncio.create_task(self._try(), name="replyhook-probe")
        if self._is_needed and self._task is not None:
            await asyncio.wait([self._task], timeout=_PATIENCE_SECONDS)
        return self._writer.healthy and not self._is_needed

    async def close(self) -> None:
        """Wait for what is under way; the writer has ended, so it has too."""
        if self._task is not None:
            await self._task

    @property
    def _is_needed(self) -> bool:
        return self._writer.healthy and self._writer.failures > self._overcome

    async def _try(self) -> None:
        failures = self._writer.failures
        try:
            await self._writer.run(self._touch)
        except StoreUnavailable:
            return
        self._overcome = failures
