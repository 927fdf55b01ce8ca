"""The hold in the database: one row, asked for in the transactions that claim."""

from datetime import datetime

from replyhook_receiver.stores.holding import Hold
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import from_ms, to_ms


def is_held(raw: Raw) -> bool:
    """Whether no task is to be begun."""
    return raw.execute("SELECT 1 FROM hold").fetchone() is not None


class SQLHolding:
    """The Holding protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def status(self) -> Hold | None:
        return await self._database.read(_read)

    async def begin(self, reason: str, *, now: datetime) -> Hold:
        def work(raw: Raw) -> Hold | None:
            statement = "INSERT INTO hold (one, since_ms, reason) VALUES (1, ?, ?) ON CONFLICT DO NOTHING"
            raw.execute(statement, (to_ms(now), reason))
            return _read(raw)

        hold = await self._database.write(work)
        assert hold is not None  # noqa: S101 - it was written in this transaction
        return hold

    async def end(self) -> Hold | None:
        def work(raw: Raw) -> Hold | None:
            hold = _read(raw)
            raw.execute("DELETE FROM hold")
            return hold

        return await self._database.write(work)


def _read(raw: Raw) -> Hold | None:
    row = raw.execute("SELECT since_ms, reason FROM hold").fetchone()
    since = from_ms(row["since_ms"]) if row else None
    return None if since is None else Hold(since=since, reason=row["reason"])
