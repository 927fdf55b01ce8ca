"""Deadlines: when a job should have been called back, which are past, what can be learned of them, and the alarm."""

from collections import defaultdict
from datetime import datetime

import msgspec

from replyhook.jobs import JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.deadlines import REMEMBERED, CallbackTimes, Kind, kind_of
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.facts import announce
from replyhook_receiver.stores.sql.rows import read_job, to_ms

_ENDED = ", ".join(f"'{status.value}'" for status in JobStatus if status.is_terminal)
_CALLED_BACK = ", ".join(f"'{trust.value}'" for trust in (Trust.SIGNED, Trust.TOKEN_ONLY))
_LOOKED_AT = 10_000

_EXPECT = (
    "INSERT INTO deadlines (job_id, due_ms) VALUES (?, ?) ON CONFLICT (job_id) DO UPDATE SET due_ms = excluded.due_ms"
)

# A job whose result is being asked for already needs no second ladder.
_ASK = f"""
    INSERT INTO tasks (kind, subject, state, attempts, due_ms, created_ms)
    SELECT '{TaskKind.RECONCILE.value}', d.job_id, 'ready', 0, ?1, ?1
    FROM deadlines d JOIN jobs j ON j.id = d.job_id
    WHERE d.due_ms <= ?1 AND j.status NOT IN ({_ENDED}) AND j.overdue_ms IS NULL AND NOT EXISTS (
        SELECT 1 FROM tasks t WHERE t.kind = '{TaskKind.FETCH_RESULT.value}' AND t.subject = d.job_id
            AND t.state IN ('ready', 'leased'))
    ON CONFLICT (kind, subject) DO NOTHING
"""  # noqa: S608 - constants of ours

# Job ids begin with their time, so the newest rows are the latest jobs: no index of its own has to be kept for this.
_TIMES = f"""
    SELECT provider, request, waited_ms FROM (
        SELECT id, provider, trust, request, called_back_ms - submitted_ms AS waited_ms
        FROM jobs ORDER BY id DESC LIMIT {_LOOKED_AT}
    ) AS latest WHERE waited_ms >= 0 AND trust IN ({_CALLED_BACK}) ORDER BY id DESC
"""  # noqa: S608


def expect(raw: Raw, job_id: str, due_at: datetime) -> None:
    """Note until when a job has to be called back."""
    raw.execute(_EXPECT, (job_id, to_ms(due_at)))


def sweep(raw: Raw, now: datetime) -> None:
    """Make questions of the deadlines that are past, and forget them. Jobs that have ended are forgotten alone."""
    if raw.execute("SELECT 1 FROM deadlines WHERE due_ms <= ? LIMIT 1", (to_ms(now),)).fetchone():
        raw.execute(_ASK, (to_ms(now),))
        raw.execute("DELETE FROM deadlines WHERE due_ms <= ?", (to_ms(now),))


def callback_times(raw: Raw) -> list[CallbackTimes]:
    """How long the latest jobs took until they were really called back, kind by kind; answers to questions are none."""
    kinds: dict[tuple[str, str], Kind] = {}  # many requests are alike
    times: defaultdict[Kind, list[float]] = defaultdict(list)
    for row in raw.execute(_TIMES):
        told = (row["provider"], row["request"])
        if told not in kinds:
            kinds[told] = kind_of(row["provider"], msgspec.json.decode(row["request"]))
        times[kinds[told]].append(row["waited_ms"] / 1000)
    return [
        CallbackTimes(provider=provider, quality=quality, duration=duration, seconds=seconds[:REMEMBERED])
        for (provider, quality, duration), seconds in times.items()
    ]


def keep_overdue(raw: Raw, job_id: str, reason: str, now: datetime, describe: Describe) -> None:
    """Let a job that has not ended be overdue, and say so; but only once."""
    job = read_job(raw, "j.id = ?", job_id)
    if job is None or job.overdue_at is not None:
        return
    raw.execute("UPDATE jobs SET overdue_ms = ?, overdue_reason = ? WHERE id = ?", (to_ms(now), reason, job_id))
    announce(raw, job_id, NotificationType.JOB_OVERDUE, now, describe)
