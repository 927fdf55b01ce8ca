"""How fast each engine gets tasks out of the way that do nothing, and what that costs."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any

import psycopg

from replyhook_receiver.bench import engine_tasks as tasks
from replyhook_receiver.bench.engine_children import child, until
from replyhook_receiver.bench.engine_deliveries import add_deliveries
from replyhook_receiver.bench.engine_report import Drain
from replyhook_receiver.bench.postgres import Postgres

_FUTURE = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An engine with so many workers, beside so many tasks that are not due; deliveries go to so many endpoints."""

    engine: str
    processes: int
    scheduled: int
    endpoints: int = 100

    @property
    def program(self) -> str:
        """Whose worker it is."""
        return "ours" if self.engine in ("ours", DELIVERIES) else "pgqueuer"

    @property
    def what(self) -> str:
        """What a task is."""
        if self.engine == DELIVERIES:
            return "deliveries"
        return {"pgqueuer, rows ours": "rows", "pgqueuer, rows ours in batches": "batched"}.get(self.engine, "nothing")


DELIVERIES = "ours, deliveries"
ENGINES = ("ours", "pgqueuer", "pgqueuer, rows ours", "pgqueuer, rows ours in batches")


async def drains(
    postgres: Postgres, *, rounds: int, count: int, scheduled: int, say: Callable[[str], None]
) -> list[Drain]:
    cases = [
        Case(engine=engine, processes=processes, scheduled=scheduled)
        for processes, scheduled in ((1, 0), (2, 0), (1, scheduled))
        for engine in ENGINES
    ]
    found: dict[Case, list[tuple[float, float, float | None]]] = {case: [] for case in cases}
    for number in range(rounds):
        say(f"drain, round {number + 1} of {rounds}")
        start = number % len(cases)  # another one first each time
        for case in (*cases[start:], *cases[:start]):
            found[case].append(await drain(postgres, case, count))
    return [_summary(case, rounds) for case, rounds in found.items()]


def _summary(case: Case, rounds: list[tuple[float, float, float | None]]) -> Drain:
    postgres = [each[2] for each in rounds if each[2] is not None]
    return Drain(
        engine=case.engine,
        processes=case.processes,
        scheduled=case.scheduled,
        tasks_per_s=round(median(each[0] for each in rounds)),
        worker_us=round(median(each[1] for each in rounds), 1),
        postgres_us=round(median(postgres), 1) if postgres else None,
    )


async def drain(postgres: Postgres, case: Case, count: int) -> tuple[float, float, float | None]:
    """Tasks a second, and the microseconds of workers and PostgreSQL for each."""
    url = await asyncio.to_thread(postgres.new_database)
    with tasks.looking(url) as connection:
        tasks.prepare(url)
        await _fill(url, case, count)
        connection.execute("VACUUM ANALYZE")
        async with AsyncExitStack() as stack:
            children = [
                await stack.enter_async_context(child(case.program, postgres.as_reached(url), case.what))
                for _ in range(case.processes)
            ]
            cpu, began = postgres.cpu_seconds(), time.perf_counter()
            for each in children:
                each.begin()
            is_open = _is_queued if case.engine == "pgqueuer" else tasks.are_open
            await until(lambda: not is_open(connection))
            seconds = time.perf_counter() - began
            used = sum([await each.cpu_seconds() for each in children])
            cpu_after = postgres.cpu_seconds()
    await asyncio.to_thread(postgres.drop_databases)
    of_postgres = (cpu_after - cpu) / count * 1e6 if cpu is not None and cpu_after is not None else None
    return count / seconds, used / count * 1e6, of_postgres


def _is_queued(connection: "psycopg.Connection[Any]") -> bool:
    statement = "SELECT 1 FROM pgqueuer WHERE execute_after <= now() LIMIT 1"
    return connection.execute(statement).fetchone() is not None


async def _fill(url: str, case: Case, count: int) -> None:
    """So many tasks that are due, and those that are not for a day."""
    then = tasks.now_ms() + round(_FUTURE.total_seconds() * 1000)
    with tasks.looking(url) as connection:
        if case.engine not in ("pgqueuer", DELIVERIES):
            tasks.add_tasks(connection, "due_", count)
        if case.engine == "ours" and case.scheduled:
            tasks.add_tasks(connection, "later_", case.scheduled, due_ms=then)
    if case.engine == DELIVERIES:
        await add_deliveries(url, count, endpoints=case.endpoints)
    if case.program == "pgqueuer":
        from replyhook_receiver.bench import engine_pgqueuer

        await engine_pgqueuer.install(url)
        await engine_pgqueuer.enqueue(url, [f"due_{number:08}" for number in range(1, count + 1)])
        later = [f"later_{number:08}" for number in range(1, case.scheduled + 1)]
        await engine_pgqueuer.enqueue(url, later, after=_FUTURE)
