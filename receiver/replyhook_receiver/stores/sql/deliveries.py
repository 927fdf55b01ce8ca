"""The outbox in the database: looking at deliveries and their tries, and putting them back."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from replyhook_receiver.endpoints import GONE
from replyhook_receiver.errors import DeliverySuperseded, EndpointConflict, UnknownDelivery
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import DeliveryRecord, DeliveryStatus
from replyhook_receiver.stores.deliveries import AttemptRecord, DeliveryFilter, DeliverySummary, WaitsFor
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.owners import OWN_JOBS
from replyhook_receiver.stores.sql.places import note_success
from replyhook_receiver.stores.sql.rows import from_ms, notification_from, target_from, to_ms
from replyhook_receiver.stores.sql.tasks import add_task
from replyhook_receiver.stores.sql.turns import Turn, later_end, read_turn

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_PUT_BACK_AT_A_TIME = 200  # so that nobody's callback waits for long
_NOTIFY = TaskKind.NOTIFY.value

_DELIVERY = """
    SELECT n.*, e.channel, e.url, e.secret, e.types, e.headers, e.secrets, e.disabled_ms, e.disabled_why,
        d.status AS delivery_status, CASE WHEN e.job_id IS NULL THEN e.id END AS standing_endpoint
    FROM deliveries d
    JOIN notifications n ON n.sequence = d.notification
    JOIN endpoints e ON e.id = d.endpoint_id
    WHERE d.id = ?
"""
_SUMMARIES = f"""
    SELECT d.*, n.id AS notification_id, n.type, n.job_id, e.channel, e.url, t.state, t.due_ms, h.reason, e.disabled_ms,
        e.removed_ms, e.name AS endpoint_name, t.attempts AS counted,
        (SELECT count(*) FROM attempts a WHERE a.delivery_id = d.id) AS attempts
    FROM deliveries d
    JOIN notifications n ON n.sequence = d.notification
    JOIN endpoints e ON e.id = d.endpoint_id
    LEFT JOIN tasks t ON t.kind = '{_NOTIFY}' AND t.subject = d.id
    LEFT JOIN held h ON h.delivery_id = d.id
"""  # noqa: S608 - a constant of ours
_CONDITIONS = {
    "endpoint": "d.endpoint_id = :endpoint",
    "job": "d.notification IN (SELECT sequence FROM notifications WHERE job_id = :job)",
    "type": "n.type = :type",
    "since": "d.created_ms >= :since",
    "until": "d.created_ms < :until",
    "error": "instr(lower(d.problem), lower(:error)) > 0",
    "reference": "n.job_id IN (SELECT id FROM jobs WHERE reference = :reference)",
    "of_user": 'n.job_id IN (SELECT id FROM jobs WHERE "user" = :of_user)',
    "user": f"""n.job_id IN {OWN_JOBS}
        AND EXISTS (SELECT 1 FROM endpoints p
            WHERE p.id = d.endpoint_id AND (p.job_id IS NOT NULL OR p."user" = :user))""",  # noqa: S608 - a constant of ours
}
_LEADS_NOWHERE = f"(e.removed_ms IS NOT NULL OR e.job_id IS NOT NULL AND coalesce(e.disabled_why = '{GONE}', FALSE))"
_TASK_AGAIN = """
    UPDATE tasks SET state = 'ready', attempts = 0, due_ms = ?, problem = NULL, finished_ms = NULL, again = 0
    WHERE kind = ? AND subject = ?
"""


class SQLDeliveries:
    """The Deliveries protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, delivery_id: str) -> DeliveryRecord | None:
        row = await self._database.read(lambda raw: raw.execute(_DELIVERY, (delivery_id,)).fetchone())
        if row is None:
            return None
        return DeliveryRecord(
            id=delivery_id,
            notification=notification_from(row),
            channel=row["channel"],
            target=target_from(row),
            status=DeliveryStatus(row["delivery_status"]),
            standing_endpoint=row["standing_endpoint"],
        )

    async def summary(self, delivery_id: str) -> DeliverySummary | None:
        statement = f"{_SUMMARIES} WHERE d.id = ?"
        row = await self._database.read(lambda raw: raw.execute(statement, (delivery_id,)).fetchone())
        return None if row is None else _summary_from(row)

    async def page(
        self, wanted: DeliveryFilter, *, before: str | None = None, down_to: str | None = None, limit: int = 100
    ) -> list[DeliverySummary]:
        where, values = _where(wanted)
        where += ["d.id < :before"] if before is not None else []
        where += ["d.id >= :down_to"] if down_to is not None else []
        statement = f"{_SUMMARIES} WHERE {' AND '.join(where) or 'TRUE'} ORDER BY d.id DESC LIMIT :limit"
        values |= {"before": before, "down_to": down_to, "limit": limit}
        rows = await self._database.read(lambda raw: raw.execute(statement, values).fetchall())
        return [_summary_from(row) for row in rows]

    async def attempts(self, delivery_id: str) -> list[AttemptRecord]:
        statement = f"""
            SELECT a.*, coalesce(t.state = 'leased', FALSE) AND a.ended_ms IS NULL
                AND a.number = max(a.number) OVER () AS is_under_way
            FROM attempts a LEFT JOIN tasks t ON t.kind = '{_NOTIFY}' AND t.subject = a.delivery_id
            WHERE a.delivery_id = ? ORDER BY a.number
        """  # noqa: S608 - a constant of ours
        rows = await self._database.read(lambda raw: raw.execute(statement, (delivery_id,)).fetchall())
        return [_attempt_from(row) for row in rows]

    async def retry(self, delivery_id: str, *, now: datetime) -> None:
        await self._database.write(lambda raw: _put_back(raw, delivery_id, now))

    async def matching(self, wanted: DeliveryFilter) -> Sequence[str]:
        return await self._matching(wanted, f"NOT {_LEADS_NOWHERE}")

    async def leading_nowhere(self, wanted: DeliveryFilter) -> Sequence[str]:
        return await self._matching(wanted, _LEADS_NOWHERE)

    async def _matching(self, wanted: DeliveryFilter, also: str) -> Sequence[str]:
        where, values = _where(wanted)
        where += [] if wanted.status else [f"d.status = '{DeliveryStatus.DEAD.value}'"]
        where += [f"d.status <> '{DeliveryStatus.SUPERSEDED.value}'", also]
        statement = f"""
            SELECT d.id FROM deliveries d JOIN notifications n ON n.sequence = d.notification
            JOIN endpoints e ON e.id = d.endpoint_id WHERE {" AND ".join(where)} ORDER BY d.id
        """  # noqa: S608 - constants of ours; the values are bound
        rows = await self._database.read(lambda raw: raw.execute(statement, values).fetchall())
        return [row["id"] for row in rows]

    async def retry_all(self, delivery_ids: Sequence[str], *, now: datetime) -> int:
        put_back = 0
        for start in range(0, len(delivery_ids), _PUT_BACK_AT_A_TIME):
            some = delivery_ids[start : start + _PUT_BACK_AT_A_TIME]
            put_back += await self._database.write(lambda raw, some=some: _put_all_back(raw, some, now))  # type: ignore[misc] # a default argument
        return put_back


def _put_all_back(raw: Raw, delivery_ids: Sequence[str], now: datetime) -> int:
    put_back = 0
    for delivery_id in delivery_ids:
        try:
            _put_back(raw, delivery_id, now)
        except (DeliverySuperseded, EndpointConflict):  # meanwhile
            continue
        put_back += 1
    return put_back


def _put_back(raw: Raw, delivery_id: str, now: datetime) -> None:
    turn = read_turn(raw, delivery_id)
    if turn is None:
        raise UnknownDelivery(f"there is no delivery {delivery_id[:64]}")
    _check_leads_somewhere(turn)
    later = later_end(raw, turn, now)
    if later is not None:
        raise DeliverySuperseded(f"{turn.id} has become pointless: {later} says more of the same job")
    note_success(raw, turn.place)  # whoever asks for it wants it tried now
    running = "UPDATE tasks SET again = 1 WHERE kind = ? AND subject = ? AND state = 'leased'"
    if raw.execute(running, (_NOTIFY, turn.id)).rowcount:
        return
    raw.execute("UPDATE deliveries SET status = 'pending', delivered_ms = NULL WHERE id = ?", (turn.id,))
    add_task(raw, TaskKind.NOTIFY, turn.id, now=now)
    raw.execute(_TASK_AGAIN, (to_ms(now), _NOTIFY, turn.id))


def _check_leads_somewhere(turn: Turn) -> None:
    if turn.is_removed:
        raise EndpointConflict(f"{turn.id} cannot be put back: its endpoint {turn.endpoint_id} was removed")
    if not turn.is_standing and turn.disabled_why == GONE:
        raise EndpointConflict(f"{turn.id} cannot be put back: {GONE}; enable its endpoint {turn.endpoint_id} first")


def _where(wanted: DeliveryFilter) -> tuple[list[str], dict[str, Any]]:
    given = {name: getattr(wanted, name) for name in _CONDITIONS}
    values = {
        name: to_ms(value) if isinstance(value, datetime) else str(value)
        for name, value in given.items()
        if value is not None
    }
    # Not bound: only so is the index on the dead ones used.
    status = [f"d.status = '{wanted.status.value}'"] if wanted.status else []
    return status + [_CONDITIONS[name] for name in values], values


def _summary_from(row: Row) -> DeliverySummary:
    waits_for = _waits_for(row) if row["status"] == DeliveryStatus.PENDING else None
    return DeliverySummary(
        id=row["id"],
        notification_id=row["notification_id"],
        type=row["type"],
        job_id=row["job_id"],
        endpoint_id=row["endpoint_id"],
        endpoint_name=row["endpoint_name"],
        channel=row["channel"],
        url=row["url"],
        is_endpoint_removed=row["removed_ms"] is not None,
        status=DeliveryStatus(row["status"]),
        waits_for=waits_for,
        created_at=_EPOCH + row["created_ms"] * _MILLISECOND,
        delivered_at=from_ms(row["delivered_ms"]),
        next_attempt_at=from_ms(row["due_ms"]) if waits_for is WaitsFor.TIME else None,
        attempts=row["attempts"],
        counted=row["attempts"] if row["counted"] is None else row["counted"],
        answer=row["answer"],
        problem=row["problem"],
        superseded_by=row["superseded_by"],
    )


def _waits_for(row: Row) -> WaitsFor:
    if row["state"] == "leased":
        return WaitsFor.ANSWER
    if row["disabled_ms"] is not None:
        return WaitsFor.ENABLING
    return WaitsFor(row["reason"]) if row["reason"] else WaitsFor.TIME


def _attempt_from(row: Row) -> AttemptRecord:
    return AttemptRecord(
        number=row["number"],
        begun_at=_EPOCH + row["begun_ms"] * _MILLISECOND,
        is_under_way=bool(row["is_under_way"]),
        has_ended=row["ended_ms"] is not None,
        took_ms=row["took_ms"],
        status=row["status"],
        answer=row["answer"],
        problem=row["problem"],
    )
