"""What was done by hand, in SQL."""

from datetime import datetime

from replyhook.ids import new_id
from replyhook_receiver.stores.audit import KEPT_FOR, AuditRecord, Deed
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import from_ms, to_ms

_ADD = """
    INSERT INTO audit (id, at_ms, key_id, key_name, "user", action, thing, thing_id, job_id, outcome, detail)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LATEST = "SELECT * FROM audit ORDER BY id DESC LIMIT ?"
_OF_JOB = "SELECT * FROM audit WHERE job_id = ? ORDER BY id DESC LIMIT ?"
_OF_THING = "SELECT * FROM audit WHERE thing_id = ? ORDER BY id DESC LIMIT ?"


class SQLAudit:
    """The ``Audit`` protocol over the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, deed: Deed, *, now: datetime) -> AuditRecord:
        record = AuditRecord(id=new_id("aud", at=now.timestamp()), at=now, deed=deed)
        done = (deed.action, deed.thing, deed.thing_id, deed.job_id, deed.outcome, deed.detail)
        values = (record.id, to_ms(now), deed.key_id, deed.key_name, deed.user, *done)
        oldest = new_id("aud", at=(now - KEPT_FOR).timestamp())

        def work(raw: Raw) -> None:
            raw.execute("DELETE FROM audit WHERE id < ?", (oldest,))
            raw.execute(_ADD, values)

        await self._database.write(work)
        return record

    async def latest(self, *, limit: int) -> list[AuditRecord]:
        return await self._database.read(lambda raw: _records(raw, _LATEST, limit))

    async def of_job(self, job_id: str, *, limit: int = 100) -> list[AuditRecord]:
        return await self._database.read(lambda raw: _records(raw, _OF_JOB, job_id, limit))

    async def of_thing(self, thing_id: str, *, limit: int = 100) -> list[AuditRecord]:
        return await self._database.read(lambda raw: _records(raw, _OF_THING, thing_id, limit))


def _records(raw: Raw, statement: str, *values: str | int) -> list[AuditRecord]:
    return [_record_from(row) for row in raw.execute(statement, values).fetchall()]


def _record_from(row: Row) -> AuditRecord:
    at = from_ms(row["at_ms"])
    if at is None:
        raise AssertionError("a deed without its time")
    names = ("key_id", "key_name", "user", "action", "thing", "thing_id", "job_id", "outcome", "detail")
    return AuditRecord(id=row["id"], at=at, deed=Deed(**{name: row[name] for name in names}))
