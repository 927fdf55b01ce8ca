"""Links in the database: when they end, which is tried next, and when it has to be said that one ends."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from replyhook.jobs import AssetStatus
from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.link_expiry import life_of
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.links import Refused, Waiting, WaitingLink
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.facts import announce
from replyhook_receiver.stores.sql.holding import is_held
from replyhook_receiver.stores.sql.rows import from_ms, read_job, to_ms
from replyhook_receiver.stores.sql.tasks import due_tasks, lease_tasks
from replyhook_receiver.tasks import Task

LOOKED_AT = 1_000
"""How many due downloads are looked at for one whose host has room; what is behind so many of full hosts waits."""

_DATED_AT_A_TIME = 2_000

# A link was told when the last callback came that told of it: repeats of a fact keep its event's key.
_UNDATED = f"""
    SELECT a.job_id, a.url, j.provider, coalesce(
        (SELECT max(c.received_ms) FROM callbacks c JOIN events e ON e.key = c.event_key
            WHERE c.job_id = a.job_id AND e.result_url = a.url),
        j.finished_ms, j.created_ms) AS told_ms
    FROM assets a INDEXED BY assets_undated JOIN jobs j ON j.id = a.job_id
    WHERE a.status = 'pending' AND a.expires_ms IS NULL AND a.url IS NOT NULL LIMIT {_DATED_AT_A_TIME}
"""  # noqa: S608 - a number of ours
_ANY_UNDATED = "SELECT 1 FROM assets WHERE status = 'pending' AND expires_ms IS NULL AND url IS NOT NULL LIMIT 1"
_LAST_CALL = """
    INSERT INTO last_calls (job_id, due_ms) VALUES (?, ?) ON CONFLICT (job_id) DO UPDATE SET due_ms = excluded.due_ms
"""
_BY_EXPIRY = f"""
    SELECT t.kind, t.subject, t.attempts, t.due_ms, a.url, a.expires_ms
    FROM assets a INDEXED BY assets_by_expiry
        JOIN tasks t ON t.kind = '{TaskKind.DOWNLOAD.value}' AND t.subject = a.job_id
    WHERE a.status = 'pending' AND a.expires_ms IS NOT NULL
        AND ((t.state = 'ready' AND t.due_ms <= ?1) OR (t.state = 'leased' AND t.lease_until_ms <= ?1))
    ORDER BY a.expires_ms LIMIT {LOOKED_AT}
"""  # noqa: S608
_HELD = f"""
    SELECT a.url FROM tasks t JOIN assets a ON a.job_id = t.subject
    WHERE t.state = 'leased' AND t.lease_until_ms > ?1 AND t.kind = '{TaskKind.DOWNLOAD.value}'
"""  # noqa: S608
# Once a job: a second link's end is not told after the first one's.
_TELL = f"""
    INSERT INTO tasks (kind, subject, state, attempts, due_ms, created_ms)
    SELECT '{TaskKind.EXPIRING.value}', job_id, 'ready', 0, ?1, ?1 FROM last_calls WHERE due_ms <= ?1
    ON CONFLICT (kind, subject) DO NOTHING
"""  # noqa: S608

PENDING_VIDEOS = """
    SELECT job_id, expires_ms FROM assets WHERE status = 'pending' AND expires_ms IS NOT NULL
    UNION ALL SELECT job_id, expires_ms FROM assets WHERE status = 'pending' AND expires_ms IS NULL
"""
"""The videos on their way, each half of them by an index of its own."""
_WAITING = f"""
    SELECT count(*) AS videos, min(expires_ms) AS next_end, coalesce(sum(CASE WHEN EXISTS (
            SELECT 1 FROM tasks t WHERE t.kind = '{TaskKind.EXPIRING.value}' AND t.subject = a.job_id
        ) THEN 1 ELSE 0 END), 0) AS expiring
    FROM ({PENDING_VIDEOS}) a
"""  # noqa: S608


class SQLLinks:
    """The Links protocol. ``lifetime`` is how long a provider's links live where they do not say it themselves."""

    def __init__(self, database: Database, *, lifetime: Callable[[str], timedelta]) -> None:
        self._database = database
        self._lifetime = lifetime

    async def date(self) -> None:
        if await self._database.read(lambda raw: raw.execute(_ANY_UNDATED).fetchone()):
            await self._database.write(lambda raw: date(raw, self._lifetime))

    async def claim(
        self,
        *,
        limit: int,
        at_once: int,
        per_host: int,
        counted_as: Callable[[str], str],
        lease: timedelta,
        now: datetime,
    ) -> list[Task]:
        def work(raw: Raw) -> list[Task]:
            date(raw, self._lifetime)
            if is_held(raw):
                return []
            taken = Counter(counted_as(row["url"] or "") for row in raw.execute(_HELD, (to_ms(now),)))
            places = min(limit, at_once - taken.total())
            if places <= 0:
                return []
            rows = _first_to_end(raw, taken, limit=places, per_host=per_host, counted_as=counted_as, now=now)
            return lease_tasks(raw, rows, lease=lease, now=now)

        return await self._database.write(work)

    async def first_waiting(self, *, now: datetime) -> list[WaitingLink]:
        rows = await self._database.read(lambda raw: raw.execute(_BY_EXPIRY, (to_ms(now),)).fetchall())
        ends = [(row["url"], from_ms(row["expires_ms"])) for row in rows]
        return [WaitingLink(url=url, ends_at=at) for url, at in ends if url is not None and at is not None]

    async def held(self, *, now: datetime) -> list[str]:
        rows = await self._database.read(lambda raw: raw.execute(_HELD, (to_ms(now),)).fetchall())
        return [row["url"] or "" for row in rows]

    async def count_refusal(self, job_id: str, url: str) -> Refused:
        def work(raw: Raw) -> Refused:
            raw.execute("UPDATE assets SET dead_answers = dead_answers + 1 WHERE job_id = ? AND url = ?", (job_id, url))
            found = "SELECT url, dead_answers, link_questions FROM assets WHERE job_id = ?"
            row = raw.execute(found, (job_id,)).fetchone()
            if row is None:
                return Refused(times=0, questions=0)
            return Refused(times=row["dead_answers"] if row["url"] == url else 0, questions=row["link_questions"])

        return await self._database.write(work)

    async def count_question(self, job_id: str, number: int) -> None:
        statement = "UPDATE assets SET link_questions = ? WHERE job_id = ?"
        await self._database.write(lambda raw: raw.execute(statement, (number, job_id)).rowcount)

    async def waiting(self) -> Waiting:
        row = await self._database.read(lambda raw: raw.execute(_WAITING).fetchone())
        return Waiting(videos=row["videos"], expiring=row["expiring"], next_end=from_ms(row["next_end"]))

    async def poster(self, job_id: str) -> str | None:
        statement = "SELECT poster FROM assets WHERE job_id = ?"
        row = await self._database.read(lambda raw: raw.execute(statement, (job_id,)).fetchone())
        return row["poster"] if row else None


def date(raw: Raw, lifetime: Callable[[str], timedelta]) -> None:
    """Note when the links end of which that is not noted yet, and when the last call for them is."""
    ends, calls = [], []
    for job_id, url, provider, told_ms in raw.execute(_UNDATED).fetchall():
        told_at = from_ms(told_ms)
        assert told_at is not None  # noqa: S101 - jobs.created_ms is NOT NULL
        life = life_of(url, told_at=told_at, lifetime=lifetime(provider))
        ends.append((to_ms(life.ends_at), job_id))
        calls.append((job_id, to_ms(life.last_call_at)))
    if ends:
        raw.executemany("UPDATE assets SET expires_ms = ? WHERE job_id = ?", ends)
        raw.executemany(_LAST_CALL, calls)


def sweep(raw: Raw, now: datetime) -> None:
    """Make tasks of the last calls that are due."""
    if raw.execute("SELECT 1 FROM last_calls WHERE due_ms <= ? LIMIT 1", (to_ms(now),)).fetchone():
        raw.execute(_TELL, (to_ms(now),))
        raw.execute("DELETE FROM last_calls WHERE due_ms <= ?", (to_ms(now),))


def announce_last_call(raw: Raw, job_id: str, now: datetime, describe: Describe) -> None:
    """Say that the video's link ends and it is not stored, if that is so."""
    job = read_job(raw, "j.id = ?", job_id)
    if job is not None and job.asset.status is AssetStatus.PENDING:
        announce(raw, job_id, NotificationType.VIDEO_EXPIRING, now, describe)


def end(raw: Raw, job_id: str) -> None:
    """The video is stored or given up: nobody waits for its link any more."""
    raw.execute("DELETE FROM last_calls WHERE job_id = ?", (job_id,))


def _first_to_end(
    raw: Raw, taken: Counter[str], *, limit: int, per_host: int, counted_as: Callable[[str], str], now: datetime
) -> list[Row]:
    chosen: list[Row] = []
    for row in raw.execute(_BY_EXPIRY, (to_ms(now),)):
        if len(chosen) == limit:
            return chosen
        host = counted_as(row["url"] or "")
        if taken[host] < per_host:
            taken[host] += 1
            chosen.append(row)
    # What waits for no link (its video came otherwise) is done in no time.
    others = due_tasks(raw, [TaskKind.DOWNLOAD], limit=limit, now=now, but_pending_videos=True)
    return [*chosen, *others[: limit - len(chosen)]]
