"""A kind of task of which no more than so many run at a time, by all workers of a database together."""

from datetime import datetime, timedelta

from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.base import Store
from replyhook_receiver.tasks import Task


class Capped:
    """Claims tasks of one kind; the store counts those that are held, in the transaction that claims."""

    def __init__(self, store: Store, kind: TaskKind, *, at_once: int) -> None:
        self._store = store
        self._kind = kind
        self._at_once = at_once

    async def claim(self, *, limit: int, lease: timedelta, now: datetime) -> list[Task]:
        """Take up to ``limit``, as far as there is room."""
        if limit == 0:
            return []
        return await self._store.claim([self._kind], limit=limit, at_once=self._at_once, lease=lease, now=now)
