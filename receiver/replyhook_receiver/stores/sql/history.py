"""Reading what was told, from the database: lists by their newest, one callback whole, one job's whole story."""

from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec

from replyhook.jobs import JobEvent, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import ReportSource
from replyhook_receiver.stores.history import (
    EVERY_CALLBACK,
    EVERY_EVENT,
    Announced,
    CallbackFilter,
    DeliveryStory,
    EventFilter,
    EventRecord,
    Found,
    JobStory,
    KeptCallback,
    ToldCallback,
    WorkRecord,
)
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.finding import found
from replyhook_receiver.stores.sql.owners import OWN_JOBS
from replyhook_receiver.stores.sql.rows import callback_from, event_from, from_ms, read_job, to_ms
from replyhook_receiver.told import whole_body

_EVENT_COLUMNS = (
    "e.id AS event_id, e.provider_job_id, e.status, e.word, e.progress, e.result_url, e.error_code, e.error_message, "
    "e.link_dead"
)
_CALLBACKS = f"""
    SELECT c.id, c.provider, c.account, c.job_id, c.source, c.received_ms, c.trust, c.verdict,
        coalesce(c.raw_bytes, length(c.body)) AS bytes,
        {_EVENT_COLUMNS}
    FROM callbacks c LEFT JOIN events e ON e.key = c.event_key
"""  # noqa: S608 - ours
# An event is as old as the callback that brought it, so the list of callbacks, newest first, is the list of events
# too, and no index of their own has to be kept on the hot path.
_EVENTS = f"""
    SELECT c.job_id, c.provider, c.account, c.id AS callback_id, e.source, e.verdict, e.created_ms, {_EVENT_COLUMNS}
    FROM callbacks c JOIN events e ON e.key = c.event_key AND e.callback_id = c.id
"""  # noqa: S608
_ANNOUNCED = "SELECT id, type, created_ms, body FROM notifications WHERE job_id = ? ORDER BY sequence DESC LIMIT ?"
_WORK = "SELECT * FROM tasks WHERE subject = ? ORDER BY created_ms, kind"
_DELIVERIES = """
    SELECT d.id, d.status, d.answer, d.problem, d.created_ms, d.delivered_ms, d.endpoint_id, n.id AS notification_id,
        n.type, e.channel, e.url, e.removed_ms, e.name AS endpoint_name, t.attempts AS counted,
        (SELECT count(*) FROM attempts a WHERE a.delivery_id = d.id) AS attempts
    FROM notifications n
    JOIN deliveries d ON d.notification = n.sequence
    JOIN endpoints e ON e.id = d.endpoint_id
    LEFT JOIN tasks t ON t.kind = 'notify' AND t.subject = d.id
    WHERE n.job_id = :job_id AND (CAST(:user AS TEXT) IS NULL OR e.job_id IS NOT NULL OR e."user" = :user)
    ORDER BY n.sequence DESC, d.id DESC LIMIT :limit
"""
MOST_OF_A_KIND = 1_000
"""So many of a job's callbacks, notifications and deliveries a story holds at most: a stranger may send many."""


class SQLHistory:
    """The History protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def callbacks(
        self,
        wanted: CallbackFilter = EVERY_CALLBACK,
        *,
        before: str | None = None,
        down_to: str | None = None,
        limit: int = 100,
    ) -> list[ToldCallback]:
        where, values = _conditions(wanted, down_to)
        rows = await self._database.read(lambda raw: _newest(raw, _CALLBACKS, where, values, before, limit))
        return [_told_callback(row) for row in rows]

    async def callback(self, callback_id: str) -> KeptCallback | None:
        return await self._database.read(lambda raw: read_kept(raw, callback_id))

    async def events(
        self,
        wanted: EventFilter = EVERY_EVENT,
        *,
        before: str | None = None,
        down_to: str | None = None,
        limit: int = 100,
    ) -> list[EventRecord]:
        where, values = _conditions(wanted, down_to)
        came_with = None if before is None else f"cb{before.removeprefix('evt')}"
        rows = await self._database.read(lambda raw: _newest(raw, _EVENTS, where, values, came_with, limit))
        return [_event_record(row) for row in rows]

    async def story(self, job_id: str, *, user: str | None = None) -> JobStory | None:
        return await self._database.read(lambda raw: _story(raw, job_id, user))

    async def find(self, name: str, *, user: str | None = None, limit: int = 20) -> list[Found]:
        return await self._database.read(lambda raw: found(raw, name, user=user, limit=limit))


def read_kept(raw: Raw, callback_id: str) -> KeptCallback | None:
    """A callback as it came, or None."""
    statement = f"""
        SELECT c.*, {_EVENT_COLUMNS} FROM callbacks c LEFT JOIN events e ON e.key = c.event_key WHERE c.id = ?
    """  # noqa: S608
    row = raw.execute(statement, (callback_id,)).fetchone()
    if row is None:
        return None
    return KeptCallback(callback=callback_from(row), account=row["account"], told=_told(row))


_COLUMNS = {
    "provider": "c.provider = :provider",
    "job_id": "c.job_id = :job_id",
    "source": "c.source = :source",
    "trust": "c.trust = :trust",
    "verdict": "c.verdict = :verdict",
    "status": "e.status = :status",
    "since": "c.received_ms >= :since",
    "until": "c.received_ms < :until",
    "reference": "c.job_id IN (SELECT id FROM jobs WHERE reference = :reference)",
    "user": f"c.job_id IN {OWN_JOBS}",
}


def _conditions(wanted: CallbackFilter | EventFilter, down_to: str | None) -> tuple[list[str], dict[str, Any]]:
    given = {each.name: getattr(wanted, each.name) for each in fields(wanted)}
    orphan = given.pop("orphan", None)
    values = {name: _plain(value) for name, value in given.items() if value is not None}
    where = [_COLUMNS[name] for name in values]
    if values.get("verdict") == Verdict.UNRECOGNISED:  # as a constant, by which SQLite knows that it has an index
        where.append("c.verdict = 'unrecognised'")
    if orphan is not None:
        where.append("c.job_id IS NULL" if orphan else "c.job_id IS NOT NULL")
    if down_to is not None:
        where.append("c.rowid >= (SELECT rowid FROM callbacks WHERE id = :down_to)")
        values["down_to"] = down_to
    return where, values


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return to_ms(value)
    return value.value if isinstance(value, Enum) else value


def _newest(
    raw: Raw, select: str, where: list[str], values: dict[str, Any], before: str | None, limit: int
) -> list[Row]:
    cursor = [] if before is None else ["c.rowid < (SELECT rowid FROM callbacks WHERE id = :before)"]
    statement = f"{select} WHERE {' AND '.join([*where, *cursor]) or 'TRUE'} ORDER BY c.rowid DESC LIMIT :limit"
    return raw.execute(statement, {**values, "before": before, "limit": limit}).fetchall()


def _told(row: Row) -> JobEvent | None:
    return None if row["event_id"] is None else event_from(row)


def _told_callback(row: Row) -> ToldCallback:
    return ToldCallback(
        id=row["id"],
        provider=row["provider"],
        account=row["account"],
        job_id=row["job_id"],
        source=ReportSource(row["source"]),
        received_at=_time(row["received_ms"]),
        trust=Trust(row["trust"]),
        verdict=Verdict(row["verdict"]) if row["verdict"] else None,
        bytes=row["bytes"],
        told=_told(row),
    )


def _event_record(row: Row) -> EventRecord:
    return EventRecord(
        id=row["event_id"],
        provider=row["provider"],
        account=row["account"],
        job_id=row["job_id"],
        callback_id=row["callback_id"],
        source=ReportSource(row["source"]),
        verdict=Verdict(row["verdict"]) if row["verdict"] else None,
        created_at=_time(row["created_ms"]),
        told=event_from(row),
        link_dead=bool(row["link_dead"]),
    )


def _story(raw: Raw, job_id: str, user: str | None) -> JobStory | None:
    raw.execute("BEGIN")  # all of the same moment
    try:
        job = read_job(raw, "j.id = ?", job_id)
        if job is None:
            return None
        begun = raw.execute("SELECT submitting_ms FROM jobs WHERE id = ?", (job_id,)).fetchone()["submitting_ms"]
        callbacks = _newest(raw, _CALLBACKS, ["c.job_id = :job_id"], {"job_id": job_id}, None, MOST_OF_A_KIND + 1)
        announced = raw.execute(_ANNOUNCED, (job_id, MOST_OF_A_KIND + 1)).fetchall()
        whose = {"job_id": job_id, "user": user, "limit": MOST_OF_A_KIND + 1}
        deliveries = raw.execute(_DELIVERIES, whose).fetchall()
        return JobStory(
            job=job,
            submitting_at=from_ms(begun),
            callbacks=[_told_callback(row) for row in _oldest_first(callbacks)],
            announced=[_announced(row) for row in _oldest_first(announced)],
            work=[_work(row) for row in raw.execute(_WORK, (job_id,))],
            deliveries=[_delivery(row) for row in _oldest_first(deliveries)],
            is_whole=max(len(callbacks), len(announced), len(deliveries)) <= MOST_OF_A_KIND,
        )
    finally:
        raw.execute("COMMIT")


def _oldest_first(rows: list[Row]) -> list[Row]:
    return rows[:MOST_OF_A_KIND][::-1]


def _announced(row: Row) -> Announced:
    said = msgspec.json.decode(whole_body(row["body"])).get("data", {})
    return Announced(
        id=row["id"],
        type=NotificationType(row["type"]),
        at=_time(row["created_ms"]),
        status=JobStatus(said["status"]) if said.get("status") else None,
        progress=said.get("progress"),
    )


def _work(row: Row) -> WorkRecord:
    return WorkRecord(
        kind=TaskKind(row["kind"]),
        state=row["state"],
        attempts=row["attempts"],
        created_at=_time(row["created_ms"]),
        due_at=_time(row["due_ms"]),
        finished_at=from_ms(row["finished_ms"]),
        problem=row["problem"],
    )


def _delivery(row: Row) -> DeliveryStory:
    return DeliveryStory(
        id=row["id"],
        notification_id=row["notification_id"],
        type=NotificationType(row["type"]),
        endpoint_id=row["endpoint_id"],
        endpoint_name=row["endpoint_name"],
        channel=row["channel"],
        url=row["url"],
        is_endpoint_removed=row["removed_ms"] is not None,
        status=row["status"],
        attempts=row["attempts"],
        counted=row["attempts"] if row["counted"] is None else row["counted"],
        answer=row["answer"],
        problem=row["problem"],
        created_at=_time(row["created_ms"]),
        delivered_at=from_ms(row["delivered_ms"]),
    )


def _time(milliseconds: int) -> datetime:
    when = from_ms(milliseconds)
    if when is None:
        raise AssertionError("a column that is NOT NULL")
    return when
