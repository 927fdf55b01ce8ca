"""The task table: adding, claiming and finishing work. What a finish leads to besides is ``outcomes``."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol

import msgspec

from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.inserts import Insert
from replyhook_receiver.stores.sql.rows import from_ms, to_ms
from replyhook_receiver.tasks import Task

_TASK = "tasks (kind, subject, due_ms, created_ms, state, attempts)"
_NEW = ("'ready'", "0")
_ADD = Insert(
    _TASK,
    4,
    """ON CONFLICT (kind, subject) DO UPDATE SET state = 'ready', due_ms = excluded.due_ms, problem = NULL,
        attempts = CASE WHEN tasks.state = 'held' THEN tasks.attempts ELSE 0 END
    WHERE tasks.state IN ('done', 'held')""",
    constants=_NEW,
)
_REVIVE = Insert(
    _TASK,
    4,
    """ON CONFLICT (kind, subject) DO UPDATE SET
        state = CASE WHEN tasks.state IN ('done', 'held', 'dead') THEN 'ready' ELSE tasks.state END,
        attempts = CASE WHEN tasks.state IN ('leased', 'held') THEN tasks.attempts ELSE 0 END,
        due_ms = CASE WHEN tasks.state = 'leased' OR tasks.state = 'ready' AND tasks.due_ms < excluded.due_ms
            THEN tasks.due_ms ELSE excluded.due_ms END,
        problem = CASE WHEN tasks.state IN ('ready', 'leased') THEN tasks.problem END,
        again = CASE WHEN tasks.state = 'leased' THEN 1 ELSE tasks.again END""",
    constants=_NEW,
)
_ALL_ATTEMPTS = 1_000_000_000
_LOOKED_AT = 200  # due deliveries at a time: those that may not go out are not due afterwards
_BEGIN_ATTEMPT = """
    INSERT INTO attempts (delivery_id, number, begun_ms)
    SELECT ?, coalesce(max(number), 0) + 1, ? FROM attempts WHERE delivery_id = ?
"""


class NewTask(msgspec.Struct, frozen=True, gc=False):
    """A task to be there.

    ``revive`` says that there is something new to it: a given-up one is put back, one that waits for its next try is
    tried at once, a running one begins anew when it should fail.
    """

    kind: TaskKind
    subject: str
    due_at: datetime
    revive: bool = False


class Admission(Protocol):
    """Which due deliveries may go out: ``turns.Turns``."""

    def expect(self, delivery_ids: Iterable[str], *, limit: int) -> None:
        """These will be asked for, in this order, until ``limit`` were admitted."""

    def admit(self, delivery_id: str) -> bool:
        """Whether it may go out; if not, its task is not due any more."""

    def settle(self) -> None:
        """Nobody is asked for any more."""


def add_tasks(raw: Raw, tasks: Iterable[NewTask]) -> None:
    """Make sure that there are these tasks. One that waits stays as it is; one that is held is looked at again."""
    plain: list[NewTask] = []
    reviving: list[NewTask] = []
    for task in tasks:
        (reviving if task.revive else plain).append(task)
    _write(raw, _ADD, plain)
    _write(raw, _REVIVE, reviving)


def _write(raw: Raw, insert: Insert, tasks: Sequence[NewTask]) -> None:
    """Each once a statement: PostgreSQL changes no row twice in one."""
    while tasks:
        rows: dict[tuple[str, str], tuple[object, ...]] = {}
        again = []
        for task in tasks:
            due_ms, key = to_ms(task.due_at), (task.kind._value_, task.subject)
            if key in rows:
                again.append(task)
            else:
                rows[key] = (*key, due_ms, due_ms)
        insert.write(raw, list(rows.values()))
        tasks = again


def add_task(raw: Raw, kind: TaskKind, subject: str, *, now: datetime, revive: bool = False) -> None:
    """Make sure that there is this one task."""
    add_tasks(raw, [NewTask(kind, subject, now, revive)])


def claim(
    raw: Raw,
    kinds: Sequence[TaskKind],
    *,
    limit: int,
    lease: timedelta,
    now: datetime,
    deliveries: Admission,
) -> list[Task]:
    """Take due tasks, oldest duty first, and those whose lease has run out.

    Of deliveries those that are admitted: the others are not due after it, and whoever finds too few looks again.
    """
    looked_at = max(limit, _LOOKED_AT) if TaskKind.NOTIFY in kinds else limit
    rows = due_tasks(raw, kinds, limit=looked_at, now=now)
    deliveries.expect((row["subject"] for row in rows if row["kind"] == TaskKind.NOTIFY), limit=limit)
    admitted = (row for row in rows if row["kind"] != TaskKind.NOTIFY or deliveries.admit(row["subject"]))
    taken = list(islice(admitted, limit))
    deliveries.settle()
    return lease_tasks(raw, taken, lease=lease, now=now)


def held(raw: Raw, kinds: Sequence[TaskKind], *, now: datetime) -> int:
    """How many of these kinds are being worked on, by all workers together."""
    marks = ", ".join("?" for _ in kinds)
    statement = (
        f"SELECT count(*) AS held FROM tasks WHERE state = 'leased' AND lease_until_ms > ? AND kind IN ({marks})"  # noqa: S608 - question marks only
    )
    count: int = raw.execute(statement, (to_ms(now), *kinds)).fetchone()["held"]
    return count


def due_tasks(
    raw: Raw,
    kinds: Sequence[TaskKind],
    *,
    limit: int,
    now: datetime,
    but_pending_videos: bool = False,
) -> list[Row]:
    """Due tasks, oldest duty first, and those whose lease has run out."""
    marks = ", ".join("?" for _ in kinds)
    pending = "(SELECT 1 FROM assets a WHERE a.job_id = tasks.subject AND a.status = 'pending')"
    more = f"AND NOT EXISTS {pending}" if but_pending_videos else ""
    return raw.execute(
        f"""
        SELECT kind, subject, attempts, due_ms FROM tasks
            WHERE state = 'ready' AND due_ms <= ? AND kind IN ({marks}) {more}
        UNION ALL
        SELECT kind, subject, attempts, due_ms FROM tasks
            WHERE state = 'leased' AND lease_until_ms <= ? AND kind IN ({marks}) {more}
        ORDER BY due_ms LIMIT ?
        """,  # noqa: S608 - question marks only
        (to_ms(now), *kinds, to_ms(now), *kinds, limit),
    ).fetchall()


def lease_tasks(raw: Raw, rows: Iterable[Row], *, lease: timedelta, now: datetime) -> list[Task]:
    """Take these tasks. The attempt counts before it is made."""
    until = now + lease
    tasks = [
        Task(
            kind=TaskKind(row["kind"]),
            subject=row["subject"],
            attempt=row["attempts"] + 1,
            lease=secrets.token_hex(8),
            lease_until=until,
        )
        for row in rows
    ]
    raw.executemany(
        "UPDATE tasks SET state = 'leased', attempts = ?, lease = ?, lease_until_ms = ? WHERE kind = ? AND subject = ?",
        [(task.attempt, task.lease, to_ms(until), task.kind, task.subject) for task in tasks],
    )
    notices = [(task.subject, to_ms(now), task.subject) for task in tasks if task.kind is TaskKind.NOTIFY]
    raw.executemany(_BEGIN_ATTEMPT, notices)
    return tasks


def renew(raw: Raw, held: Sequence[Task], *, lease: timedelta, now: datetime) -> set[str]:
    """Prolong claims; the leases that were still held."""
    statement = "UPDATE tasks SET lease_until_ms = ? WHERE kind = ? AND subject = ? AND state = 'leased' AND lease = ?"
    until = to_ms(now + lease)
    return {
        task.lease
        for task in held
        if raw.execute(statement, (until, task.kind, task.subject, task.lease)).rowcount == 1
    }


def bring_forward(raw: Raw, by: timedelta) -> None:
    """Let every waiting task, every deadline and every pause of an endpoint be over so much earlier."""
    by_ms = by // timedelta(milliseconds=1)
    raw.execute("UPDATE tasks SET due_ms = due_ms - ? WHERE state = 'ready'", (by_ms,))
    raw.execute("UPDATE deadlines SET due_ms = due_ms - ?", (by_ms,))
    raw.execute("UPDATE last_calls SET due_ms = due_ms - ?", (by_ms,))
    raw.execute("UPDATE places SET probe_ms = probe_ms - ?", (by_ms,))


def settle_times(raw: Raw, *, latest_due: datetime, latest_lease: datetime, now: datetime) -> int:
    """Let what waits longer than anything may wait, since the clock was once ahead, be due now; how many there were."""
    ready = "UPDATE tasks SET due_ms = ? WHERE state = 'ready' AND due_ms > ?"
    leased = "UPDATE tasks SET lease_until_ms = ? WHERE state = 'leased' AND lease_until_ms > ?"
    moved = raw.execute(ready, (to_ms(now), to_ms(latest_due))).rowcount
    return moved + raw.execute(leased, (to_ms(now), to_ms(latest_lease))).rowcount


def release(
    raw: Raw,
    task: Task,
    *,
    state: str,
    due_at: datetime,
    problem: str | None,
    now: datetime,
    counts: bool = True,
    leases: dict[str, bool] | None = None,
) -> str | None:
    """End a claim: the task is ``done``, ``dead``, or ``ready`` again at ``due_at``.

    The state it really has then: ``ready`` where it begins anew. None when the lease was lost. ``leases`` are those
    that are held, with whether their tasks begin anew, where that was read before in this transaction.
    """
    held = "kind = ? AND subject = ? AND state = 'leased' AND lease = ?"
    mine = (task.kind, task.subject, task.lease)
    if leases is None:
        row = raw.execute(f"SELECT again FROM tasks WHERE {held}", mine).fetchone()  # noqa: S608 - a constant of ours
        again = None if row is None else bool(row["again"])
    else:
        again = leases.pop(task.lease, None)
    if again is None:
        return None
    anew = again and state != "done"
    after = "ready" if anew else state
    less = int(not counts)
    raw.execute(
        f"""
        UPDATE tasks SET state = ?, due_ms = ?, attempts = CASE WHEN attempts < ? THEN 0 ELSE attempts - ? END,
            again = 0, lease = NULL, lease_until_ms = NULL, problem = ?, finished_ms = ?
        WHERE {held}
        """,  # noqa: S608
        (
            after,
            to_ms(now if anew else due_at),
            _ALL_ATTEMPTS if anew else less,
            less,
            problem,
            None if after == "ready" else to_ms(now),
            *mine,
        ),
    )
    return after


def next_due(raw: Raw, kinds: Sequence[TaskKind]) -> datetime | None:
    """When the earliest waiting task of these kinds is due, or the earliest lease runs out; for questions about jobs
    that are overdue, when the earliest is, and for links that end, when that is to be said."""
    marks = ", ".join("?" for _ in kinds)
    deadlines = "UNION ALL SELECT min(due_ms) FROM deadlines" if TaskKind.RECONCILE in kinds else ""
    last_calls = "UNION ALL SELECT min(due_ms) FROM last_calls" if TaskKind.EXPIRING in kinds else ""
    row = raw.execute(
        f"""
        SELECT min(due) AS due FROM (
            SELECT min(due_ms) AS due FROM tasks WHERE state = 'ready' AND kind IN ({marks})
            UNION ALL SELECT min(lease_until_ms) FROM tasks WHERE state = 'leased' AND kind IN ({marks})
            {deadlines}
            {last_calls}
        ) AS dues
        """,  # noqa: S608 - question marks, and constants
        (*kinds, *kinds),
    ).fetchone()
    return from_ms(row["due"])
