"""Which downloads may begin: the link that ends first, not too many from one host, and none while the disk is low."""

import logging
from datetime import datetime, timedelta

from anyio import to_thread

from replyhook_receiver.errors import LowDisk
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.stores.links import Links
from replyhook_receiver.tasks import Task
from replyhook_receiver.work.hosts import CountedAs
from replyhook_receiver.work.storage_state import StorageState

_log = logging.getLogger(__name__)


class DownloadQueue:
    """Claims download tasks for the worker. Held back by a low disk they lose no tries; callbacks are still taken."""

    def __init__(
        self,
        *,
        links: Links,
        storage: Storage,
        storage_state: StorageState,
        at_once: int,
        per_host: int,
        min_free_bytes: int,
        counted_as: CountedAs,
    ) -> None:
        self._links = links
        self._storage = storage
        self._storage_state = storage_state
        self._at_once = at_once
        self._per_host = per_host
        self._min_free_bytes = min_free_bytes
        self._counted_as = counted_as
        self._is_low = False
        self._unseen: str | None = None  # why the folder cannot even be looked at

    @property
    def state(self) -> str:
        """``ok``, ``low_disk`` while there is no room to begin any, ``storage_trouble`` while there is a problem."""
        if self._is_low:
            return "low_disk"
        return "ok" if self.problem is None else "storage_trouble"

    @property
    def problem(self) -> str | None:
        """Why what was downloaded cannot be stored, where that is so."""
        return self._unseen or self._storage_state.problem

    async def claim(self, *, limit: int, lease: timedelta, now: datetime) -> list[Task]:
        """Take up to ``limit`` downloads. Asked for none, it only notes when new links end."""
        if limit == 0 or not await self._may_begin():
            await self._links.date()
            return []
        return await self._links.claim(
            limit=limit,
            at_once=self._at_once,
            per_host=self._per_host,
            counted_as=self._counted_as,
            lease=lease,
            now=now,
        )

    async def _may_begin(self) -> bool:
        """Not while the folder cannot be looked at, as where a file server is away: that passes as a full disk does."""
        try:
            may = await self._has_room() or await to_thread.run_sync(self._storage.has_waiting)
        except (LowDisk, OSError) as error:
            if self._unseen is None:
                _log.error("downloads wait: %s", error)
            self._unseen = str(error)
            return False
        if self._unseen is not None:
            _log.warning("the folder of videos can be looked at again: downloads go on")
        self._unseen = None
        return may

    async def _has_room(self) -> bool:
        free = await to_thread.run_sync(self._storage.free_bytes)
        is_low = free < self._min_free_bytes
        if is_low and not self._is_low:
            _log.error(
                "low disk: %d MiB are free where videos are stored, %d MiB (min_free_disk_bytes) are to be; downloads "
                "wait until there is room, callbacks are still taken",
                free // 2**20,
                self._min_free_bytes // 2**20,
            )
        elif self._is_low and not is_low:
            _log.warning("there is room on the disk again: downloads go on")
        self._is_low = is_low
        return not is_low
