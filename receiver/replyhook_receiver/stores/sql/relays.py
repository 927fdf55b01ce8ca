"""Places at the providers' accounts: who has one, who waits, and who is next. Decided where tasks are claimed."""

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import from_ms, to_ms

LOW_DISK = "low disk"
"""How the problem of a submit that waits for room begins."""

_RELAY = TaskKind.RELAY.value

# A submit that was begun has its place already, and needs none to be told that it was.
_ARRIVED = f"""
    SELECT j.id, j.provider, j.account, t.created_ms
    FROM tasks t INDEXED BY relays_held JOIN jobs j ON j.id = t.subject
    WHERE t.kind = '{_RELAY}' AND t.state IN ('ready', 'leased') AND t.state = 'ready' AND t.due_ms <= ?
        AND j.submitting_ms IS NULL AND j.provider IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - ours
# No more are counted than there are places: of jobs that their callers submit there may be any number.
_HELD = f"""
    SELECT count(*) AS held FROM (
        SELECT id FROM jobs INDEXED BY jobs_under_way WHERE provider = ?1 AND account = ?2
            AND registration IS NOT NULL AND finished_ms IS NULL AND overdue_ms IS NULL
            AND (submitting_ms IS NOT NULL OR status <> 'created')
        UNION ALL
        SELECT t.subject FROM tasks t INDEXED BY relays_held JOIN jobs j ON j.id = t.subject
            WHERE t.kind = '{_RELAY}' AND t.state IN ('ready', 'leased') AND j.provider = ?1 AND j.account = ?2
                AND j.submitting_ms IS NULL AND j.status = 'created'
        LIMIT ?3
    ) AS places
"""  # noqa: S608
_NEXT_QUEUE = """
    SELECT provider, account FROM relay_queue WHERE (provider, account) > (?, ?) ORDER BY provider, account LIMIT 1
"""
_FIRST = "SELECT job_id FROM relay_queue WHERE provider = ? AND account = ? ORDER BY arrived_ms, job_id LIMIT ?"


class SQLRelays:
    """The Relays protocol over the database. ``max_jobs`` is by provider; 0 or nothing: no limit."""

    def __init__(self, database: Database, max_jobs: Mapping[str, int]) -> None:
        self._database = database
        self.max_jobs = {provider: places for provider, places in max_jobs.items() if places > 0}

    async def refused_since(self, job_id: str) -> datetime | None:
        statement = "SELECT since_ms FROM relay_refusals WHERE job_id = ?"
        row = await self._database.read(lambda raw: raw.execute(statement, (job_id,)).fetchone())
        return from_ms(row["since_ms"]) if row else None

    async def is_begun(self, job_id: str) -> bool:
        statement = "SELECT 1 FROM jobs WHERE id = ? AND submitting_ms IS NOT NULL"
        return await self._database.read(lambda raw: raw.execute(statement, (job_id,)).fetchone() is not None)

    async def waiting_for(self, job_id: str) -> str | None:
        return await self._database.read(lambda raw: _waiting_for(raw, job_id, self.max_jobs))


def admit(raw: Raw, max_jobs: Mapping[str, int], *, limit: int, now: datetime) -> None:
    """Let what has arrived queue up, where there is a limit, and make up to ``limit`` of those in front ready."""
    if max_jobs:
        _queue_up(raw, max_jobs, now)
    for provider, account in _queues(raw):
        places = min(_free(raw, provider, account, max_jobs), limit)
        chosen = [row["job_id"] for row in raw.execute(_FIRST, (provider, account, places))]
        ready = f"UPDATE tasks SET state = 'ready' WHERE kind = '{_RELAY}' AND subject = ? AND state = 'waiting'"  # noqa: S608
        raw.executemany(ready, [(job_id,) for job_id in chosen])
        left = "DELETE FROM relay_queue WHERE provider = ? AND account = ? AND job_id = ?"
        raw.executemany(left, [(provider, account, job_id) for job_id in chosen])


def next_is_free(raw: Raw, max_jobs: Mapping[str, int]) -> bool:
    """Whether somebody waits for whom there is a place."""
    return any(_free(raw, provider, account, max_jobs) for provider, account in _queues(raw))


def keep_refusal(raw: Raw, job_id: str, now: datetime) -> None:
    """Let a submit that was certainly refused be begun again; waiting uses up none of its task's attempts."""
    raw.execute("UPDATE jobs SET submitting_ms = NULL WHERE id = ? AND submission IS NULL", (job_id,))
    statement = "INSERT INTO relay_refusals (job_id, since_ms) VALUES (?, ?) ON CONFLICT DO NOTHING"
    raw.execute(statement, (job_id, to_ms(now)))
    raw.execute("UPDATE tasks SET attempts = 0 WHERE kind = ? AND subject = ?", (_RELAY, job_id))


def _queue_up(raw: Raw, max_jobs: Mapping[str, int], now: datetime) -> None:
    names = msgspec.json.encode(list(max_jobs)).decode()
    arrived = raw.execute(_ARRIVED, (to_ms(now), names)).fetchall()
    raw.executemany(
        "INSERT INTO relay_queue (job_id, provider, account, arrived_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [tuple(row) for row in arrived],
    )
    waits = f"UPDATE tasks SET state = 'waiting' WHERE kind = '{_RELAY}' AND subject = ?"  # noqa: S608 - ours
    raw.executemany(waits, [(row["id"],) for row in arrived])


def _queues(raw: Raw) -> Iterator[tuple[str, str]]:
    """The accounts at which somebody waits: one look each, however many wait there."""
    place = ("", "")
    while row := raw.execute(_NEXT_QUEUE, place).fetchone():
        place = (row["provider"], row["account"])
        yield place


def _free(raw: Raw, provider: str, account: str, max_jobs: Mapping[str, int]) -> int:
    places = max_jobs.get(provider)
    if places is None:
        return 1_000_000  # there was a limit when they came
    held: int = raw.execute(_HELD, (provider, account, places)).fetchone()[0]
    return places - held


def _waiting_for(raw: Raw, job_id: str, max_jobs: Mapping[str, int]) -> str | None:
    statement = """
        SELECT t.state, t.due_ms, t.problem, t.created_ms, j.provider, j.account, j.submitting_ms, r.since_ms
        FROM tasks t JOIN jobs j ON j.id = t.subject LEFT JOIN relay_refusals r ON r.job_id = t.subject
        WHERE t.kind = ? AND t.subject = ?
    """
    row = raw.execute(statement, (_RELAY, job_id)).fetchone()
    if row is None:
        return None
    if row["state"] == "waiting":
        before = "SELECT count(*) FROM relay_queue WHERE provider = ? AND account = ? AND (arrived_ms, job_id) < (?, ?)"
        ahead = raw.execute(before, (row["provider"], row["account"], row["created_ms"], job_id)).fetchone()[0]
        return f"a place at {row['provider']} (max_jobs is {max_jobs.get(row['provider'], 0)}); {ahead} before it"
    until = from_ms(row["due_ms"])
    if row["state"] == "ready" and row["submitting_ms"] is None and (row["problem"] or "").startswith(LOW_DISK):
        return (
            f"room where videos are stored, which is looked for again at {until:%Y-%m-%dT%H:%M:%SZ}: {row['problem']}"
        )
    if row["state"] == "ready" and row["since_ms"] is not None:
        return f"{row['provider']}, which is asked again at {until:%Y-%m-%dT%H:%M:%SZ}: {row['problem']}"
    return None
