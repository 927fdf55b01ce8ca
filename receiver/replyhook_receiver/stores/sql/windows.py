"""How far down the long lists a page looks: a walk along their keys, and no row is read."""

from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.windows import LOOKED_AT, Listed

_BY_ID = ("id", "id < :before")
_ORDER = {
    Listed.JOBS: _BY_ID,
    Listed.CALLBACKS: ("rowid", "rowid < (SELECT rowid FROM callbacks WHERE id = :before)"),
    Listed.DELIVERIES: _BY_ID,
}


class SQLWindows:
    """The Windows protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bottom(self, of: Listed, *, before: str | None = None, rows: int = LOOKED_AT) -> str | None:
        order, below = _ORDER[of]
        where = "TRUE" if before is None else below
        statement = f"SELECT id FROM {of.value} WHERE {where} ORDER BY {order} DESC LIMIT 1 OFFSET :rows"  # noqa: S608 - ours
        values = {"before": before, "rows": rows - 1}
        row = await self._database.read(lambda raw: raw.execute(statement, values).fetchone())
        return None if row is None else str(row["id"])
