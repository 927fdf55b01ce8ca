"""How much waits in the database: through partial indexes, so that it costs what waits, and not what there is."""

from replyhook_receiver.stores.gauges import Levels, Queue
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import from_ms

_QUEUES = """
    SELECT kind, count(*) AS depth, min(due_ms) AS due_ms FROM tasks WHERE state = 'ready' GROUP BY kind ORDER BY kind
"""
_DEAD = "SELECT count(*) AS dead FROM deliveries WHERE status = 'dead'"


class SQLGauges:
    """The Gauges protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def levels(self) -> Levels:
        rows = await self._database.read(lambda raw: raw.execute(_QUEUES).fetchall())
        dead = await self._database.read(lambda raw: raw.execute(_DEAD).fetchone())
        writer = self._database.writer
        return Levels(
            queues=tuple(
                Queue(kind=row["kind"], depth=row["depth"], oldest_due=from_ms(row["due_ms"])) for row in rows
            ),
            dead_deliveries=dead["dead"],
            waiting_writes=writer.waiting,
            writes=writer.writes,
            commits=writer.commits,
        )
