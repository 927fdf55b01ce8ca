"""What each engine does when something goes wrong: killed workers and senders, a cap, PostgreSQL gone for a while."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import psycopg

from replyhook_receiver.bench import engine_tasks as tasks
from replyhook_receiver.bench.engine_children import child, until
from replyhook_receiver.bench.engine_deliveries import add_deliveries
from replyhook_receiver.bench.engine_ours import CAP
from replyhook_receiver.bench.engine_report import Behaviour
from replyhook_receiver.bench.postgres import Postgres

_TAKEN_OVER_WITHIN = 90.0
_WENT_ON_WITHIN = 60.0


async def behaviours(
    postgres: Postgres, *, kills: int, capped: int, away_seconds: float, say: Callable[[str], None]
) -> list[Behaviour]:
    """Both engines', one after another but for the long waits."""
    say("a worker is killed in mid-task")
    taken_over = await asyncio.gather(*(_taken_over(postgres, engine) for engine in _ENGINES))
    found = []
    for engine, (seconds, is_counted) in zip(_ENGINES, taken_over, strict=True):
        say(f"{engine}: senders are killed, {kills} times")
        accepted, mismatches = await _kill_senders(postgres, engine, kills)
        say(f"{engine}: no more than {CAP} at a time")
        most = await _most_at_a_time(postgres, engine, capped)
        survives, went_on = None, None
        if postgres.is_ours:
            say(f"{engine}: PostgreSQL is away for {away_seconds:g} s")
            survives, went_on = await _away(postgres, engine, away_seconds)
        found.append(
            Behaviour(
                engine=engine,
                taken_over_seconds=seconds,
                killed_try_is_counted=is_counted,
                accepted_before_kills=accepted,
                mismatches=mismatches,
                most_at_a_time=most,
                cap=CAP,
                survives_away=survives,
                went_on_after_seconds=went_on,
            )
        )
    return found


_ENGINES = ("ours", "pgqueuer")


async def _database(postgres: Postgres, engine: str) -> str:
    url = await asyncio.to_thread(postgres.new_database)
    tasks.prepare(url)
    if engine == "pgqueuer":
        from replyhook_receiver.bench import engine_pgqueuer

        await engine_pgqueuer.install(url)
    return url


async def _add(url: str, engine: str, prefix: str, count: int) -> None:
    if engine == "ours":
        with tasks.looking(url) as connection:
            tasks.add_tasks(connection, prefix, count)
    else:
        from replyhook_receiver.bench import engine_pgqueuer

        await engine_pgqueuer.enqueue(url, [f"{prefix}{number:08}" for number in range(1, count + 1)])


async def _taken_over(postgres: Postgres, engine: str) -> tuple[float | None, bool | None]:
    """Seconds from `kill -9` of a worker in mid-task until another runs it, and whether it knows that it is not the
    first try."""
    url = await _database(postgres, engine)
    with tasks.looking(url) as connection:
        await _add(url, engine, "long_", 1)
        async with child(engine, url, "long") as first:
            first.begin()
            await until(lambda: len(tasks.runs(connection)) == 1)
            async with child(engine, url, "long") as second:
                second.begin()
                await asyncio.sleep(1)
                first.kill()
                try:
                    seconds = await until(lambda: len(tasks.runs(connection)) == 2, seconds=_TAKEN_OVER_WITHIN)
                except TimeoutError:
                    return None, None
        attempts = [run[2] for run in tasks.runs(connection)]
    return round(seconds, 1), attempts[1] > attempts[0]


async def _kill_senders(postgres: Postgres, engine: str, kills: int) -> tuple[int, int]:
    """How many rows were made by processes that were killed at random, and how many lack their task or have none."""
    url = await _database(postgres, engine)
    for _ in range(kills):
        async with child(engine, url, "accept") as sender:
            sender.begin()
            await asyncio.sleep(random.uniform(0.05, 0.6))  # noqa: S311 - guards nothing
            sender.kill()
            await sender.ended()
    with tasks.looking(url) as connection:
        await until(lambda: _others(connection) == 0)  # what was under way is rolled back
        return _count(connection, _ROWS[engine]), _count(connection, _MISMATCHES[engine])


_ROWS = {"ours": "SELECT count(*) FROM assets", "pgqueuer": "SELECT count(*) FROM bench_runs"}
_MISMATCHES = {
    "ours": """
        SELECT count(*) FROM assets a FULL JOIN (SELECT * FROM tasks WHERE kind = 'download') t ON t.subject = a.job_id
        WHERE a.job_id IS NULL OR t.subject IS NULL OR NOT EXISTS (SELECT 1 FROM callbacks c WHERE c.job_id = a.job_id)
    """,
    "pgqueuer": """
        SELECT count(*) FROM bench_runs r FULL JOIN pgqueuer q ON convert_from(q.payload, 'utf8') = r.subject
        WHERE r.subject IS NULL OR q.id IS NULL
    """,
}
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def _others(connection: "psycopg.Connection[Any]") -> int:
    return _count(connection, _OTHERS)


def _count(connection: "psycopg.Connection[Any]", statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    return int(row[0]) if row is not None else 0


async def _most_at_a_time(postgres: Postgres, engine: str, count: int) -> int:
    """How many of ``count`` that are bound to ``CAP`` at a time two workers together ran at a time, at most."""
    url = await _database(postgres, engine)
    if engine == "ours":
        await add_deliveries(url, count, endpoints=1)
    else:
        await _add(url, engine, "capped_", count)
    with tasks.looking(url) as connection:
        async with child(engine, url, "capped") as one, child(engine, url, "capped") as other:
            one.begin()
            other.begin()
            await until(lambda: sum(run[4] is not None for run in tasks.runs(connection)) >= count)
        ends = [(run[3], 1) for run in tasks.runs(connection)] + [(run[4], -1) for run in tasks.runs(connection)]
    at_a_time = most = 0
    for _, change in sorted(ends):
        at_a_time += change
        most = max(most, at_a_time)
    return most


async def _away(postgres: Postgres, engine: str, seconds: float) -> tuple[bool, float | None]:
    """Whether a worker lives through it, and how long after PostgreSQL's return it does what is new."""
    url = await _database(postgres, engine)
    async with child(engine, url, "capped" if engine == "pgqueuer" else "noted") as worker:
        worker.begin()
        await _add(url, engine, "before_", 1)
        with tasks.looking(url) as connection:
            await until(lambda: len(tasks.runs(connection)) == 1)
        await asyncio.to_thread(postgres.stop)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(postgres.start)
        began = time.perf_counter()
        await _add(url, engine, "after_", 1)
        with tasks.looking(url) as connection:
            while time.perf_counter() - began < _WENT_ON_WITHIN and worker.is_alive:
                if any(run[0].startswith("after_") for run in tasks.runs(connection)):
                    return True, round(time.perf_counter() - began, 1)
                await asyncio.sleep(0.1)
        return worker.is_alive, None
