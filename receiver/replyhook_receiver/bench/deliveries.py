"""`replyhook bench deliveries`: how many a second from PostgreSQL, by endpoints, workers and the way to it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import msgspec
import psycopg

from replyhook_receiver.bench.engine_drain import DELIVERIES, Case, drain
from replyhook_receiver.bench.postgres import Postgres, postgres_for
from replyhook_receiver.bench.wire import wire

Say = Callable[[str], None]
_ASKED = 50


class DeliveriesCase(msgspec.Struct, kw_only=True, frozen=True):
    """So many deliveries, each of a job of its own, to so many endpoints, by so many workers; CPU is for each."""

    endpoints: int
    workers: int
    per_s: float
    worker_us: float
    postgres_us: float | None


class DeliveriesResult(msgspec.Struct, kw_only=True, frozen=True):
    """The whole run. ``round_trip_ms`` is what the plainest question to PostgreSQL takes."""

    cases: list[DeliveriesCase]
    round_trip_ms: float
    rounds: int
    count: int

    def as_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesOptions:
    """How much to bring to how many by how many. Without a ``database`` a PostgreSQL is started."""

    database: str | None = None
    endpoints: tuple[int, ...] = (1, 100)
    workers: tuple[int, ...] = (1, 2)
    rounds: int = 3
    count: int = 1_000
    round_trip_ms: float = 0.0


async def run_deliveries(options: DeliveriesOptions, *, say: Say) -> DeliveriesResult:
    """Measure, the cases in turn. Raises ``ConfigurationError`` where there is nothing to measure on."""
    with postgres_for(options.database) as postgres:
        try:
            if not options.round_trip_ms:
                return await _measure(postgres, options, say)
            with wire(postgres.url, round_trip_ms=options.round_trip_ms) as longer:
                postgres.by_way_of = longer
                return await _measure(postgres, options, say)
        finally:
            await asyncio.to_thread(postgres.drop_databases)


async def _measure(postgres: Postgres, options: DeliveriesOptions, say: Say) -> DeliveriesResult:
    cases = [
        Case(engine=DELIVERIES, processes=workers, scheduled=0, endpoints=endpoints)
        for endpoints in options.endpoints
        for workers in options.workers
    ]
    found: dict[Case, list[tuple[float, float, float | None]]] = {case: [] for case in cases}
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        for case in cases:
            found[case].append(await drain(postgres, case, options.count))
    return DeliveriesResult(
        cases=[_summary(case, rounds) for case, rounds in found.items()],
        round_trip_ms=round(await asyncio.to_thread(_round_trip_ms, postgres), 2),
        rounds=options.rounds,
        count=options.count,
    )


def _summary(case: Case, rounds: list[tuple[float, float, float | None]]) -> DeliveriesCase:
    of_postgres = [each[2] for each in rounds if each[2] is not None]
    return DeliveriesCase(
        endpoints=case.endpoints,
        workers=case.processes,
        per_s=round(median(each[0] for each in rounds)),
        worker_us=round(median(each[1] for each in rounds), 1),
        postgres_us=round(median(of_postgres), 1) if of_postgres else None,
    )


def _round_trip_ms(postgres: Postgres) -> float:
    took = []
    with psycopg.connect(postgres.by_way_of or postgres.url, autocommit=True) as connection:
        for _ in range(_ASKED):
            began = time.perf_counter()
            connection.execute("SELECT 1").fetchone()
            took.append((time.perf_counter() - began) * 1000)
    return median(took)
