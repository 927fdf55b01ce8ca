"""Rows as values and back: times, JSON, jobs with their videos."""

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from replyhook.jobs import Asset, AssetStatus, JobError, JobEvent, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import (
    AssetRecord,
    CallbackRecord,
    JobFilter,
    JobPresent,
    JobRecord,
    NotificationRecord,
    NotifyTarget,
    ReportSource,
    SubmissionOutcome,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

JOB_COLUMNS = """
    j.id, j.provider, j.account, j.reference, j.user, j.provider_job_id, j.status, j.progress, j.trust, j.error_code,
    j.error_message, j.request, j.registration, j.relay_video, j.submission, j.created_ms, j.submitted_ms,
    j.called_back_ms, j.finished_ms, j.overdue_ms, j.overdue_reason, a.status AS asset_status, a.url, a.expires_ms,
    a.name, a.bytes, a.sha256, a.content_type, a.duration_ms, a.width, a.height, a.stored_ms, a.problem
"""


def to_ms(when: datetime) -> int:
    """An aware time as milliseconds since 1970."""
    return (when - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int | None) -> datetime | None:
    """Milliseconds since 1970 as an aware time."""
    return None if milliseconds is None else _EPOCH + milliseconds * _MILLISECOND


def whole_ms(when: datetime) -> datetime:
    """A time as the store keeps it."""
    return when.replace(microsecond=when.microsecond // 1000 * 1000)


def to_json(value: Any) -> str:
    """JSON text."""
    return msgspec.json.encode(value, order="deterministic").decode()


def read_job(raw: sqlite3.Connection, where: str, *values: Any) -> JobRecord | None:
    """The job for which ``where`` holds, or None."""
    statement = f"SELECT {JOB_COLUMNS} FROM jobs j LEFT JOIN assets a ON a.job_id = j.id WHERE {where}"  # noqa: S608 - ours
    row = raw.execute(statement, values).fetchone()
    return job_from(row) if row else None


def read_jobs(raw: sqlite3.Connection, wanted: JobFilter, *, before: str | None, limit: int) -> list[JobRecord]:
    """Jobs that ``wanted`` is true of, newest first."""
    values = {name: getattr(wanted, name) for name in ("status", "provider", "reference", "user")}
    where = [f"j.{name} = :{name}" for name, value in values.items() if value is not None]
    where += ["j.id < :before"] if before is not None else []
    statement = f"""
        SELECT {JOB_COLUMNS} FROM jobs j LEFT JOIN assets a ON a.job_id = j.id
        WHERE {" AND ".join(where) or "TRUE"} ORDER BY j.id DESC LIMIT :limit
    """  # noqa: S608 - our own names; the values are bound
    rows = raw.execute(statement, {**values, "before": before, "limit": limit}).fetchall()
    return [job_from(row) for row in rows]


def read_present(raw: sqlite3.Connection, job_id: str) -> JobPresent | None:
    """A job with the place of its last notification: one statement, so both are of the same moment."""
    statement = f"""
        SELECT {JOB_COLUMNS}, (SELECT max(sequence) FROM notifications n WHERE n.job_id = j.id) AS through
        FROM jobs j LEFT JOIN assets a ON a.job_id = j.id WHERE j.id = ?
    """  # noqa: S608 - ours
    row = raw.execute(statement, (job_id,)).fetchone()
    return JobPresent(job=job_from(row), through=row["through"] or 0) if row else None


def job_from(row: sqlite3.Row) -> JobRecord:
    """A job from a row of ``JOB_COLUMNS``."""
    created_at = from_ms(row["created_ms"])
    assert created_at is not None  # noqa: S101 - the column is NOT NULL
    error = None
    if row["error_code"] is not None or row["error_message"] is not None:
        error = JobError(code=row["error_code"], message=row["error_message"] or "")
    return JobRecord(
        id=row["id"],
        provider=row["provider"],
        account=row["account"],
        registered=row["registration"] is not None,
        status=JobStatus(row["status"]),
        created_at=created_at,
        reference=row["reference"],
        user=row["user"],
        provider_job_id=row["provider_job_id"],
        progress=row["progress"],
        trust=Trust(row["trust"]) if row["trust"] else None,
        error=error,
        request=msgspec.json.decode(row["request"]),
        relay_video=row["relay_video"],
        submission=SubmissionOutcome(row["submission"]) if row["submission"] else None,
        submitted_at=from_ms(row["submitted_ms"]),
        called_back_at=from_ms(row["called_back_ms"]),
        finished_at=from_ms(row["finished_ms"]),
        overdue_at=from_ms(row["overdue_ms"]),
        overdue_reason=row["overdue_reason"],
        asset=_asset_from(row),
    )


def _asset_from(row: sqlite3.Row) -> AssetRecord:
    if row["asset_status"] is None:
        return AssetRecord()
    return AssetRecord(
        status=AssetStatus(row["asset_status"]),
        url=row["url"],
        expires_at=from_ms(row["expires_ms"]),
        name=row["name"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        content_type=row["content_type"],
        duration_seconds=None if row["duration_ms"] is None else row["duration_ms"] / 1000,
        width=row["width"],
        height=row["height"],
        stored_at=from_ms(row["stored_ms"]),
        problem=row["problem"],
    )


def callback_from(row: sqlite3.Row) -> CallbackRecord:
    """A callback from its whole row."""
    return CallbackRecord(
        id=row["id"],
        provider=row["provider"],
        job_id=row["job_id"],
        source=ReportSource(row["source"]),
        received_at=_EPOCH + row["received_ms"] * _MILLISECOND,
        trust=Trust(row["trust"]),
        verdict=Verdict(row["verdict"]) if row["verdict"] else None,
        headers=tuple((name, value) for name, value in msgspec.json.decode(row["headers"])),
        body=row["body"],
    )


def notification_from(row: sqlite3.Row) -> NotificationRecord:
    """A notification from its whole row."""
    return NotificationRecord(
        sequence=row["sequence"],
        id=row["id"],
        job_id=row["job_id"],
        type=NotificationType(row["type"]),
        body=row["body"],
    )


def target_from(row: sqlite3.Row) -> NotifyTarget:
    """A target from an endpoint's row."""
    kinds = tuple(NotificationType(kind) for kind in msgspec.json.decode(row["types"]))
    return NotifyTarget(url=row["url"], secret=row["secret"], types=kinds)


def event_from(row: sqlite3.Row) -> JobEvent:
    """What a kept event said, from its row."""
    error = None
    if row["error_code"] is not None or row["error_message"] is not None:
        error = JobError(code=row["error_code"], message=row["error_message"] or "")
    return JobEvent(
        provider_job_id=row["provider_job_id"],
        status=JobStatus(row["status"]) if row["status"] else None,
        progress=row["progress"],
        result=Asset(url=row["result_url"]) if row["result_url"] else None,
        error=error,
        word=row["word"],
    )
