"""How far down the long lists a page looks, in one SQLite file: a walk along their keys, and no row is read."""

from replyhook_receiver.stores.sqlite.database import Database
from replyhook_receiver.stores.windows import LOOKED_AT, Listed

_ORDER = {Listed.JOBS: "id", Listed.CALLBACKS: "rowid", Listed.DELIVERIES: "id"}


class SQLiteWindows:
    """The Windows protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bottom(self, of: Listed, *, before: str | None = None, rows: int = LOOKED_AT) -> str | None:
        order = _ORDER[of]
        below = "TRUE" if before is None else f"{order} < (SELECT {order} FROM {of.value} WHERE id = :before)"
        if before is not None and order == "id":
            below = "id < :before"
        statement = f"SELECT id FROM {of.value} WHERE {below} ORDER BY {order} DESC LIMIT 1 OFFSET :rows"  # noqa: S608 - ours
        values = {"before": before, "rows": rows - 1}
        row = await self._database.read(lambda raw: raw.execute(statement, values).fetchone())
        return None if row is None else str(row["id"])
