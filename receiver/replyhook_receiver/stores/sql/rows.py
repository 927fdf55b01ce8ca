"""Rows as values and back: times, JSON, jobs with their videos."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from replyhook.jobs import Asset, AssetStatus, JobError, JobEvent, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.endpoints import GONE, SigningSecret
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import (
    AssetRecord,
    CallbackRecord,
    JobPresent,
    JobRecord,
    NotificationRecord,
    NotifyTarget,
    ReportSource,
    SubmissionOutcome,
)
from replyhook_receiver.stores.sql.bodies import body_of
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.told import whole_body

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_NO_ASSET = AssetRecord()
# A look-up costs a fraction of what making an enum from its word does.
_STATUSES = {status.value: status for status in JobStatus}
_TRUSTS = {trust.value: trust for trust in Trust}
_OUTCOMES = {outcome.value: outcome for outcome in SubmissionOutcome}

PLAIN_COLUMNS = """
    j.id, j.provider, j.account, j.reference, j."user", j.provider_job_id, j.status, j.progress, j.trust, j.error_code,
    j.error_message, j.request, j.registration IS NOT NULL AS registered, j.relay_video, j.submission, j.created_ms,
    j.submitted_ms, j.called_back_ms, j.finished_ms, j.overdue_ms, j.overdue_reason
"""
JOB_COLUMNS = f"""{PLAIN_COLUMNS}, a.status AS asset_status, a.url, a.expires_ms,
    a.name, a.bytes, a.sha256, a.content_type, a.duration_ms, a.width, a.height, a.stored_ms, a.problem
"""

# A job's events lie side by side, since their keys begin with its id: ``fact_key``.
EVENTS_OF_JOB = "e.key > ?1 || ':' AND e.key < ?1 || ';'"


def as_list(texts: Iterable[str]) -> str:
    """Texts as one value, for ``IN (SELECT value FROM json_each(?))``."""
    return msgspec.json.encode(list(texts)).decode()


def to_ms(when: datetime) -> int:
    """An aware time as milliseconds since 1970."""
    return (when - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int | None) -> datetime | None:
    """Milliseconds since 1970 as an aware time."""
    return None if milliseconds is None else _EPOCH + milliseconds * _MILLISECOND


def whole_ms(when: datetime) -> datetime:
    """A time as the store keeps it."""
    return when - timedelta(microseconds=when.microsecond % 1000)


def to_json(value: Any) -> str:
    """JSON text."""
    return msgspec.json.encode(value, order="deterministic").decode()


def read_job(raw: Raw, where: str, *values: Any) -> JobRecord | None:
    """The job for which ``where`` holds, or None."""
    statement = f"SELECT {JOB_COLUMNS} FROM jobs j LEFT JOIN assets a ON a.job_id = j.id WHERE {where}"  # noqa: S608 - ours
    row = raw.execute(statement, values).fetchone()
    return job_from(row) if row else None


def read_present(raw: Raw, job_id: str) -> JobPresent | None:
    """A job with the place of its last notification: one statement, so both are of the same moment."""
    statement = f"""
        SELECT {JOB_COLUMNS}, (SELECT max(sequence) FROM notifications n WHERE n.job_id = j.id) AS through
        FROM jobs j LEFT JOIN assets a ON a.job_id = j.id WHERE j.id = ?
    """  # noqa: S608 - ours
    row = raw.execute(statement, (job_id,)).fetchone()
    if row is None:
        return None
    *job, through = row
    return JobPresent(job=job_from(job), through=through or 0)


def job_from(row: Sequence[Any], *, has_video: bool = True) -> JobRecord:
    """A job from a row of ``JOB_COLUMNS``, or of ``PLAIN_COLUMNS`` and others where it is known to have no video."""
    # By place, since this is read for every callback, and SQLite's rows look for a name among all of theirs.
    (
        job_id, provider, account, reference, user, provider_job_id, status, progress, trust, error_code,
        error_message, request, registered, relay_video, submission, created_ms, submitted_ms,
        called_back_ms, finished_ms, overdue_ms, overdue_reason, *asset
    ) = row  # fmt: skip
    has_error = error_code is not None or error_message is not None
    return JobRecord(
        id=job_id,
        provider=provider,
        account=account,
        registered=bool(registered),
        status=_STATUSES[status],
        created_at=_EPOCH + created_ms * _MILLISECOND,
        reference=reference,
        user=user,
        provider_job_id=provider_job_id,
        progress=progress,
        trust=_TRUSTS[trust] if trust else None,
        error=JobError(code=error_code, message=error_message or "") if has_error else None,
        request=msgspec.json.decode(request),
        relay_video=relay_video,
        submission=_OUTCOMES[submission] if submission else None,
        submitted_at=None if submitted_ms is None else from_ms(submitted_ms),
        called_back_at=None if called_back_ms is None else from_ms(called_back_ms),
        finished_at=None if finished_ms is None else from_ms(finished_ms),
        overdue_at=None if overdue_ms is None else from_ms(overdue_ms),
        overdue_reason=overdue_reason,
        asset=_asset_from(asset) if has_video and asset[0] is not None else _NO_ASSET,
    )


def _asset_from(columns: Sequence[Any]) -> AssetRecord:
    status, url, expires_ms, name, size, sha256, content_type, duration_ms, width, height, stored_ms, problem = columns
    return AssetRecord(
        status=AssetStatus(status),
        url=url,
        expires_at=from_ms(expires_ms),
        name=name,
        bytes=size,
        sha256=sha256,
        content_type=content_type,
        duration_seconds=None if duration_ms is None else duration_ms / 1000,
        width=width,
        height=height,
        stored_at=from_ms(stored_ms),
        problem=problem,
    )


def callback_from(row: Row) -> CallbackRecord:
    """A callback from its whole row."""
    body = body_of(row["body"], row["raw_bytes"])
    return CallbackRecord(
        id=row["id"],
        provider=row["provider"],
        job_id=row["job_id"],
        source=ReportSource(row["source"]),
        received_at=_EPOCH + row["received_ms"] * _MILLISECOND,
        trust=Trust(row["trust"]),
        verdict=Verdict(row["verdict"]) if row["verdict"] else None,
        headers=tuple((name, value) for name, value in msgspec.json.decode(row["headers"])),
        body=body if body is not None else b"",
        dropped_bytes=row["raw_bytes"] if body is None else None,
    )


def notification_from(row: Row) -> NotificationRecord:
    """A notification from its whole row."""
    return NotificationRecord(
        sequence=row["sequence"],
        id=row["id"],
        job_id=row["job_id"],
        type=NotificationType(row["type"]),
        body=whole_body(row["body"]),
    )


def target_from(row: Row) -> NotifyTarget:
    """A target from an endpoint's row."""
    return NotifyTarget(
        url=row["url"],
        secret=row["secret"],
        types=types_from(row["types"]),
        channel=row["channel"],
        headers=msgspec.json.decode(row["headers"]) if row["headers"] else {},
        secrets=secrets_from(row) if row["secrets"] else (),
        disabled_at=from_ms(row["disabled_ms"]),
        is_gone=row["disabled_why"] == GONE,
    )


@lru_cache(maxsize=256)
def types_from(text: str) -> tuple[NotificationType, ...]:
    """The types an endpoint named, from their JSON."""
    return tuple(NotificationType(kind) for kind in msgspec.json.decode(text))


def secrets_from(row: Row) -> tuple[SigningSecret, ...]:
    """An endpoint's own secrets, newest first."""
    if row["secrets"]:
        kept = msgspec.json.decode(row["secrets"])
        return tuple(SigningSecret(value=each["value"], expires_at=from_ms(each["expires_ms"])) for each in kept)
    return (SigningSecret(value=row["secret"]),) if row["secret"] else ()


def event_from(row: Row) -> JobEvent:
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
