"""`replyhook bench ingest --database`: one and two receivers on one PostgreSQL, and what the store itself can take."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec

from replyhook_receiver.bench.cases import ServerProcess, server_process
from replyhook_receiver.bench.engine_drain import DELIVERIES, Case, drain
from replyhook_receiver.bench.engine_ours import store_at
from replyhook_receiver.bench.engine_tasks import looking
from replyhook_receiver.bench.growth import insert_again, multiply, register_like, set_aside
from replyhook_receiver.bench.load import LoadResult, run_load
from replyhook_receiver.bench.postgres import Postgres, postgres_for
from replyhook_receiver.bench.stored import register_in
from replyhook_receiver.bench.traffic import BenchJob, Traffic

Say = Callable[[str], None]
WARM_UP = 300
_SEED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedOptions:
    """How much to send to how many. Without a ``database`` a PostgreSQL is started."""

    folder: Path
    database: str | None = None
    receivers: tuple[int, ...] = (1, 2)
    rounds: int = 5
    requests: int = 5_000
    connections: int = 64
    already_stored: int = 0


class SharedCase(msgspec.Struct, kw_only=True, frozen=True):
    """So many receivers; ``ratio`` is to one. CPU is for each callback, of receivers and PostgreSQL apart."""

    receivers: int
    stored: int
    requests_per_s: float
    ratio: float
    p50_ms: float
    p99_ms: float
    receiver_us: float
    postgres_us: float | None
    callbacks_per_commit: float


class SharedResult(msgspec.Struct, kw_only=True, frozen=True):
    """The whole run. The store's own limit is the same rows, inserted in batches of the same size, and nothing else."""

    cases: list[SharedCase]
    limit_per_s: float
    limit_us: float | None
    limit_batch: int
    one_to_limit: float
    tasks_per_s: dict[int, float]
    worker_us: float
    postgres_us_of_a_task: float | None
    deliveries_per_s: float
    delivery_worker_us: float
    delivery_postgres_us: float | None
    rounds: int
    requests: int

    def as_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    load: LoadResult
    receiver_us: float
    postgres_us: float | None
    callbacks_per_commit: float


async def run_shared(options: SharedOptions, *, say: Say) -> SharedResult:
    """Measure, interleaved. Raises ``ConfigurationError`` where there is nothing to measure on."""
    with postgres_for(options.database) as postgres:
        try:
            return await _measure(postgres, options, say)
        finally:
            await asyncio.to_thread(postgres.drop_databases)


async def _measure(postgres: Postgres, options: SharedOptions, say: Say) -> SharedResult:
    sizes = [(many, 0) for many in options.receivers]
    if options.already_stored:
        sizes.append((options.receivers[0], options.already_stored))
    found: dict[tuple[int, int], list[_Round]] = {size: [] for size in sizes}
    limits: list[tuple[float, float | None]] = []
    batch = 1
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        start = number % len(sizes)
        for size in (*sizes[start:], *sizes[:start]):
            url, made = await _round(postgres, size, options, say)
            found[size].append(made)
            if size == sizes[0]:
                batch = max(round(made.callbacks_per_commit), 1)
                limits.append(await asyncio.to_thread(_limit, postgres, url, batch))
            await asyncio.to_thread(postgres.drop_databases)
    say("tasks that do nothing, and deliveries that nobody has to be brought")
    drains = {
        many: await drain(postgres, Case(engine="ours", processes=many, scheduled=0), 2 * options.requests)
        for many in (1, 2)
    }
    delivered = await drain(postgres, Case(engine=DELIVERIES, processes=1, scheduled=0), min(options.requests, 1_000))
    one = found[sizes[0]]
    limit = median(each[0] for each in limits)
    limit_us = [each[1] for each in limits if each[1] is not None]
    return SharedResult(
        cases=[_summary(size, rounds, one) for size, rounds in found.items()],
        limit_per_s=round(limit),
        limit_us=round(median(limit_us), 1) if limit_us else None,
        limit_batch=batch,
        one_to_limit=round(median(each.load.requests_per_s for each in one) / limit, 3),
        tasks_per_s={many: round(each[0]) for many, each in drains.items()},
        worker_us=round(drains[1][1], 1),
        postgres_us_of_a_task=None if drains[1][2] is None else round(drains[1][2], 1),
        deliveries_per_s=round(delivered[0]),
        delivery_worker_us=round(delivered[1], 1),
        delivery_postgres_us=None if delivered[2] is None else round(delivered[2], 1),
        rounds=options.rounds,
        requests=options.requests,
    )


def _summary(size: tuple[int, int], rounds: Sequence[_Round], one: Sequence[_Round]) -> SharedCase:
    of_postgres = [each.postgres_us for each in rounds if each.postgres_us is not None]
    pairs = zip(rounds, one, strict=True)
    return SharedCase(
        receivers=size[0],
        stored=size[1],
        requests_per_s=round(median(each.load.requests_per_s for each in rounds)),
        ratio=round(median(each.load.requests_per_s / other.load.requests_per_s for each, other in pairs), 3),
        p50_ms=round(median(each.load.percentile_ms(50) for each in rounds), 2),
        p99_ms=round(median(each.load.percentile_ms(99) for each in rounds), 2),
        receiver_us=round(median(each.receiver_us for each in rounds), 1),
        postgres_us=round(median(of_postgres), 1) if of_postgres else None,
        callbacks_per_commit=round(median(each.callbacks_per_commit for each in rounds), 1),
    )


async def _round(postgres: Postgres, size: tuple[int, int], options: SharedOptions, say: Say) -> tuple[str, _Round]:
    receivers, stored = size
    traffic = Traffic()
    url = await asyncio.to_thread(postgres.new_database)
    jobs = traffic.jobs("useapi", options.requests + WARM_UP + _SEED)
    async with store_at(url) as store:
        await register_in(store, jobs[:1])
    await asyncio.to_thread(_register, url, jobs)
    async with AsyncExitStack() as stack:
        servers: list[ServerProcess] = []
        for number in range(receivers):
            folder = options.folder / f"{url.rpartition('/')[2]}-{number}"
            folder.mkdir()
            started = server_process("shared", folder, core=None, jwks_url="", database=url)
            servers.append(await stack.enter_async_context(started))
        ports = [server.port for server in servers]
        await run_load(ports, traffic.token(jobs[:_SEED]), connections=options.connections)
        if stored:
            say(f"  {stored:,} finished jobs are made")
            await asyncio.to_thread(_grow, url, stored)
        await run_load(ports, traffic.token(jobs[_SEED : _SEED + WARM_UP]), connections=options.connections)
        requests = traffic.token(jobs[_SEED + WARM_UP :])
        before = [await server.counts() for server in servers]
        cpu = postgres.cpu_seconds()
        load = await run_load(ports, requests, connections=options.connections)
        cpu_after = postgres.cpu_seconds()
        after = [await server.counts() for server in servers]
    count = len(requests)
    used = sum(late["cpu_seconds"] - early["cpu_seconds"] for late, early in zip(after, before, strict=True))
    commits = sum(late["commits"] - early["commits"] for late, early in zip(after, before, strict=True))
    return url, _Round(
        load=load,
        receiver_us=used / count * 1e6,
        postgres_us=None if cpu is None or cpu_after is None else (cpu_after - cpu) / count * 1e6,
        callbacks_per_commit=count / max(commits, 1),
    )


def _register(url: str, jobs: Sequence[BenchJob]) -> None:
    with looking(url) as connection:
        register_like(connection, jobs[0].id, jobs[1:])
        connection.execute("VACUUM ANALYZE")


def _grow(url: str, stored: int) -> None:
    with looking(url) as connection:
        multiply(connection, stored)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _limit(postgres: Postgres, url: str, batch: int) -> tuple[float, float | None]:
    """Callbacks' rows a second that PostgreSQL takes with nothing around them, and its microseconds for each."""
    with looking(url) as connection:
        count = set_aside(connection)
        cpu = postgres.cpu_seconds()
        seconds = insert_again(connection, count, batch)
        cpu_after = postgres.cpu_seconds()
    return count / seconds, None if cpu is None or cpu_after is None else (cpu_after - cpu) / count * 1e6
