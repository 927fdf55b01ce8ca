"""What a round of throwing away looks for in the database, table by table, and how each is removed.

Each walk looks at a bounded number of rows at a time and removes by their keys, with its conditions asked again in the
transaction that removes: what was put back or begun meanwhile stays.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from replyhook.ids import new_id
from replyhook.jobs import AssetStatus
from replyhook_receiver.stores.retention import NONCES_FOR, ORPHANS_FOR, KeepFor
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.idempotency import KEPT_FOR
from replyhook_receiver.stores.sql.leaving import (
    ROWS_AT_A_TIME,
    note_unwanted,
    remove_notification,
    remove_some,
    remove_told,
)
from replyhook_receiver.stores.sql.rows import to_ms
from replyhook_receiver.stores.sql.unfinished import DELIVERS, UNFINISHED

_LOOKED_AT = 1_000
_JOBS_AT_A_TIME = 10
_DELIVERS = DELIVERS.format(job="n.job_id")

Place = tuple[object, ...]
Keys = list[tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A walk through one table: ``look`` finds what goes, and where to go on from; ``remove`` takes it away.

    At most ``step`` keys go in one commit.
    """

    what: str
    start: Place
    look: Callable[[Raw, Place], tuple[Keys, Place | None]]
    remove: Callable[[Raw, Keys], int]
    step: int = ROWS_AT_A_TIME


_NOTIFICATIONS = f"""
    SELECT n.sequence, n.created_ms < ?2 AS is_old,
        n.created_ms < ?2 AND n.sequence < (SELECT max(sequence) FROM notifications) AND NOT {_DELIVERS} AS goes
    FROM notifications n WHERE n.sequence > ?1 ORDER BY n.sequence LIMIT ?3
"""  # noqa: S608 - ours
_NOTIFICATION = f"""
    SELECT n.sequence FROM notifications n WHERE n.sequence = ?1 AND n.created_ms < ?2 AND NOT {_DELIVERS}
        AND n.sequence < (SELECT max(sequence) FROM notifications)
"""  # noqa: S608
# A task that is dead stays as long as its job: it keeps a link that was given up from being tried again.
_IS_OVER = f"""t.state = 'done' AND t.kind <> 'notify' AND t.finished_ms < ?1
    AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = t.subject AND (j.finished_ms IS NULL OR {UNFINISHED}))"""  # noqa: S608 - ours
_TASKS = f"""
    SELECT t.kind, t.subject, {_IS_OVER} AS goes FROM tasks t
    WHERE (t.kind, t.subject) > (?2, ?3) ORDER BY t.kind, t.subject LIMIT ?4
"""  # noqa: S608
_NONCES = """
    SELECT provider, account, nonce, seen_ms < ?1 AS goes FROM nonces
    WHERE (provider, account, nonce) > (?2, ?3, ?4) ORDER BY provider, account, nonce LIMIT ?5
"""
_IS_PAST = f"j.created_ms < ?1 AND coalesce(j.finished_ms, j.created_ms) < ?1 AND NOT {UNFINISHED}"
_JOBS = f"""
    SELECT j.id, {_IS_PAST} AND (
            NOT EXISTS (SELECT 1 FROM assets a WHERE a.job_id = j.id AND a.status = 'stored')
            OR EXISTS (SELECT 1 FROM callbacks c WHERE c.job_id = j.id)) AS goes
    FROM jobs j WHERE j.id > ?2 ORDER BY j.id LIMIT ?3
"""  # noqa: S608
_PAST_JOB = f"""
    SELECT EXISTS (SELECT 1 FROM assets a WHERE a.job_id = j.id AND a.status = 'stored') AS has_video
    FROM jobs j WHERE j.id = ?2 AND {_IS_PAST}
"""  # noqa: S608
_VIDEOS = """
    SELECT job_id, status = 'stored' AND stored_ms < ?1 AS goes FROM assets WHERE job_id > ?2 ORDER BY job_id LIMIT ?3
"""


def walks(keep: KeepFor, now: datetime) -> Iterator[Walk]:
    """All of one round, but the bodies."""
    told_ms, history_ms = to_ms(now - keep.notifications), to_ms(now - keep.history)
    yield Walk(
        what="orphans",
        start=("",),
        look=partial(_old_orphans, id_at(now - ORPHANS_FOR)),
        remove=_remove_orphans,
    )
    yield Walk(
        what="notifications",
        start=(0,),
        look=partial(_old_notifications, told_ms),
        remove=partial(_remove_notifications, told_ms),
        step=ROWS_AT_A_TIME // 2,
    )
    yield Walk(
        what="tasks", start=("", ""), look=partial(_walk, _TASKS, told_ms), remove=partial(_remove_tasks, told_ms)
    )
    nonces_ms = to_ms(now - NONCES_FOR)
    yield Walk(what="signatures", start=("",) * 3, look=partial(_walk, _NONCES, nonces_ms), remove=_remove_nonces)
    yield Walk(
        what="answers", start=(0, "", ""), look=partial(_old_answers, to_ms(now - KEPT_FOR)), remove=_remove_answers
    )
    yield Walk(
        what="jobs",
        start=("",),
        look=partial(_walk, _JOBS, history_ms),
        remove=partial(_remove_jobs, history_ms, now),
        step=_JOBS_AT_A_TIME,
    )
    if keep.videos is not None:
        stored_ms = to_ms(now - keep.videos)
        look, remove = partial(_walk, _VIDEOS, stored_ms), partial(_end_videos, stored_ms, now)
        yield Walk(what="videos", start=("",), look=look, remove=remove)


def id_at(when: datetime) -> str:
    """An id that sorts after those of callbacks before ``when`` and before those after it."""
    return new_id("cb", at=max(when.timestamp(), 0.0))


def note_through(raw: Raw, what: str, through: str) -> None:
    """Note how far a walk has come."""
    statement = "INSERT INTO pruning (what, through) VALUES (?1, ?2) ON CONFLICT (what) DO UPDATE SET through = ?2"
    raw.execute(statement, (what, through))


def _walk(statement: str, before_ms: int, raw: Raw, place: Place) -> tuple[Keys, Place | None]:
    """The keys that go among the next rows after ``place``, and the place to go on from."""
    rows = raw.execute(statement, (before_ms, *place, _LOOKED_AT)).fetchall()
    keys = [tuple(row)[:-1] for row in rows if row["goes"]]
    return keys, tuple(rows[-1])[:-1] if len(rows) == _LOOKED_AT else None


def _old_orphans(before: str, raw: Raw, place: Place) -> tuple[Keys, Place | None]:
    statement = "SELECT id FROM callbacks WHERE job_id IS NULL AND id > ? AND id < ? ORDER BY id LIMIT ?"
    rows = raw.execute(statement, (*place, before, _LOOKED_AT)).fetchall()
    return [tuple(row) for row in rows], tuple(rows[-1]) if len(rows) == _LOOKED_AT else None


def _remove_orphans(raw: Raw, keys: Keys) -> int:
    own = "SELECT event_key FROM callbacks WHERE id = ?1 AND job_id IS NULL"
    events = f"DELETE FROM events WHERE job_id IS NULL AND callback_id = ?1 AND key = ({own})"  # noqa: S608 - ours
    raw.executemany(events, keys)
    raw.executemany("DELETE FROM kept_bodies WHERE callback_id = ?", keys)
    return raw.executemany("DELETE FROM callbacks WHERE id = ? AND job_id IS NULL", keys).rowcount


def _old_notifications(before_ms: int, raw: Raw, place: Place) -> tuple[Keys, Place | None]:
    rows = raw.execute(_NOTIFICATIONS, (*place, before_ms, _LOOKED_AT)).fetchall()
    keys: Keys = [(row["sequence"],) for row in rows if row["goes"]]
    goes_on = len(rows) == _LOOKED_AT and rows[-1]["is_old"]
    return keys, (rows[-1]["sequence"],) if goes_on else None


def _remove_notifications(before_ms: int, raw: Raw, keys: Keys) -> int:
    gone = [
        sequence
        for (sequence,) in keys
        if raw.execute(_NOTIFICATION, (sequence, before_ms)).fetchone() and remove_notification(raw, int(str(sequence)))
    ]
    if gone:
        row = raw.execute("SELECT through FROM pruning WHERE what = 'stream'").fetchone()
        note_through(raw, "stream", str(max(int(row["through"]) if row else 0, *(int(str(each)) for each in gone))))
    return len(gone)


def _remove_tasks(before_ms: int, raw: Raw, keys: Keys) -> int:
    statement = f"DELETE FROM tasks AS t WHERE t.kind = ?2 AND t.subject = ?3 AND {_IS_OVER}"  # noqa: S608 - ours
    return raw.executemany(statement, [(before_ms, *key) for key in keys]).rowcount


def _remove_nonces(raw: Raw, keys: Keys) -> int:
    return raw.executemany("DELETE FROM nonces WHERE provider = ? AND account = ? AND nonce = ?", keys).rowcount


def _old_answers(before_ms: int, raw: Raw, place: Place) -> tuple[Keys, Place | None]:
    statement = """
        SELECT created_ms, caller, key FROM idempotency
        WHERE created_ms <= ? AND (created_ms, caller, key) > (?, ?, ?) ORDER BY created_ms, caller, key LIMIT ?
    """
    rows = raw.execute(statement, (before_ms, *place, _LOOKED_AT)).fetchall()
    return [tuple(row) for row in rows], tuple(rows[-1]) if len(rows) == _LOOKED_AT else None


def _remove_answers(raw: Raw, keys: Keys) -> int:
    statement = "DELETE FROM idempotency WHERE created_ms = ? AND caller = ? AND key = ?"
    return raw.executemany(statement, keys).rowcount


def _remove_jobs(before_ms: int, now: datetime, raw: Raw, keys: Keys) -> int:
    """Remove jobs, as far as one commit may; a job with a stored video stays with it, and loses what was told of it.

    What is left over is found in the next round.
    """
    removed = 0
    for (job_id,) in keys:
        row = raw.execute(_PAST_JOB, (before_ms, job_id)).fetchone()
        if row is None:
            continue
        if row["has_video"]:
            removed += remove_told(raw, str(job_id)) > 0
        else:
            removed += _until_gone(raw, str(job_id), now)
    return removed


def _until_gone(raw: Raw, job_id: str, now: datetime) -> bool:
    # Callbacks, events, notifications, the job: an ordinary job is gone after four; a huge one takes more rounds.
    return any(remove_some(raw, job_id, now=now) for _ in range(4))


def _end_videos(before_ms: int, now: datetime, raw: Raw, keys: Keys) -> int:
    ended = 0
    for (job_id,) in keys:
        statement = "SELECT name FROM assets WHERE job_id = ? AND status = 'stored' AND stored_ms < ?"
        row = raw.execute(statement, (job_id, before_ms)).fetchone()
        if row is not None:
            end = "UPDATE assets SET status = ?, name = NULL, poster = NULL, problem = ? WHERE job_id = ?"
            raw.execute(end, (AssetStatus.EXPIRED.value, "removed after keep_videos_days", job_id))
            note_unwanted(raw, row["name"], now)
            ended += 1
    return ended
