"""The heart: a report, its event, the job's change, the notifications and the tasks, written in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from msgspec.structs import replace

from replyhook.errors import VerificationError
from replyhook.jobs import Asset, JobEvent, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.deadlines import Deadlines
from replyhook_receiver.errors import DetachedLimit
from replyhook_receiver.lifecycle import (
    Decision,
    JobState,
    TaskKind,
    Verdict,
    decide,
    fact_key,
    is_of_another_job,
    the_clearer,
    the_higher,
)
from replyhook_receiver.records import Accepted, JobRecord, Report, SubmissionOutcome
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.rows import event_from, to_json, to_ms, whole_ms
from replyhook_receiver.stores.sql.unit import Unit

_LONGEST_NONCE = 200


def accept_all(raw: Raw, reports: Sequence[Report], describe: Describe, deadlines: Deadlines) -> list[Accepted]:
    """Keep all of ``reports`` with everything they lead to; when this raises, nothing of it may be kept."""
    unit = Unit(raw, describe)
    keys = {report.callback_id: _key(report) for report in reports if report.job_id and report.event}
    unit.read_ahead([(report.job_id, keys.get(report.callback_id)) for report in reports if report.job_id])
    unit.read_names_ahead(
        (report.job_id, report.provider, report.account, report.event.provider_job_id)
        for report in reports
        if report.job_id and report.event and report.event.provider_job_id
    )
    accepted = [_accept(unit, report, keys.get(report.callback_id)) for report in reports]
    for job, at in unit.found_under_way:
        unit.expect_callback(job.id, at + deadlines.wait(job.provider, job.request))
    unit.flush()
    return accepted


def accept(raw: Raw, report: Report, describe: Describe, deadlines: Deadlines) -> Accepted:
    """Keep one report."""
    return accept_all(raw, [report], describe, deadlines)[0]


def _key(report: Report) -> str:
    """The key of what a report says, where it says it of the job whose token it came with."""
    if report.event is None:
        raise AssertionError("a report that says nothing has no key")
    return fact_key(provider=report.provider, account=report.account, job_id=report.job_id, event=report.event)


def _accept(unit: Unit, report: Report, key: str | None) -> Accepted:
    if report.nonce is not None and not _is_first_use(unit.raw, report, report.nonce):
        return Accepted(callback_id=report.callback_id, job_id=None, verdict=Verdict.DUPLICATE)
    job = _job_of(unit, report)
    verdict: Verdict | None = Verdict.UNRECOGNISED
    if report.event is not None:
        verdict, key = _apply(unit, report, report.event, job, key)
    job_id = job.id if job else None
    _keep_callback(unit, report, job_id, verdict, key)
    learned = report.sender is not None and _learn_sender(unit, report, report.sender, job, verdict)
    return Accepted(callback_id=report.callback_id, job_id=job_id, verdict=verdict, learned_sender=learned)


def _is_first_use(raw: Raw, report: Report, nonce: str) -> bool:
    """A signature that was used before changes nothing again; its first use was kept with all that follows from it."""
    if len(nonce) > _LONGEST_NONCE:  # no index has room for anything at all
        nonce = sha256(nonce.encode("utf-8", "surrogatepass")).hexdigest()
    values = (report.provider, report.account, nonce, to_ms(report.received_at))
    statement = "INSERT INTO nonces (provider, account, nonce, seen_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
    return raw.execute(statement, values).rowcount == 1


def _job_of(unit: Unit, report: Report) -> JobRecord | None:
    """The job a report is about: the token's, made now if nobody registered it; else the one with the provider's id."""
    if report.job_id is None:
        if report.event is None or report.event.provider_job_id is None:
            return None
        return unit.job_called(report.provider, report.account, report.event.provider_job_id)
    job = unit.job(report.job_id)
    detached = report.detached
    if job is None:
        if unit.is_erased(report.job_id):
            raise VerificationError("the job was erased")
        if detached is not None and unit.detached_jobs(detached.user, report.received_at) >= detached.max_per_day:
            raise DetachedLimit(f"{detached.max_per_day} detached jobs of one user have appeared within a day")
        job = JobRecord(
            id=report.job_id,
            provider=report.provider,
            account=report.account,
            registered=False,
            status=JobStatus.CREATED,
            created_at=whole_ms(report.received_at),
            reference=detached.reference if detached else None,
            user=detached.user if detached else None,
        )
        unit.add_job(job)
    elif job.provider != report.provider:
        raise VerificationError("the job belongs to another provider")
    elif detached is not None and job.user != detached.user:
        raise VerificationError("the job belongs to another user than the reply key")
    return job


def _apply(
    unit: Unit, report: Report, event: JobEvent, job: JobRecord | None, key: str | None
) -> tuple[Verdict | None, str]:
    state = job.state if job is not None else None
    if job is not None and state is not None and _names_another(unit, job, state, event):
        # Kept as what was told to this job, so that it never stands in the way of the other job's own fact.
        misdirected = f"{job.id} told of {event.provider_job_id or event.job_id}"
        key = fact_key(provider=report.provider, account=report.account, job_id=misdirected, event=event)
        if unit.is_known(key):
            return Verdict.DUPLICATE, key
        _keep_event(unit, report, event, job, Verdict.CONFLICT, key)
        return Verdict.CONFLICT, key
    if key is None:  # it came by an account's token
        job_id = job.id if job is not None else None
        key = fact_key(provider=report.provider, account=report.account, job_id=job_id, event=event)
    if unit.is_known(key):
        if job is not None:
            tell_again(unit, job, event, key, report.trust, report.received_at)
        else:
            _tell_orphan_again(unit.raw, key, event)
        return Verdict.DUPLICATE, key
    if job is None or state is None:  # an orphan: kept, and judged when its job is known
        _keep_event(unit, report, event, None, None, key)
        return None, key
    decision = decide(state, event)
    _keep_event(unit, report, event, job, decision.verdict, key)
    carry_out(unit, job, decision, report.trust, report.received_at)
    return decision.verdict, key


def carry_out(unit: Unit, job: JobRecord, decision: Decision, trust: Trust, at: datetime) -> None:
    """What was decided of a report: the job's change, who is told of it, and the work that follows."""
    _change_job(unit, job, decision, trust, at)
    if decision.announce is not None:
        unit.announce(job.id, decision.announce, at)
    if decision.task is not None:
        unit.add_task(decision.task, job.id, at, revive=decision.result is not None)


def _names_another(unit: Unit, job: JobRecord, state: JobState, event: JobEvent) -> bool:
    """Whether a report to one job's reply URL speaks of another job, by our ids or by the provider's."""
    if is_of_another_job(state, event):
        return True
    if event.provider_job_id is None or job.provider_job_id is not None:
        return False
    return unit.job_called(job.provider, job.account, event.provider_job_id) is not None


def _change_job(unit: Unit, job: JobRecord, decision: Decision, trust: Trust, at: datetime) -> None:
    changes_status = decision.status is not job.status
    ends = changes_status and decision.status.is_terminal
    now = whole_ms(at) if ends else None
    changed = replace(
        job,
        status=decision.status,
        progress=job.progress if decision.progress is None else decision.progress,
        provider_job_id=job.provider_job_id or (decision.provider_job_id if _adopts_id(job) else None),
        error=decision.error,
        trust=trust if changes_status or job.trust is None else job.trust,
        called_back_at=now or job.called_back_at,
        finished_at=now or job.finished_at,
    )
    unit.change_job(changed)
    if job.status is JobStatus.CREATED and changes_status and not ends:  # nobody has told us of its submit
        unit.found_under_way.append((changed, at))
    if decision.result is not None:
        unit.expect_video(changed, decision.result)


def _adopts_id(job: JobRecord) -> bool:
    """Whether a callback may tell us the provider's id of a job: not while its own submit is still to be reported."""
    return not job.registered or job.submission is not None


def expect_video(raw: Raw, job_id: str, result: Asset, describe: Describe) -> None:
    """Note the link that is to be tried next, while the video is not stored."""
    unit = Unit(raw, describe)
    job = unit.job(job_id)
    if job is not None:
        unit.expect_video(job, result)
    unit.flush()


def tell_again(unit: Unit, job: JobRecord, event: JobEvent, key: str, trust: Trust, at: datetime) -> None:
    """The same fact again: nobody hears of it, but it may bring a detail that the first telling did not, and it never
    suppresses work that is not done."""
    decision = decide(job.state, event)
    brings_id = decision.provider_job_id is not None and job.provider_job_id is None and _adopts_id(job)
    if brings_id or (decision.progress, decision.error) != (job.progress, job.error):
        _change_job(unit, job, replace(decision, status=job.status, result=None), trust, at)
    if decision.result is not None:
        _refresh_link(unit, job.id, decision.result, key, at)
    elif decision.task is TaskKind.FETCH_RESULT and not job.status.is_terminal:
        unit.add_task(TaskKind.FETCH_RESULT, job.id, at)


def _refresh_link(unit: Unit, job_id: str, result: Asset, key: str, now: datetime) -> None:
    """A fresh link for a known fact is tried next; the same one again is not, where it was given up."""
    statement = "UPDATE events SET result_url = ?, link_dead = 0 WHERE key = ? AND result_url <> ?"
    is_fresh = unit.raw.execute(statement, (result.url, key, result.url)).rowcount == 1
    job = unit.job(job_id)
    if is_fresh and job is not None:
        unit.expect_video(job, result)
    unit.add_task(TaskKind.DOWNLOAD, job_id, now, revive=is_fresh)


def _tell_orphan_again(raw: Raw, key: str, event: JobEvent) -> None:
    """What an orphan will be judged by: the freshest link, and of the rest the same in whatever order it came."""
    kept = event_from(raw.execute("SELECT * FROM events WHERE key = ?", (key,)).fetchone())
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
    unit: Unit, report: Report, event: JobEvent, job: JobRecord | None, verdict: Verdict | None, key: str
) -> None:
    values = (
        key,
        f"evt{report.callback_id.removeprefix('cb')}",  # a callback tells one fact at most
        job.id if job else None,
        report.provider,
        report.account,
        event.provider_job_id,
        report.callback_id,
        report.source._value_,
        event.status._value_ if event.status else None,
        event.word,
        event.progress,
        event.result.url if event.result else None,
        event.error.code if event.error else None,
        event.error.message if event.error else None,
        verdict._value_ if verdict else None,
        to_ms(report.received_at),
    )
    unit.add_event(key, values)


def _keep_callback(unit: Unit, report: Report, job_id: str | None, verdict: Verdict | None, key: str | None) -> None:
    values = (
        report.callback_id,
        report.provider,
        report.account,
        job_id,
        report.source._value_,
        to_ms(report.received_at),
        report.trust._value_,
        verdict._value_ if verdict else None,
        key,
        to_json(report.headers),
        report.body,
    )
    unit.add_callback(values)


def _learn_sender(unit: Unit, report: Report, sender: str, job: JobRecord | None, verdict: Verdict | None) -> bool:
    """Keep who signs our account's callbacks, from the first that names the very id our own submit returned."""
    answers_our_submit = (
        report.event is not None
        and job is not None
        and job.submission is SubmissionOutcome.ACCEPTED
        and job.provider_job_id is not None
        and job.provider_job_id == report.event.provider_job_id
        and verdict in (Verdict.APPLIED, Verdict.DUPLICATE)
    )
    if not answers_our_submit or unit.has_sender(report.provider, report.account):
        return False
    unit.raw.execute(
        "INSERT INTO senders (provider, account, sender, callback_id, learned_ms) VALUES (?, ?, ?, ?, ?)",
        (report.provider, report.account, sender, report.callback_id, to_ms(report.received_at)),
    )
    return True


def announce(raw: Raw, job_id: str, kind: NotificationType, now: datetime, describe: Describe) -> None:
    """Write one notification about a job, a delivery for each endpoint that wants it, and the tasks to bring them."""
    unit = Unit(raw, describe)
    unit.announce(job_id, kind, now)
    unit.flush()
