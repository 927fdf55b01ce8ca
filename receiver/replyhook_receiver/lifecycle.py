"""Which status may follow which, and what a report changes. Everything about that lives in this file, and is pure.

Statuses have a rank; a report moves a job up, never down, so any order of the same reports ends in the same state. A
``succeeded`` with a result outranks everything, since it is a paid video.

A job's state is its status, its progress and its error, and each is the highest of all that was told: the progress the
largest, the error the one told with the status that holds (of several: ``the_clearer``), none but with a failure or a
cancellation. Its links are no part of it: every one is kept as an event and tried while the video is not stored, and
which is tried first may depend on the order. Reports that name another job than this one are kept and change nothing.
"""

import hashlib
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from replyhook.jobs import Asset, AssetStatus, JobError, JobEvent, JobStatus
from replyhook.notifications import NotificationType

S = JobStatus
_ID_LENGTH = len("job_") + 26

ALLOWED: dict[JobStatus, frozenset[JobStatus]] = {
    # unknown: a submit whose outcome is not known; any word from the provider settles it
    S.CREATED: frozenset({S.UNKNOWN, S.SUBMITTED, S.QUEUED, S.RUNNING, S.CANCELED, S.FAILED, S.SUCCEEDED}),
    S.UNKNOWN: frozenset({S.SUBMITTED, S.QUEUED, S.RUNNING, S.CANCELED, S.FAILED, S.SUCCEEDED}),
    S.SUBMITTED: frozenset({S.QUEUED, S.RUNNING, S.CANCELED, S.FAILED, S.SUCCEEDED}),
    S.QUEUED: frozenset({S.RUNNING, S.CANCELED, S.FAILED, S.SUCCEEDED}),
    S.RUNNING: frozenset({S.CANCELED, S.FAILED, S.SUCCEEDED}),
    # contradictions: the higher one holds, and the verdict says so
    S.CANCELED: frozenset({S.FAILED, S.SUCCEEDED}),
    S.FAILED: frozenset({S.SUCCEEDED}),
    S.SUCCEEDED: frozenset(),
}

ANNOUNCES: dict[JobStatus, NotificationType] = {
    S.QUEUED: NotificationType.JOB_QUEUED,
    S.RUNNING: NotificationType.JOB_RUNNING,
    S.SUCCEEDED: NotificationType.JOB_SUCCEEDED,
    S.FAILED: NotificationType.JOB_FAILED,
    S.CANCELED: NotificationType.JOB_CANCELED,
}


class Verdict(StrEnum):
    """Why a report was applied or not. Kept with every report."""

    __hash__ = str.__hash__  # an enum's own is slow

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    AFTER_TERMINAL = "after_terminal"
    CONFLICT = "conflict"
    UNRECOGNISED = "unrecognised"


class TaskKind(StrEnum):
    """The kinds of work that follow a report."""

    DOWNLOAD = "download"
    FETCH_RESULT = "fetch_result"
    NOTIFY = "notify"
    RECONCILE = "reconcile"
    RELAY = "relay"
    EXPIRING = "expiring"


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision needs to know of a job."""

    id: str
    status: JobStatus
    progress: int | None = None
    error: JobError | None = None
    provider_job_id: str | None = None
    asset_status: AssetStatus = AssetStatus.NONE


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a report changes: the job's status, progress and error after it, and what follows.

    ``provider_job_id`` is what the report calls the job; ``result`` is None where there is no link to try, ``announce``
    where nobody need hear of it.
    """

    verdict: Verdict
    status: JobStatus
    progress: int | None = None
    provider_job_id: str | None = None
    error: JobError | None = None
    result: Asset | None = None
    announce: NotificationType | None = None
    task: TaskKind | None = None


def decide(job: JobState, event: JobEvent) -> Decision:
    """What ``event`` does to ``job``. Late, repeated and unknown reports move nothing."""
    if is_of_another_job(job, event):
        return Decision(verdict=Verdict.CONFLICT, status=job.status, progress=job.progress, error=job.error)
    if event.status in ALLOWED[job.status] and not (event.status is S.SUCCEEDED and event.result is None):
        return _rise(job, event, event.status)
    # The highest that was ever told, so that the order of telling does not matter.
    nothing = Decision(
        verdict=Verdict.STALE,
        status=job.status,
        progress=100 if job.status is S.SUCCEEDED else the_higher(job.progress, event.progress),
        error=the_clearer(job.error, _error_of(event)) if event.status is job.status else job.error,
        provider_job_id=event.provider_job_id,
    )
    if event.status is None:
        return replace(nothing, verdict=Verdict.UNRECOGNISED)
    if event.status is S.SUCCEEDED and event.result is None:
        return _without_result(job, nothing)
    if job.status.is_terminal:
        return _after_the_end(job, event, nothing)
    if event.status is job.status and nothing.progress != job.progress:
        return replace(nothing, verdict=Verdict.APPLIED, announce=ANNOUNCES.get(job.status))
    return nothing


def _rise(job: JobState, event: JobEvent, status: JobStatus) -> Decision:
    """The job moves up to ``status``; where that is a success, the event brings its result."""
    has_result = status is S.SUCCEEDED
    return Decision(
        verdict=Verdict.CONFLICT if job.status.is_terminal else Verdict.APPLIED,
        status=status,
        progress=100 if has_result else the_higher(job.progress, event.progress),
        error=_error_of(event),
        provider_job_id=event.provider_job_id,
        result=event.result if has_result else None,
        announce=ANNOUNCES.get(status),
        task=TaskKind.DOWNLOAD if has_result else None,
    )


def is_of_another_job(job: JobState, event: JobEvent) -> bool:
    """Whether ``event`` names another job than the one whose reply URL it came to."""
    if event.job_id is not None and event.job_id != job.id:
        return True
    if job.provider_job_id is None or job.provider_job_id == event.provider_job_id:
        return False
    named = {name for name in (event.provider_job_id, *event.aliases) if name}
    return bool(named) and job.provider_job_id not in named


def _without_result(job: JobState, nothing: Decision) -> Decision:
    """A success whose result is missing is not yet one: the result is asked for once, the job is still running."""
    if job.status is S.SUCCEEDED:
        return replace(nothing, verdict=Verdict.AFTER_TERMINAL)
    rises = S.RUNNING in ALLOWED[job.status]
    return replace(
        nothing,
        verdict=Verdict.APPLIED,
        status=S.RUNNING if rises else job.status,
        announce=ANNOUNCES[S.RUNNING] if rises else None,
        task=TaskKind.FETCH_RESULT,
    )


def _after_the_end(job: JobState, event: JobEvent, nothing: Decision) -> Decision:
    """Nothing moves; but a second link for a video we do not have yet is worth having."""
    late = replace(nothing, verdict=Verdict.AFTER_TERMINAL)
    if event.status is S.SUCCEEDED and job.asset_status is not AssetStatus.STORED:
        return replace(late, result=event.result, task=TaskKind.DOWNLOAD)
    return late


def _error_of(event: JobEvent) -> JobError | None:
    return event.error if event.status in (S.FAILED, S.CANCELED) else None


def the_clearer(one: JobError | None, other: JobError | None) -> JobError | None:
    """Of two errors told of the same end always the same one: one with a code, then the first by code and words."""
    told = [error for error in (one, other) if error is not None]
    return min(told, key=lambda error: (error.code is None, error.code or "", error.message), default=None)


def the_higher(known: int | None, reported: int | None) -> int | None:
    """The larger progress, where there is one."""
    return max((value for value in (known, reported) if value is not None), default=None)


def fact_key(*, provider: str, account: str, job_id: str | None, event: JobEvent) -> str:
    """The ``event_id``'s substance: the same for the same fact, however often and in whatever request it is told.

    A fact is of our job, where it is known; of the provider's, for an orphan. Neither can be taken for the other.
    The fact is the result's URL without its query (a fresh signature on the same link is no news), the error's code,
    or the progress.
    """
    status = event.status.value if event.status else f"?{event.word or ''}"
    if event.result is not None:
        fact = event.result.url.partition("?")[0].partition("#")[0]  # whatever it is: it need not be a URL
    elif event.error is not None:
        fact = event.error.code or ""
    else:
        fact = "" if event.progress is None else str(event.progress)
    whose = f"ours:{job_id}" if job_id is not None else f"theirs:{event.provider_job_id}"
    parts = (provider, account, whose, status, fact)
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    # Beginning with the job's id, which begins with its time, new facts lie side by side in the store's index.
    return f"{job_id[:_ID_LENGTH]}:{digest}" if job_id is not None else digest


def diagram() -> str:
    """The table above as a Mermaid state diagram; the README's is printed from it."""
    lines = ["stateDiagram-v2", "    [*] --> created"]
    for status, following in ALLOWED.items():
        lines += [f"    {status} --> {after}" for after in JobStatus if after in following]
    return "\n".join(lines)
