"""Throwing away what is old from PostgreSQL: bodies by dropping their day's partition, the rest as in any database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from replyhook_receiver.stores.postgres import partitions
from replyhook_receiver.stores.retention import Swept
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.pruning import id_at
from replyhook_receiver.stores.sql.retention import SQLRetention

_AT_A_TIME = 1_000
_OTHERS = f"""
    SELECT callback_id AS id FROM {partitions.OTHER_DAYS} WHERE callback_id > ? AND callback_id < ? ORDER BY 1 LIMIT ?
"""  # noqa: S608 - our own name


class PostgreSQLRetention(SQLRetention):
    """The Retention protocol. Bodies go by whole days, so up to a day later than by rows.

    They are not compressed after a day: PostgreSQL compresses what is long when it comes.
    """

    async def _compress(self, before: str) -> AsyncIterator[Swept]:  # noqa: ARG002 - there is nothing to do
        return
        yield

    async def _drop_old(self, before: datetime, *, dry_run: bool) -> AsyncIterator[Swept]:
        if not dry_run:
            await self._database.write(lambda raw: partitions.make_ahead(raw, datetime.now(UTC)))
        for name in await self._database.read(lambda raw: partitions.past(raw, before)):
            if dry_run:
                yield Swept(what="bodies", count=await self._count(name))
                continue
            goes_on = await self._is_needed(name)
            while goes_on:
                removed, goes_on = await self._thin(name)
                yield Swept(what="bodies", count=removed)
            yield Swept(what="bodies", count=await self._drop_partition(name))
        async for step in self._drop(_OTHERS, id_at(before), None, dry_run=dry_run):
            yield step

    async def _count(self, name: str) -> int:
        return await self._database.read(lambda raw: partitions.count(raw, name))

    async def _is_needed(self, name: str) -> bool:
        return await self._database.read(lambda raw: partitions.is_needed(raw, name))

    async def _thin(self, name: str) -> tuple[int, bool]:
        return await self._database.write(lambda raw: partitions.thin(raw, name, _AT_A_TIME))

    async def _drop_partition(self, name: str) -> int:
        def work(raw: Raw) -> int:
            if partitions.is_needed(raw, name) or not partitions.can_be_changed(raw):  # another time
                return 0
            count = partitions.count(raw, name)
            partitions.drop(raw, name)
            return count

        return await self._database.write(work)
