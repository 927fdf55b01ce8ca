"""The live stream's reads."""

from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.streams import StreamBounds, StreamEntry, StreamFilter, StreamPage
from replyhook_receiver.told import whole_body

_SCANNED_ROWS = 5_000
"""How many rows one read looks at for those that are wanted: a rare one is looked for in many short reads."""


class SQLStreams:
    """The ``StreamStore`` protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: StreamFilter, *, after: int, through: int, limit: int = 100) -> StreamPage:
        if not wanted.jobs:
            through = min(through, after + _SCANNED_ROWS)
        rows = await self._database.read(lambda raw: _read(raw, wanted, after, through, limit))
        entries = tuple(_entry(row) for row in rows)
        return StreamPage(entries=entries, through=entries[-1].sequence if len(entries) == limit else through)

    async def bounds(self) -> StreamBounds:
        row = await self._database.read(
            lambda raw: raw.execute(
                """
                SELECT (SELECT min(sequence) FROM notifications) AS first,
                    (SELECT coalesce(max(sequence), 0) FROM notifications) AS last,
                    (SELECT through FROM pruning WHERE what = 'stream') AS removed
                """
            ).fetchone()
        )
        first = row["last"] + 1 if row["first"] is None else row["first"]
        # One that a delivery still needs may stand alone before what was removed.
        return StreamBounds(first=max(first, int(row["removed"] or 0) + 1), last=row["last"])


def _read(raw: Raw, wanted: StreamFilter, after: int, through: int, limit: int) -> list[Row]:
    where = ["n.sequence > ?", "n.sequence <= ?"]
    values: list[int | str] = [after, through]
    # Not by a column alone: what has no index for it is read as it should be, by a short walk along the stream.
    for column, chosen in (
        ("n.job_id", wanted.jobs),
        ("n.type || ''", wanted.types),
        ("j.provider || ''", wanted.providers),
        ("j.reference || ''", wanted.references),
        ("j.\"user\" || ''", wanted.users),
    ):
        if chosen:
            where.append(f"{column} IN ({', '.join('?' for _ in chosen)})")
            values += chosen
    statement = f"""
        SELECT n.sequence, n.job_id, n.type, n.body, j.provider, j.reference, j."user"
        FROM notifications n LEFT JOIN jobs j ON j.id = n.job_id
        WHERE {" AND ".join(where)} ORDER BY n.sequence LIMIT ?
    """  # noqa: S608 - our own names; the values are bound
    return raw.execute(statement, (*values, limit)).fetchall()


def _entry(row: Row) -> StreamEntry:
    return StreamEntry(
        sequence=row["sequence"],
        job_id=row["job_id"],
        type=row["type"],
        provider=row["provider"],
        reference=row["reference"],
        user=row["user"],
        body=whole_body(row["body"]),
    )
