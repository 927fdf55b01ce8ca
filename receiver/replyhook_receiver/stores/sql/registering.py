"""Jobs as their callers tell of them: registration before the submit, and what became of the submit."""

import logging
from datetime import datetime
from itertools import product

from replyhook.ids import new_id
from replyhook.jobs import JobError, JobEvent, JobStatus
from replyhook.notifications import NotificationType
from replyhook_receiver.deadlines import Deadlines
from replyhook_receiver.endpoint_rules import WEBHOOK
from replyhook_receiver.errors import RegistrationConflict, SubmissionConflict, UnknownJob
from replyhook_receiver.lifecycle import ANNOUNCES, TaskKind, Verdict, decide
from replyhook_receiver.records import (
    SUBMIT_UNKNOWN,
    JobRecord,
    NotifyTarget,
    Registration,
    Submission,
    SubmissionOutcome,
)
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.facts import announce
from replyhook_receiver.stores.sql.orphans import bind_orphans
from replyhook_receiver.stores.sql.overdue import expect, keep_overdue
from replyhook_receiver.stores.sql.rows import EVENTS_OF_JOB, read_job, to_json, to_ms
from replyhook_receiver.stores.sql.tasks import add_task
from replyhook_receiver.stores.sql.unit import Unit

PASSED_ON = "passed_on"

_log = logging.getLogger(__name__)

_STATUS_AFTER = {
    SubmissionOutcome.ACCEPTED: JobStatus.SUBMITTED,
    SubmissionOutcome.REFUSED: JobStatus.FAILED,
    SubmissionOutcome.UNKNOWN: JobStatus.UNKNOWN,
}


def register(raw: Raw, registration: Registration, *, now: datetime, describe: Describe) -> JobRecord:
    """Make a job known, or fill in one that only its callback's token told us of."""
    job = read_job(raw, "j.id = ?", registration.job_id)
    contents = _contents(registration)
    if job is not None and job.registered:
        kept = raw.execute("SELECT registration FROM jobs WHERE id = ?", (job.id,)).fetchone()["registration"]
        if kept != contents:
            raise RegistrationConflict(f"job {job.id} is registered with other contents")
        return job
    if raw.execute("SELECT 1 FROM erased WHERE job_id = ?", (registration.job_id,)).fetchone():
        raise RegistrationConflict(f"job {registration.job_id} was erased: register it under another id")
    if job is not None and job.provider != registration.provider:
        raise RegistrationConflict(f"job {job.id} belongs to another provider")
    if job is not None and registration.relay_video is not None:
        raise RegistrationConflict(f"job {job.id} was submitted before: its callback has come")
    raw.execute(
        """
        INSERT INTO jobs (id, provider, account, reference, "user", status, request, registration, relay_video,
            created_ms)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET reference = excluded.reference, "user" = excluded."user",
            request = excluded.request, registration = excluded.registration
        """,
        (
            registration.job_id,
            registration.provider,
            registration.account,
            registration.reference,
            registration.user,
            JobStatus.CREATED,
            to_json(registration.request),
            contents,
            registration.relay_video,
            to_ms(now),
        ),
    )
    _add_endpoints(raw, registration, now, describe, told_user=None if job is None else job.user)
    if registration.relay_video is not None:
        add_task(raw, TaskKind.RELAY, registration.job_id, now=now)
    return _read(raw, registration.job_id)


def _contents(registration: Registration) -> str:
    targets = [_target(target) for target in registration.notify]
    return to_json(
        [
            registration.provider,
            registration.account,
            registration.reference,
            registration.user,
            targets,
            registration.relay_video,
            dict(registration.request),
        ]
    )


def _target(target: NotifyTarget) -> dict[str, object]:
    """What tells one target from another; what used not to be possible is left out where it is not used."""
    content: dict[str, object] = {"url": target.url, "secret": target.secret, "types": list(target.types)}
    if target.headers:
        content["headers"] = dict(target.headers)
    if target.channel != WEBHOOK:
        content["channel"] = target.channel
    return content


def _add_endpoints(
    raw: Raw, registration: Registration, now: datetime, describe: Describe, *, told_user: str | None
) -> None:
    """One endpoint a target; each hears what was announced before it was known, and so do the user's own, if it was
    not known whose job this is."""
    missed = raw.execute(
        "SELECT sequence, type FROM notifications WHERE job_id = ? ORDER BY sequence", (registration.job_id,)
    ).fetchall()
    unit = Unit(raw, describe)
    for target in registration.notify:
        endpoint_id = new_id("ep", at=now.timestamp())
        raw.execute(
            """
            INSERT INTO endpoints (id, job_id, channel, url, secret, types, headers, created_ms)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            (
                endpoint_id,
                registration.job_id,
                target.channel,
                target.url,
                target.secret,
                to_json(list(target.types)),
                to_json(dict(target.headers)) if target.headers else None,
                to_ms(now),
            ),
        )
        for row in missed:
            unit.add_delivery(row["sequence"], NotificationType(row["type"]), endpoint_id, target, now)
    if missed and registration.user is not None and registration.user != told_user:
        theirs = [entry for entry in unit.standing_endpoints() if entry[2] == registration.user]
        for row, (endpoint_id, target, _) in product(missed, theirs):
            unit.add_delivery(row["sequence"], NotificationType(row["type"]), endpoint_id, target, now)
    unit.flush()


def report_submission(
    raw: Raw,
    job_id: str,
    submission: Submission,
    *,
    now: datetime,
    describe: Describe,
    deadlines: Deadlines,
) -> JobRecord:
    """Keep what a caller says of its own submit. Raises ``SubmissionConflict`` where the submit is ours."""
    job = read_job(raw, "j.id = ?", job_id)
    if job is not None and job.relay_video is not None and job.submission is not SubmissionOutcome.UNKNOWN:
        raise SubmissionConflict(f"job {job_id} is submitted by the receiver itself")
    return record_submission(raw, job_id, submission, now=now, describe=describe, deadlines=deadlines)


def record_submission(
    raw: Raw,
    job_id: str,
    submission: Submission,
    *,
    now: datetime,
    describe: Describe,
    deadlines: Deadlines,
) -> JobRecord:
    """Keep what became of a submit. A callback may have come first: then the status stays where it is."""
    job = read_job(raw, "j.id = ?", job_id)
    if job is None:
        raise UnknownJob(f"there is no job {job_id}")
    if submission.provider_job_id and job.provider_job_id not in (None, submission.provider_job_id):
        raise SubmissionConflict(f"job {job_id} has another provider_job_id")
    if job.submission is submission.outcome and submission.provider_job_id in (None, job.provider_job_id):
        return job
    if job.submission in (SubmissionOutcome.ACCEPTED, SubmissionOutcome.REFUSED):
        raise SubmissionConflict(f"the submission of job {job_id} was reported as {job.submission} before")
    _make_free(raw, job, submission)
    refused = submission.outcome is SubmissionOutcome.REFUSED
    code = PASSED_ON if submission.passed_on else "submission_refused"
    error = JobError(code=code, message=submission.error or "refused") if refused else None
    event = JobEvent(provider_job_id=submission.provider_job_id, status=_STATUS_AFTER[submission.outcome], error=error)
    decision = decide(job.state, event)
    failed_now = decision.status is JobStatus.FAILED and job.status is not JobStatus.FAILED
    provider_job_id = submission.provider_job_id or job.provider_job_id or _told_id(raw, job)
    raw.execute(
        """
        UPDATE jobs SET submission = ?, status = ?, provider_job_id = ?,
            submitted_ms = coalesce(submitted_ms, submitting_ms, ?),
            error_code = ?, error_message = ?, finished_ms = coalesce(finished_ms, ?)
        WHERE id = ?
        """,
        (
            submission.outcome,
            decision.status,
            provider_job_id,
            None if refused else to_ms(min(now, job.called_back_at or now)),
            decision.error.code if decision.error else None,
            decision.error.message if decision.error else None,
            to_ms(now) if failed_now else None,
            job_id,
        ),
    )
    if failed_now and not submission.passed_on:  # the next provider's job has the same reference, and is announced
        announce(raw, job_id, ANNOUNCES[JobStatus.FAILED], now, describe)
    changed = _read(raw, job_id)
    if changed.provider_job_id is not None and job.provider_job_id is None:
        bind_orphans(raw, changed, describe)
        earlier = "UPDATE jobs SET submitted_ms = called_back_ms WHERE id = ? AND called_back_ms < submitted_ms"
        raw.execute(earlier, (job_id,))
        waiting = "SELECT 1 FROM tasks WHERE kind = ? AND subject = ? AND state <> 'done'"
        if raw.execute(waiting, (TaskKind.FETCH_RESULT, job_id)).fetchone():
            add_task(raw, TaskKind.FETCH_RESULT, job_id, now=now, revive=True)  # it may have failed for want of the id
    changed = _read(raw, job_id)
    if not changed.status.is_terminal:
        _expect_news(raw, changed, submission, was_unknown=job.submission is not None, now=now, deadlines=deadlines)
        if _is_lost(changed, deadlines):
            keep_overdue(raw, job_id, _why_unknown(submission), now, describe)
    return _read(raw, job_id)


def _expect_news(
    raw: Raw,
    job: JobRecord,
    submission: Submission,
    *,
    was_unknown: bool,
    now: datetime,
    deadlines: Deadlines,
) -> None:
    """Begin the wait for a callback. What was settled by hand has been waited for long enough: it is asked about."""
    if was_unknown and submission.outcome is SubmissionOutcome.ACCEPTED:
        add_task(raw, TaskKind.RECONCILE, job.id, now=now, revive=True)
    elif not _is_lost(job, deadlines):
        expect(raw, job.id, (job.submitted_at or now) + deadlines.wait(job.provider, job.request))


def _is_lost(job: JobRecord, deadlines: Deadlines) -> bool:
    """Whether nothing can ever tell what became of a submit: no id to ask by, no reply URL to be called back on."""
    is_unknown = job.submission is SubmissionOutcome.UNKNOWN and job.provider_job_id is None
    return is_unknown and not deadlines.names_our_job(job.provider)


def _why_unknown(submission: Submission) -> str:
    error = submission.error or "the submit's outcome is not known"
    return error if error.startswith(SUBMIT_UNKNOWN) else f"{SUBMIT_UNKNOWN}: {error}"


def _told_id(raw: Raw, job: JobRecord) -> str | None:
    """What the provider's callbacks have called a job by whose submit brought no id; no other job's."""
    row = raw.execute(
        f"""
        SELECT e.provider_job_id FROM events e
        WHERE {EVENTS_OF_JOB} AND e.provider_job_id IS NOT NULL AND e.verdict <> ?2 AND NOT EXISTS (
            SELECT 1 FROM jobs j WHERE j.provider = e.provider AND j.account = e.account
                AND j.provider_job_id = e.provider_job_id)
        ORDER BY e.id LIMIT 1
        """,  # noqa: S608 - ours
        (job.id, Verdict.CONFLICT),
    ).fetchone()
    return row["provider_job_id"] if row else None


def begin_submit(raw: Raw, job_id: str, *, now: datetime) -> bool:
    """Note that a relayed submit is about to be sent. False when it was begun before, or the job was canceled: then it
    is not sent."""
    statement = """
        UPDATE jobs SET submitting_ms = ?
        WHERE id = ? AND submitting_ms IS NULL AND submission IS NULL AND finished_ms IS NULL
    """
    return raw.execute(statement, (to_ms(now), job_id)).rowcount == 1


def _make_free(raw: Raw, job: JobRecord, submission: Submission) -> None:
    """See that no other job has the provider's id: one that only a callback gave it to had it by a guess."""
    if submission.provider_job_id is None:
        return
    where = "j.provider = ? AND j.account = ? AND j.provider_job_id = ? AND j.id <> ?"
    holder = read_job(raw, where, job.provider, job.account, submission.provider_job_id, job.id)
    if holder is None:
        return
    if holder.submission is SubmissionOutcome.ACCEPTED or submission.outcome is not SubmissionOutcome.ACCEPTED:
        raise SubmissionConflict("that provider_job_id belongs to another job")
    _log.warning("%s had the provider's id of %s by a callback alone: it is taken from it", holder.id, job.id)
    raw.execute("UPDATE jobs SET provider_job_id = NULL WHERE id = ?", (holder.id,))


def _read(raw: Raw, job_id: str) -> JobRecord:
    job = read_job(raw, "j.id = ?", job_id)
    if job is None:
        raise AssertionError(f"job {job_id} was written and is not there")
    return job
