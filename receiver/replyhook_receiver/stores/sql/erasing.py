"""Erasing a user from the database, a bounded number of rows at a time."""

from collections.abc import AsyncIterator
from datetime import datetime

from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.leaving import remove_some
from replyhook_receiver.stores.sql.rows import to_ms

_NEXT = 'SELECT id FROM jobs WHERE "user" = ? ORDER BY created_ms LIMIT 1'
_ENDPOINTS = """
    DELETE FROM endpoints WHERE "user" = ?1 AND job_id IS NULL AND origin <> 'settings'
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.endpoint_id = endpoints.id)
"""


class SQLErasing:
    """The Erasing protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, user: str) -> int:
        statement = 'SELECT count(*) AS jobs FROM jobs WHERE "user" = ?'
        row = await self._database.read(lambda raw: raw.execute(statement, (user,)).fetchone())
        return int(row["jobs"])

    async def erase(self, user: str, *, now: datetime) -> AsyncIterator[str]:
        await self._database.overwrite_removed()
        while (step := await self._database.write(lambda raw: _erase_some(raw, user, now))) is not None:
            job_id, is_gone = step
            if is_gone:
                yield job_id
        await self._database.write(lambda raw: raw.execute(_ENDPOINTS, (user,)))


def _erase_some(raw: Raw, user: str, now: datetime) -> tuple[str, bool] | None:
    row = raw.execute(_NEXT, (user,)).fetchone()
    if row is None:
        return None
    # With the first row that goes: from then on nothing is told of the job any more.
    tombstone = "INSERT INTO erased (job_id, erased_ms) VALUES (?, ?) ON CONFLICT DO NOTHING"
    raw.execute(tombstone, (row["id"], to_ms(now)))
    return row["id"], remove_some(raw, row["id"], now=now)
