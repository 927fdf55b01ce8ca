"""What the end of a task changes: a stored or lost video, a made or given-up delivery, an answered question."""

from datetime import datetime

from replyhook.jobs import AssetStatus, JobStatus
from replyhook.notifications import NotificationType
from replyhook_receiver.deadlines import Deadlines
from replyhook_receiver.errors import SubmissionConflict
from replyhook_receiver.lifecycle import TaskKind, fact_key
from replyhook_receiver.records import Submission, SubmissionOutcome
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql import links
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.delivery_ends import keep_delivery, let_others_in
from replyhook_receiver.stores.sql.departures import Departures
from replyhook_receiver.stores.sql.facts import accept, announce, expect_video
from replyhook_receiver.stores.sql.overdue import keep_overdue
from replyhook_receiver.stores.sql.registering import record_submission
from replyhook_receiver.stores.sql.relays import keep_refusal
from replyhook_receiver.stores.sql.rows import EVENTS_OF_JOB, event_from, read_job, to_ms
from replyhook_receiver.stores.sql.tasks import add_task, release
from replyhook_receiver.tasks import Dead, Done, NotNow, Outcome, Retry, StoredVideo, Task


def finish(
    raw: Raw,
    task: Task,
    outcome: Outcome,
    *,
    now: datetime,
    describe: Describe,
    deadlines: Deadlines,
    departures: Departures,
    leases: dict[str, bool] | None = None,
) -> bool:
    """Keep a task's outcome. False when the lease was lost: then nothing is kept.

    ``departures`` are those of the deliveries that end together; ``leases`` as in ``tasks.release``.
    """
    if task.kind is TaskKind.NOTIFY and not isinstance(outcome, NotNow):
        return _finish_delivery(raw, task, outcome, now, describe, departures)
    match outcome:
        case Done():
            state = release(raw, task, state="done", due_at=now, problem=None, now=now, leases=leases)
            if state is None and not _is_paid_answer(task, outcome):
                return False
            _keep_success(raw, task, outcome, now, describe, deadlines)
        case Retry():
            due_at, problem, counts = outcome.due_at, outcome.problem, outcome.counts
            if release(raw, task, state="ready", due_at=due_at, problem=problem, now=now, counts=counts) is None:
                return False
            _keep_problem(raw, task, outcome.problem, AssetStatus.PENDING)
        case NotNow():
            if release(raw, task, state="ready", due_at=outcome.due_at, problem=outcome.problem, now=now) is None:
                return False
            keep_refusal(raw, task.subject, now)
        case Dead():
            state = release(raw, task, state="dead", due_at=now, problem=outcome.problem, now=now)
            if state is None:
                return False
            if state == "dead":
                _keep_failure(raw, task, outcome.problem, now, describe, deadlines)
    return True


def _finish_delivery(
    raw: Raw, task: Task, outcome: Done | Retry | Dead, now: datetime, describe: Describe, departures: Departures
) -> bool:
    problem = None if isinstance(outcome, Done) else outcome.problem
    due_at, counts = (outcome.due_at, outcome.counts) if isinstance(outcome, Retry) else (now, True)
    ends = {Done: "done", Retry: "ready", Dead: "dead"}
    end, leases = ends[type(outcome)], departures.leases
    state = release(raw, task, state=end, due_at=due_at, problem=problem, now=now, counts=counts, leases=leases)
    if state is None:
        let_others_in(task, departures)
        return False
    keep_delivery(raw, task, outcome, state, now=now, describe=describe, departures=departures)
    return True


def _keep_success(raw: Raw, task: Task, done: Done, now: datetime, describe: Describe, deadlines: Deadlines) -> None:
    if done.submission is not None:
        _keep_submission(raw, task.subject, done.submission, now=now, describe=describe, deadlines=deadlines)
    if done.report is not None:
        accept(raw, done.report, describe, deadlines)
    if done.video is not None:
        _keep_video(raw, task.subject, done.video, now)
        announce(raw, task.subject, NotificationType.VIDEO_STORED, now, describe)
    if task.kind is TaskKind.EXPIRING:
        links.announce_last_call(raw, task.subject, now, describe)


def _keep_submission(
    raw: Raw,
    job_id: str,
    submission: Submission,
    *,
    now: datetime,
    describe: Describe,
    deadlines: Deadlines,
) -> None:
    """Keep what a relayed submit came to; an id that cannot be this job's says nothing of what became of it."""
    try:
        record_submission(raw, job_id, submission, now=now, describe=describe, deadlines=deadlines)
    except SubmissionConflict as error:  # raised before anything is written
        if submission.provider_job_id is None:
            raise
        why = f"submit_unknown: the provider took it and answered with an id that cannot be this job's: {error}"
        unknown = Submission(outcome=SubmissionOutcome.UNKNOWN, error=why)
        record_submission(raw, job_id, unknown, now=now, describe=describe, deadlines=deadlines)


def _is_paid_answer(task: Task, done: Done) -> bool:
    """The answer to a relayed submit, of which there is only one: never thrown away, however late it comes."""
    accepted = done.submission is not None and done.submission.outcome is SubmissionOutcome.ACCEPTED
    return task.kind is TaskKind.RELAY and accepted


def _still_lacks(raw: Raw, task: Task) -> bool:
    """Whether what a question was asked for has not come otherwise: the paid video, or any end of the job."""
    job = read_job(raw, "j.id = ?", task.subject)
    if job is None:
        return False
    wants_result = task.kind is TaskKind.FETCH_RESULT
    return job.status is not JobStatus.SUCCEEDED if wants_result else not job.status.is_terminal


def _keep_video(raw: Raw, job_id: str, video: StoredVideo, now: datetime) -> None:
    raw.execute(
        """
        UPDATE assets SET status = ?, name = ?, bytes = ?, sha256 = ?, content_type = ?, duration_ms = ?, width = ?,
            height = ?, stored_ms = ?, poster = ?, problem = NULL
        WHERE job_id = ?
        """,
        (
            AssetStatus.STORED,
            video.name,
            video.bytes,
            video.sha256,
            video.content_type,
            None if video.duration_seconds is None else round(video.duration_seconds * 1000),
            video.width,
            video.height,
            to_ms(now),
            video.poster,
            job_id,
        ),
    )
    links.end(raw, job_id)


def _keep_problem(raw: Raw, task: Task, problem: str, status: AssetStatus) -> None:
    if task.kind is TaskKind.DOWNLOAD:
        raw.execute("UPDATE assets SET status = ?, problem = ? WHERE job_id = ?", (status, problem, task.subject))


def _how_lost(raw: Raw, job_id: str, now: datetime) -> AssetStatus:
    """A video that was not had before its link ended is ``expired``; any other is ``failed``."""
    over = "SELECT 1 FROM assets WHERE job_id = ? AND expires_ms <= ?"
    return AssetStatus.EXPIRED if raw.execute(over, (job_id, to_ms(now))).fetchone() else AssetStatus.FAILED


def _try_another_link(raw: Raw, job_id: str, now: datetime, describe: Describe) -> bool:
    """Whether the job was told another link that is still to be tried; the last one told comes first."""
    tried = "e.result_url = (SELECT url FROM assets WHERE job_id = ?1)"
    raw.execute(f"UPDATE events AS e SET link_dead = 1 WHERE {EVENTS_OF_JOB} AND {tried}", (job_id,))  # noqa: S608 - ours
    statement = f"""
        SELECT * FROM events e WHERE {EVENTS_OF_JOB} AND status = ?2 AND result_url IS NOT NULL AND link_dead = 0
        ORDER BY id DESC
    """  # noqa: S608 - ours
    for row in raw.execute(statement, (job_id, JobStatus.SUCCEEDED)):  # not all at once: a stranger may have told many
        event = event_from(row)
        own = fact_key(provider=row["provider"], account=row["account"], job_id=job_id, event=event)
        if row["key"] == own and event.result is not None:  # what was misdirected to this job has another key
            untried = event.result
            break
    else:
        return False
    expect_video(raw, job_id, untried, describe)
    add_task(raw, TaskKind.DOWNLOAD, job_id, now=now, revive=True)
    return True


def _announce_loss(raw: Raw, job_id: str, now: datetime, describe: Describe) -> None:
    """Say that the video is lost, once a job: a fresh link that is refused, too, is no news."""
    told = "SELECT 1 FROM notifications WHERE job_id = ? AND type = ?"
    if not raw.execute(told, (job_id, NotificationType.VIDEO_FAILED)).fetchone():
        announce(raw, job_id, NotificationType.VIDEO_FAILED, now, describe)


def _keep_dead_relay(
    raw: Raw, job_id: str, problem: str, now: datetime, describe: Describe, deadlines: Deadlines
) -> None:
    """A submit that we gave up: refused where it was never begun, else nobody knows."""
    row = raw.execute("SELECT submitting_ms FROM jobs WHERE id = ? AND submission IS NULL", (job_id,)).fetchone()
    if row is not None:
        begun = row["submitting_ms"] is not None
        outcome = SubmissionOutcome.UNKNOWN if begun else SubmissionOutcome.REFUSED
        submission = Submission(outcome=outcome, error=problem if begun else f"it was never submitted: {problem}")
        record_submission(raw, job_id, submission, now=now, describe=describe, deadlines=deadlines)


def _keep_failure(raw: Raw, task: Task, problem: str, now: datetime, describe: Describe, deadlines: Deadlines) -> None:
    _keep_problem(raw, task, problem, _how_lost(raw, task.subject, now))
    if task.kind is TaskKind.DOWNLOAD:
        if _try_another_link(raw, task.subject, now, describe):
            return
        links.end(raw, task.subject)
        _announce_loss(raw, task.subject, now, describe)
    elif task.kind is TaskKind.RELAY:
        _keep_dead_relay(raw, task.subject, problem, now, describe, deadlines)
    elif _still_lacks(raw, task):
        keep_overdue(raw, task.subject, problem, now, describe)
