"""What is kept for an endpoint that is disabled, and when it is given up."""

from datetime import datetime

from replyhook_receiver.endpoints import PAUSED_FOR
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.rows import to_ms

KEPT_TOO_LONG = "the endpoint was disabled for more than 7 days"


_KEPT_TOO_LONG = """
    SELECT DISTINCT d.endpoint_id FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id
    WHERE d.status = 'pending' AND d.created_ms < ? AND e.disabled_ms IS NOT NULL
"""


def sweep(raw: Raw, now: datetime) -> None:
    """Give up what has been kept for too long for endpoints that nobody enables."""
    oldest_ms = to_ms(now - PAUSED_FOR)
    for row in raw.execute(_KEPT_TOO_LONG, (oldest_ms,)).fetchall():
        give_up_kept(raw, row["endpoint_id"], before_ms=oldest_ms, why=KEPT_TOO_LONG, now=now)


def give_up_kept(raw: Raw, endpoint_id: str, *, before_ms: int | None, why: str, now: datetime) -> None:
    """Give up what is kept for an endpoint: all of it, or what is older."""
    where = "endpoint_id = :id AND status = 'pending'"
    where += "" if before_ms is None else " AND created_ms < :before_ms"
    values = {"id": endpoint_id, "before_ms": before_ms, "why": why, "now_ms": to_ms(now), "kind": TaskKind.NOTIFY}
    raw.execute(
        f"""
        UPDATE tasks SET state = 'dead', problem = :why, finished_ms = :now_ms, lease = NULL, lease_until_ms = NULL
        WHERE kind = :kind AND state <> 'done' AND subject IN (SELECT id FROM deliveries WHERE {where})
        """,  # noqa: S608 - a constant of ours
        values,
    )
    raw.execute(f"DELETE FROM held WHERE delivery_id IN (SELECT id FROM deliveries WHERE {where})", values)  # noqa: S608
    raw.execute(f"UPDATE deliveries SET status = 'dead', problem = :why WHERE {where}", values)  # noqa: S608
