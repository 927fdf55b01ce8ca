"""Taking a job out of the database, a bounded number of rows at a time, until nothing of it is left."""

from datetime import UTC, datetime, timedelta

import msgspec

from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.rows import EVENTS_OF_JOB, to_ms

ROWS_AT_A_TIME = 50

_EVENTS = f"DELETE FROM events WHERE key IN (SELECT key FROM events e WHERE {EVENTS_OF_JOB} LIMIT ?2)"  # noqa: S608 - ours
_CALLBACKS = "DELETE FROM callbacks WHERE id IN (SELECT id FROM callbacks WHERE job_id = ?1 LIMIT ?2)"
_NEXT_NOTIFICATIONS = "SELECT sequence FROM notifications WHERE job_id = ? ORDER BY sequence LIMIT ?"
_NEWEST = "SELECT max(sequence) AS newest FROM notifications"
_KINDS = [kind.value for kind in TaskKind if kind is not TaskKind.NOTIFY]
_OF_A_JOB = ("deadlines", "last_calls", "relay_queue", "relay_refusals", "assets", "endpoints", "audit", "traces")


def remove_told(raw: Raw, job_id: str) -> int:
    """Remove some of what was told of a job: its callbacks and events; 0 when nothing is left."""
    kept = "DELETE FROM kept_bodies WHERE callback_id IN (SELECT id FROM callbacks WHERE job_id = ?1 LIMIT ?2)"
    raw.execute(kept, (job_id, ROWS_AT_A_TIME))
    removed = raw.execute(_CALLBACKS, (job_id, ROWS_AT_A_TIME)).rowcount
    if removed == 0:
        removed = raw.execute(_EVENTS, (job_id, ROWS_AT_A_TIME)).rowcount
    return removed


def remove_notification(raw: Raw, sequence: int) -> bool:
    """Remove a notification with its deliveries; the newest, which the stream goes on from, is only emptied."""
    for row in raw.execute("SELECT id FROM deliveries WHERE notification = ?", (sequence,)).fetchall():
        for statement in (
            "DELETE FROM attempts WHERE delivery_id = ?",
            "DELETE FROM held WHERE delivery_id = ?",
            "DELETE FROM tasks WHERE kind = 'notify' AND subject = ?",
            "DELETE FROM deliveries WHERE id = ?",
        ):
            raw.execute(statement, (row["id"],))
    if sequence == raw.execute(_NEWEST).fetchone()["newest"]:
        _blank(raw, sequence)
        return False
    raw.execute("DELETE FROM notifications WHERE sequence = ?", (sequence,))
    return True


def _blank(raw: Raw, sequence: int) -> None:
    row = raw.execute("SELECT type, job_id FROM notifications WHERE sequence = ?", (sequence,)).fetchone()
    if row is not None:
        body = msgspec.json.encode({"type": row["type"], "data": {"id": row["job_id"]}})
        raw.execute("UPDATE notifications SET body = ? WHERE sequence = ?", (body, sequence))


def remove_some(raw: Raw, job_id: str, *, now: datetime) -> bool:
    """Remove a part of a job; True when the last of it is gone. Its video is noted as unwanted with its row."""
    if remove_told(raw, job_id):
        return False
    sequences = raw.execute(_NEXT_NOTIFICATIONS, (job_id, ROWS_AT_A_TIME)).fetchall()
    removed = [remove_notification(raw, row["sequence"]) for row in sequences]
    if any(removed):
        return False
    _remove_job(raw, job_id, now)
    return True


def _remove_job(raw: Raw, job_id: str, now: datetime) -> None:
    leased = "SELECT 1 FROM tasks WHERE kind IN ('download', 'relay') AND subject = ? AND state = 'leased'"
    is_under_way = raw.execute(leased, (job_id,)).fetchone() is not None
    for name in _video_names(raw, job_id, is_under_way):
        note_unwanted(raw, name, now)
        if is_under_way:  # whoever is at it may yet bring it: it is removed once more when that is over
            note_unwanted(raw, name, now + timedelta(hours=1))
    raw.executemany("DELETE FROM tasks WHERE kind = ? AND subject = ?", [(kind, job_id) for kind in _KINDS])
    for table in _OF_A_JOB:
        raw.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))  # noqa: S608 - ours
    raw.execute("DELETE FROM jobs WHERE id = ?", (job_id,))


def note_unwanted(raw: Raw, name: str, due_at: datetime) -> None:
    """A video is to be removed from storage."""
    statement = "INSERT INTO unwanted_videos (name, due_ms) VALUES (?, ?) ON CONFLICT DO NOTHING"
    raw.execute(statement, (name, to_ms(due_at)))


def _video_names(raw: Raw, job_id: str, is_under_way: bool) -> list[str]:
    """What a job's video is called, or will be when it has come (``storage.base.video_name``)."""
    row = raw.execute("SELECT name FROM assets WHERE job_id = ?", (job_id,)).fetchone()
    if row is not None and row["name"] is not None:
        return [row["name"]]
    if not is_under_way:
        return []
    job = raw.execute("SELECT created_ms, finished_ms FROM jobs WHERE id = ?", (job_id,)).fetchone()
    days = {datetime.fromtimestamp(at / 1000, UTC) for at in job if at is not None}
    return sorted({f"{day:%Y/%m/%d}/{job_id}.mp4" for day in days})
