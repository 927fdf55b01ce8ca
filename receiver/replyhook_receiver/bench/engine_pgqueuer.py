"""A process with pgqueuer's worker, as `replyhook bench engine` starts it; its handlers do next to nothing."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
from pgqueuer import AsyncpgDriver, Job, Queries, QueueManager

from replyhook_receiver.bench.engine_ours import CAP
from replyhook_receiver.bench.engine_tasks import BEGIN_RUN, KIND

NAME = "bench"
_AT_A_TIME = 256
_LONG_SECONDS = 300.0
_SHORT_SECONDS = 0.05
_ENDED = "UPDATE bench_runs SET ended = $1 WHERE subject = $2 AND process = $3"
# The truth in our row: it is looked at and the attempt counted before anything is done, and it is finished by us.
_BEGIN = f"""
    UPDATE tasks SET state = 'leased', attempts = attempts + 1
    WHERE kind = '{KIND}' AND subject = $1 AND state <> 'done' RETURNING attempts
"""  # noqa: S608 - a constant of ours
_FINISH = f"UPDATE tasks SET state = 'done', finished_ms = $2 WHERE kind = '{KIND}' AND subject = $1"  # noqa: S608
_BEGIN_SOME = f"""
    UPDATE tasks SET state = 'leased', attempts = attempts + 1
    WHERE kind = '{KIND}' AND subject = ANY($1) AND state <> 'done' RETURNING subject
"""  # noqa: S608
_FINISH_SOME = f"""
    UPDATE tasks SET state = 'done', finished_ms = $2 WHERE kind = '{KIND}' AND subject = ANY($1) RETURNING subject
"""  # noqa: S608
_POOL = 16


class _Together:
    """Statements about one row each, sent as one: what comes while the last one runs goes into the next."""

    def __init__(self, send: "Callable[[list[str]], Awaitable[set[str]]]") -> None:
        self._send = send
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._task: asyncio.Task[None] | None = None

    async def about(self, subject: str) -> bool:
        """Whether the row was there to be changed."""
        asked = self._waiting[subject] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        changed: bool = await asked
        return changed

    async def _run(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting, {}
            changed = await self._send(list(some))
            for subject, asked in some.items():
                asked.set_result(subject in changed)


async def install(url: str) -> None:
    """Its tables, in a database of ours."""
    connection = await asyncpg.connect(url)
    try:
        await Queries.from_asyncpg_connection(connection).install()
    finally:
        await connection.close()


async def enqueue(url: str, subjects: Sequence[str], *, after: timedelta | None = None) -> None:
    """A job for each."""
    connection = await asyncpg.connect(url)
    try:
        queries = Queries.from_asyncpg_connection(connection)
        for start in range(0, len(subjects), 10_000):
            some = subjects[start : start + 10_000]
            payloads: list[bytes | None] = [subject.encode() for subject in some]
            await queries.enqueue([NAME] * len(some), payloads, [0] * len(some), [after] * len(some))
    finally:
        await connection.close()


async def work(url: str, what: str, begin: Callable[[], Awaitable[None]]) -> None:
    """Work until it ends. ``what`` is ``nothing``, ``rows``, ``batched``, ``long`` or ``capped``."""
    connection = await asyncpg.connect(url)
    pool = await asyncpg.create_pool(url, min_size=_POOL, max_size=_POOL)
    manager = QueueManager(Queries(AsyncpgDriver(connection)))

    async def nothing(_: Job) -> None:
        return None

    async def rows(job: Job) -> None:
        subject = (job.payload or b"").decode()
        if await pool.fetchval(_BEGIN, subject) is not None:
            await pool.execute(_FINISH, subject, round(time.time() * 1000))

    async def begin_some(subjects: list[str]) -> set[str]:
        return {row["subject"] for row in await pool.fetch(_BEGIN_SOME, subjects)}

    async def finish_some(subjects: list[str]) -> set[str]:
        return {row["subject"] for row in await pool.fetch(_FINISH_SOME, subjects, round(time.time() * 1000))}

    begins, finishes = _Together(begin_some), _Together(finish_some)

    async def batched(job: Job) -> None:
        subject = (job.payload or b"").decode()
        if await begins.about(subject):
            await finishes.about(subject)

    async def noted(job: Job) -> None:
        subject = (job.payload or b"").decode()
        await pool.execute(BEGIN_RUN, subject, os.getpid(), job.attempts, time.time())
        await asyncio.sleep(_LONG_SECONDS if what == "long" else _SHORT_SECONDS)
        await pool.execute(_ENDED, time.time(), subject, os.getpid())

    run: Any = {"nothing": nothing, "rows": rows, "batched": batched}.get(what, noted)
    manager.entrypoint(NAME, concurrency_limit=CAP if what == "capped" else 0)(run)
    await begin()
    await manager.run(batch_size=_AT_A_TIME)


async def accept(url: str, begin: Callable[[], Awaitable[None]]) -> None:
    """Make rows without end, each with its job in the same transaction, several at a time."""
    pool = await asyncpg.create_pool(url, min_size=_POOL, max_size=_POOL)
    await begin()

    async def some(place: int) -> None:
        number = 0
        while True:
            number += 1
            subject = f"{os.getpid()}-{place}-{number}"
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "INSERT INTO bench_runs (subject, process, attempt, began) VALUES ($1, 0, 0, 0)", subject
                )
                await Queries.from_asyncpg_connection(connection).enqueue(NAME, subject.encode())

    await asyncio.gather(*(some(place) for place in range(_POOL)))
