"""The heart: a report, its event, the job's change, the notifications and the tasks, written in one transaction."""

import hashlib
import sqlite3
from dataclasses import replace
from datetime import datetime

from replyhook.errors import VerificationError
from replyhook.ids import new_id
from replyhook.jobs import Asset, AssetStatus, JobEvent, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import (
    Decision,
    TaskKind,
    Verdict,
    decide,
    fact_key,
    is_of_another_job,
    the_clearer,
    the_higher,
)
from replyhook_receiver.records import Accepted, JobRecord, NotifyTarget, Report, SubmissionOutcome
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sqlite.rows import event_from, from_ms, read_job, target_from, to_json, to_ms
from replyhook_receiver.stores.sqlite.tasks import add_task


def accept(raw: sqlite3.Connection, report: Report, describe: Describe) -> Accepted:
    """Keep ``report`` with everything it leads to."""
    if report.nonce is not None and not _is_first_use(raw, report, report.nonce):
        return Accepted(callback_id=report.callback_id, job_id=None, verdict=Verdict.DUPLICATE)
    job = _job_of(raw, report)
    verdict: Verdict | None = Verdict.UNRECOGNISED
    key = None
    if report.event is not None:
        verdict, key = _apply(raw, report, report.event, job, describe)
    _keep_callback(raw, report, job.id if job else None, verdict, key)
    learned = _learn_sender(raw, report, job, verdict)
    return Accepted(
        callback_id=report.callback_id, job_id=job.id if job else None, verdict=verdict, learned_sender=learned
    )


def _is_first_use(raw: sqlite3.Connection, report: Report, nonce: str) -> bool:
    """A signature that was used before changes nothing again; its first use was kept with all that follows from it."""
    used = f"{nonce} {hashlib.sha256(report.body).hexdigest()}"  # another body is judged by what it says
    values = (report.provider, report.account, used, to_ms(report.received_at))
    statement = "INSERT INTO nonces (provider, account, nonce, seen_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
    return raw.execute(statement, values).rowcount == 1


def _job_of(raw: sqlite3.Connection, report: Report) -> JobRecord | None:
    """The job a report is about: the token's, made now if nobody registered it; else the one with the provider's id."""
    if report.job_id is None:
        if report.event is None or report.event.provider_job_id is None:
            return None
        where = "j.provider = ? AND j.account = ? AND j.provider_job_id = ?"
        return read_job(raw, where, report.provider, report.account, report.event.provider_job_id)
    job = read_job(raw, "j.id = ?", report.job_id)
    if job is not None:
        if job.provider != report.provider:
            raise VerificationError("the job belongs to another provider")
        return job
    raw.execute(
        "INSERT INTO jobs (id, provider, account, status, request, created_ms) VALUES (?, ?, ?, ?, '{}', ?)",
        (report.job_id, report.provider, report.account, JobStatus.CREATED, to_ms(report.received_at)),
    )
    return read_job(raw, "j.id = ?", report.job_id)


def _apply(
    raw: sqlite3.Connection, report: Report, event: JobEvent, job: JobRecord | None, describe: Describe
) -> tuple[Verdict | None, str]:
    if job is not None and _names_another(raw, job, event):
        # Kept as what was told to this job, so that it never stands in the way of the other job's own fact.
        misdirected = f"{job.id} told of {event.provider_job_id or event.job_id}"
        key = fact_key(provider=report.provider, account=report.account, job_id=misdirected, event=event)
        if raw.execute("SELECT 1 FROM events WHERE key = ?", (key,)).fetchone():
            return Verdict.DUPLICATE, key
        _keep_event(raw, report, event, job, Verdict.CONFLICT, key)
        return Verdict.CONFLICT, key
    job_id = job.id if job is not None else None
    key = fact_key(provider=report.provider, account=report.account, job_id=job_id, event=event)
    kept = raw.execute("SELECT * FROM events WHERE key = ?", (key,)).fetchone()
    if kept is not None:
        if job is not None:
            _tell_again(raw, job, event, key, report.trust, report.received_at)
        else:
            _tell_orphan_again(raw, key, event_from(kept), event)
        return Verdict.DUPLICATE, key
    if job is None:  # an orphan: kept, and judged when its job is known
        _keep_event(raw, report, event, None, None, key)
        return None, key
    decision = decide(job.state, event)
    _keep_event(raw, report, event, job, decision.verdict, key)
    _carry_out(raw, job, decision, report.trust, report.received_at, describe)
    return decision.verdict, key


def bind_orphans(raw: sqlite3.Connection, job: JobRecord, describe: Describe) -> None:
    """Judge what was told of a job before its provider's id was known to be its own."""
    orphans = raw.execute(
        """
        SELECT e.*, c.trust, c.received_ms FROM events e JOIN callbacks c ON c.id = e.callback_id
        WHERE e.job_id IS NULL AND e.provider = ? AND e.account = ? AND e.provider_job_id = ?
        ORDER BY c.rowid
        """,
        (job.provider, job.account, job.provider_job_id),
    ).fetchall()
    for row in orphans:
        current = read_job(raw, "j.id = ?", job.id) or job
        event = event_from(row)
        key = fact_key(provider=job.provider, account=job.account, job_id=job.id, event=event)
        is_known = raw.execute("SELECT 1 FROM events WHERE key = ?", (key,)).fetchone() is not None
        decision = decide(current.state, event)
        verdict = Verdict.DUPLICATE if is_known else decision.verdict
        raw.execute(
            """
            UPDATE callbacks SET job_id = ?, verdict = coalesce(verdict, ?), event_key = ?
            WHERE job_id IS NULL AND event_key = ?
            """,
            (job.id, verdict, key, row["key"]),
        )
        trust, received_at = Trust(row["trust"]), from_ms(row["received_ms"])
        assert received_at is not None  # noqa: S101 - the column is NOT NULL
        if is_known:
            raw.execute("DELETE FROM events WHERE key = ?", (row["key"],))
            _tell_again(raw, current, event, key, trust, received_at)
            continue
        changed = (key, job.id, verdict, row["key"])
        raw.execute("UPDATE events SET key = ?, job_id = ?, verdict = ? WHERE key = ?", changed)
        _carry_out(raw, current, decision, trust, received_at, describe)


def _carry_out(
    raw: sqlite3.Connection, job: JobRecord, decision: Decision, trust: Trust, at: datetime, describe: Describe
) -> None:
    _change_job(raw, job, decision, trust, at)
    if decision.announce is not None:
        announce(raw, job.id, decision.announce, at, describe)
    if decision.task is not None:
        add_task(raw, decision.task, job.id, now=at, revive=decision.result is not None)


def _names_another(raw: sqlite3.Connection, job: JobRecord, event: JobEvent) -> bool:
    """Whether a report to one job's reply URL speaks of another job, by our ids or by the provider's."""
    if is_of_another_job(job.state, event):
        return True
    if event.provider_job_id is None or job.provider_job_id is not None:
        return False
    where = "j.provider = ? AND j.account = ? AND j.provider_job_id = ?"
    return read_job(raw, where, job.provider, job.account, event.provider_job_id) is not None


def _change_job(raw: sqlite3.Connection, job: JobRecord, decision: Decision, trust: Trust, at: datetime) -> None:
    now_ms = to_ms(at)
    changes_status = decision.status is not job.status
    raw.execute(
        """
        UPDATE jobs SET status = ?, progress = coalesce(?, progress), provider_job_id = coalesce(provider_job_id, ?),
            error_code = ?, error_message = ?, trust = CASE WHEN ? THEN ? ELSE trust END,
            called_back_ms = CASE WHEN ? THEN ? ELSE called_back_ms END,
            finished_ms = CASE WHEN ? THEN ? ELSE finished_ms END
        WHERE id = ?
        """,
        (
            decision.status,
            decision.progress,
            decision.provider_job_id if _adopts_id(job) else None,
            decision.error.code if decision.error else None,
            decision.error.message if decision.error else None,
            changes_status or job.trust is None,
            trust,
            changes_status and decision.status.is_terminal,
            now_ms,
            changes_status and decision.status.is_terminal,
            now_ms,
            job.id,
        ),
    )
    if decision.result is not None:
        expect_video(raw, job.id, decision.result)


def _adopts_id(job: JobRecord) -> bool:
    """Whether a callback may tell us the provider's id of a job: not while its own submit is still to be reported."""
    return not job.registered or job.submission is not None


def expect_video(raw: sqlite3.Connection, job_id: str, result: Asset) -> None:
    """Note the link that is to be tried next, while the video is not stored."""
    raw.execute(
        """
        INSERT INTO assets (job_id, status, url, expires_ms) VALUES (?, ?, ?, ?)
        ON CONFLICT (job_id) DO UPDATE SET status = excluded.status, url = excluded.url,
            expires_ms = excluded.expires_ms, problem = NULL
        WHERE assets.status <> ?
        """,
        (
            job_id,
            AssetStatus.PENDING,
            result.url,
            to_ms(result.expires_at) if result.expires_at else None,
            AssetStatus.STORED,
        ),
    )


def _tell_again(raw: sqlite3.Connection, job: JobRecord, event: JobEvent, key: str, trust: Trust, at: datetime) -> None:
    """The same fact again: nobody hears of it, but it may bring a detail that the first telling did not, and it never
    suppresses work that is not done."""
    decision = decide(job.state, event)
    brings_id = decision.provider_job_id is not None and job.provider_job_id is None and _adopts_id(job)
    if brings_id or (decision.progress, decision.error) != (job.progress, job.error):
        _change_job(raw, job, replace(decision, status=job.status, result=None), trust, at)
    if decision.result is not None:
        _refresh_link(raw, job, decision.result, key, at)
    elif decision.task is TaskKind.FETCH_RESULT and not job.status.is_terminal:
        add_task(raw, TaskKind.FETCH_RESULT, job.id, now=at)


def _refresh_link(raw: sqlite3.Connection, job: JobRecord, result: Asset, key: str, now: datetime) -> None:
    """A fresh link for a known fact is tried next; the same one again is not, where it was given up."""
    statement = "UPDATE events SET result_url = ?, link_dead = 0 WHERE key = ? AND result_url <> ?"
    is_fresh = raw.execute(statement, (result.url, key, result.url)).rowcount == 1
    if is_fresh:
        expect_video(raw, job.id, result)
    add_task(raw, TaskKind.DOWNLOAD, job.id, now=now, revive=is_fresh)


def _tell_orphan_again(raw: sqlite3.Connection, key: str, kept: JobEvent, event: JobEvent) -> None:
    """What an orphan will be judged by: the freshest link, and of the rest the same in whatever order it came."""
    result, error = event.result or kept.result, the_clearer(kept.error, event.error)
    raw.execute(
        "UPDATE events SET result_url = ?, error_code = ?, error_message = ?, progress = ? WHERE key = ?",
        (
            result.url if result else None,
            error.code if error else None,
            error.message if error else None,
            the_higher(kept.progress, event.progress),
            key,
        ),
    )


def _keep_event(
    raw: sqlite3.Connection, report: Report, event: JobEvent, job: JobRecord | None, verdict: Verdict | None, key: str
) -> None:
    raw.execute(
        """
        INSERT INTO events (key, id, job_id, provider, account, provider_job_id, callback_id, source, status, word,
            progress, result_url, error_code, error_message, verdict, created_ms)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            key,
            new_id("evt", at=report.received_at.timestamp()),
            job.id if job else None,
            report.provider,
            report.account,
            event.provider_job_id,
            report.callback_id,
            report.source,
            event.status,
            event.word,
            event.progress,
            event.result.url if event.result else None,
            event.error.code if event.error else None,
            event.error.message if event.error else None,
            verdict,
            to_ms(report.received_at),
        ),
    )


def _keep_callback(
    raw: sqlite3.Connection, report: Report, job_id: str | None, verdict: Verdict | None, key: str | None
) -> None:
    raw.execute(
        """
        INSERT INTO callbacks (id, provider, account, job_id, source, received_ms, trust, verdict, event_key, headers,
            body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            report.callback_id,
            report.provider,
            report.account,
            job_id,
            report.source,
            to_ms(report.received_at),
            report.trust,
            verdict,
            key,
            to_json(report.headers),
            report.body,
        ),
    )


def _learn_sender(raw: sqlite3.Connection, report: Report, job: JobRecord | None, verdict: Verdict | None) -> bool:
    """Keep who signs our account's callbacks, from the first that names the very id our own submit returned."""
    answers_our_submit = (
        report.sender is not None
        and report.event is not None
        and job is not None
        and job.submission is SubmissionOutcome.ACCEPTED
        and job.provider_job_id is not None
        and job.provider_job_id == report.event.provider_job_id
        and verdict in (Verdict.APPLIED, Verdict.DUPLICATE)
    )
    known = "SELECT 1 FROM senders WHERE provider = ? AND account = ?"
    if not answers_our_submit or raw.execute(known, (report.provider, report.account)).fetchone():
        return False
    raw.execute(
        "INSERT INTO senders (provider, account, sender, callback_id, learned_ms) VALUES (?, ?, ?, ?, ?)",
        (report.provider, report.account, report.sender, report.callback_id, to_ms(report.received_at)),
    )
    return True


def announce(raw: sqlite3.Connection, job_id: str, kind: NotificationType, now: datetime, describe: Describe) -> None:
    """Write one notification about a job, a delivery for each endpoint that wants it, and the tasks to bring them."""
    job = read_job(raw, "j.id = ?", job_id)
    if job is None:
        raise AssertionError(f"a notification about {job_id}, which is not there")
    cursor = raw.execute(
        "INSERT INTO notifications (id, job_id, type, body, created_ms) VALUES (?, ?, ?, ?, ?)",
        (new_id("ntf", at=now.timestamp()), job_id, kind, describe(job, kind, now), to_ms(now)),
    )
    for endpoint in raw.execute("SELECT * FROM endpoints WHERE job_id = ?", (job_id,)).fetchall():
        add_delivery(raw, int(cursor.lastrowid or 0), kind, endpoint["id"], target_from(endpoint), now)


def add_delivery(
    raw: sqlite3.Connection,
    sequence: int,
    kind: NotificationType,
    endpoint_id: str,
    target: NotifyTarget,
    now: datetime,
) -> None:
    """The duty to bring a notification to an endpoint, where the endpoint wants it."""
    if not target.wants(kind):
        return
    delivery_id = new_id("dlv", at=now.timestamp())
    raw.execute(
        "INSERT INTO deliveries (id, notification, endpoint_id, status, created_ms) VALUES (?, ?, ?, 'pending', ?)",
        (delivery_id, sequence, endpoint_id, to_ms(now)),
    )
    add_task(raw, TaskKind.NOTIFY, delivery_id, now=now)
