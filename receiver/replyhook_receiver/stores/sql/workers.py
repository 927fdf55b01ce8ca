"""Who is at work, in the database: a row a process, written every few seconds."""

from datetime import datetime, timedelta

from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import from_ms, to_ms
from replyhook_receiver.stores.workers import SILENT_AFTER, WorkerSeen

_FORGOTTEN_AFTER = timedelta(days=1)
_BEAT = """
    INSERT INTO workers (id, host, started_ms, beat_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET beat_ms = excluded.beat_ms
"""
_BEATING = "SELECT id, host, started_ms, beat_ms FROM workers WHERE beat_ms > ? ORDER BY started_ms, id"


class SQLWorkers:
    """The Workers protocol over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, worker_id: str, *, host: str, started_at: datetime, now: datetime) -> None:
        def work(raw: Raw) -> None:
            raw.execute("DELETE FROM workers WHERE beat_ms < ?", (to_ms(now - _FORGOTTEN_AFTER),))
            raw.execute(_BEAT, (worker_id, host, to_ms(started_at), to_ms(now)))

        await self._database.write(work)

    async def leave(self, worker_id: str) -> None:
        await self._database.write(lambda raw: raw.execute("DELETE FROM workers WHERE id = ?", (worker_id,)).rowcount)

    async def beating(self, *, now: datetime) -> list[WorkerSeen]:
        values = (to_ms(now - SILENT_AFTER),)
        rows = await self._database.read(lambda raw: raw.execute(_BEATING, values).fetchall())
        found = [(row["id"], row["host"], from_ms(row["started_ms"]), from_ms(row["beat_ms"])) for row in rows]
        return [
            WorkerSeen(id=name, host=host, started_at=started, beat_at=beat)
            for name, host, started, beat in found
            if started is not None and beat is not None
        ]
