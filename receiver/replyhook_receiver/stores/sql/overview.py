"""How things went lately, in SQL: ids begin with their time, so the newest rows are found by the primary key alone."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from replyhook.ids import new_id
from replyhook.jobs import JobStatus, Trust
from replyhook_receiver.stores.overview import MINUTES, NEWEST_CALLBACKS, NEWEST_JOBS, CallbackWait, Lately
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import to_ms

_TIME_LETTERS = 10
_JOBS = f"""
    SELECT j.provider, j.status, j.overdue_ms, j.trust, j.called_back_ms - j.submitted_ms AS waited_ms,
        a.status AS video
    FROM (SELECT * FROM jobs {{of_user}} ORDER BY id DESC LIMIT {NEWEST_JOBS}) j LEFT JOIN assets a ON a.job_id = j.id
"""  # noqa: S608 - a number of ours
_CALLBACKS = f"""
    SELECT c.received_ms FROM callbacks c {{of_user}} c.id >= ? AND c.source = 'callback'
    ORDER BY c.id DESC LIMIT {NEWEST_CALLBACKS}
"""  # noqa: S608
_CALLED_BACK = (Trust.SIGNED, Trust.TOKEN_ONLY)
_LOST = ("failed", "expired")


class SQLOverview:
    """The ``Overview`` protocol over the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lately(self, *, user: str | None, now: datetime) -> Lately:
        return await self._database.read(lambda raw: _lately(raw, user, now))


def _lately(raw: Raw, user: str | None, now: datetime) -> Lately:
    values = () if user is None else (user,)
    rows = raw.execute(_JOBS.format(of_user="" if user is None else 'WHERE "user" = ?'), values).fetchall()
    waited: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        if row["waited_ms"] is not None and row["waited_ms"] >= 0 and row["trust"] in _CALLED_BACK:
            waited[row["provider"]].append(row["waited_ms"])
    return Lately(
        jobs=len(rows),
        is_all=len(rows) < NEWEST_JOBS,
        by_status=Counter(row["status"] for row in rows),
        overdue=sum(row["overdue_ms"] is not None and not JobStatus(row["status"]).is_terminal for row in rows),
        videos_lost=sum(row["video"] in _LOST for row in rows),
        waits=[_wait(provider, found) for provider, found in sorted(waited.items())],
        callbacks=_by_minute(raw, user, now),
    )


def _wait(provider: str, found: Sequence[int]) -> CallbackWait:
    ordered = sorted(found)

    def at(share: float) -> float:
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1000

    return CallbackWait(provider=provider, jobs=len(ordered), p50=at(0.5), p95=at(0.95))


def _by_minute(raw: Raw, user: str | None, now: datetime) -> list[int | None]:
    begin = (now - timedelta(minutes=MINUTES - 1)).replace(second=0, microsecond=0)
    first = new_id("cb", at=begin.timestamp())[: len("cb_") + _TIME_LETTERS]
    of_user = "WHERE" if user is None else 'JOIN jobs j ON j.id = c.job_id WHERE j."user" = ? AND'
    values = (first,) if user is None else (user, first)
    rows = raw.execute(_CALLBACKS.format(of_user=of_user), values).fetchall()
    counts: list[int | None] = [0] * MINUTES
    for row in rows:
        minute = (row["received_ms"] - to_ms(begin)) // 60_000
        if 0 <= minute < MINUTES:
            counts[minute] = (counts[minute] or 0) + 1
    if len(rows) == NEWEST_CALLBACKS:
        oldest = (rows[-1]["received_ms"] - to_ms(begin)) // 60_000
        counts[: max(oldest + 1, 0)] = [None] * max(oldest + 1, 0)
    return counts
