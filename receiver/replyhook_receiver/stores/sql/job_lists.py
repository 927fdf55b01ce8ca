"""The list of jobs: the newest first, those of which all that is asked for is true."""

from datetime import datetime

from replyhook.jobs import JobStatus
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import JobFilter, JobRecord, VideoWanted
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.links import PENDING_VIDEOS
from replyhook_receiver.stores.sql.rows import JOB_COLUMNS, job_from, to_ms

_ENDED = ", ".join(f"'{status.value}'" for status in JobStatus if status.is_terminal)
_CONDITIONS = {
    **{name: f"j.{name} = :{name}" for name in ("status", "provider", "reference")},
    "user": 'j."user" = :user',
    "created_after": "j.created_ms >= :created_after",
    "created_before": "j.created_ms < :created_before",
    "error": " OR ".join(
        f"lower({column}) LIKE lower(:error) ESCAPE '!'"
        for column in ("j.error_message", "j.error_code", "j.overdue_reason", "a.problem")
    ),
    "video": "coalesce(a.status, 'none') = :video",
}
_LOST = f"coalesce(a.status, 'none') IN ('{VideoWanted.FAILED.value}', '{VideoWanted.EXPIRED.value}')"
# Beginning with the videos that wait, which an index names, however many jobs there are.
_EXPIRING = f"""j.id IN (
    SELECT p.job_id FROM ({PENDING_VIDEOS}) p
    WHERE EXISTS (SELECT 1 FROM tasks t WHERE t.kind = '{TaskKind.EXPIRING.value}' AND t.subject = p.job_id)
)"""  # noqa: S608 - constants of ours
_WHETHER = {
    "overdue": f"j.overdue_ms IS NOT NULL AND j.status NOT IN ({_ENDED})",
    "expiring": _EXPIRING,
}


def read_jobs(
    raw: Raw, wanted: JobFilter, *, before: str | None, down_to: str | None = None, limit: int
) -> list[JobRecord]:
    """Jobs that ``wanted`` is true of, newest first."""
    given = {name: getattr(wanted, name) for name in _CONDITIONS}
    values = {name: to_ms(value) if isinstance(value, datetime) else value for name, value in given.items()}
    if wanted.error is not None:
        values["error"] = f"%{as_pattern(wanted.error)}%"
    where = [f"({_condition(name, value)})" for name, value in values.items() if value is not None]
    whether = {name: getattr(wanted, name) for name in _WHETHER}
    where += [f"{'' if value else 'NOT '}({_WHETHER[name]})" for name, value in whether.items() if value is not None]
    where += ["j.id < :before"] if before is not None else []
    where += ["j.id >= :down_to"] if down_to is not None else []
    statement = f"""
        SELECT {JOB_COLUMNS} FROM jobs j LEFT JOIN assets a ON a.job_id = j.id
        WHERE {" AND ".join(where) or "TRUE"} ORDER BY j.id DESC LIMIT :limit
    """  # noqa: S608 - our own names; the values are bound
    rows = raw.execute(statement, {**values, "before": before, "down_to": down_to, "limit": limit}).fetchall()
    return [job_from(row) for row in rows]


def as_pattern(text: str) -> str:
    """A text as ``LIKE ... ESCAPE '!'`` looks for it: its marks stand for themselves."""
    return "".join(f"!{letter}" if letter in "!%_" else letter for letter in text)


def _condition(name: str, value: object) -> str:
    return _LOST if value is VideoWanted.LOST else _CONDITIONS[name]
