"""`replyhook bench engine`: our own worker beside pgqueuer on the same PostgreSQL, measured in turn."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from replyhook.errors import ConfigurationError
from replyhook_receiver.bench.engine_drain import drains
from replyhook_receiver.bench.engine_report import EngineResult
from replyhook_receiver.bench.engine_trouble import behaviours
from replyhook_receiver.bench.postgres import postgres_for
from replyhook_receiver.extras import how_to_install

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How much to do. Without a ``database`` one is started."""

    database: str | None = None
    rounds: int = 5
    tasks: int = 20_000
    scheduled: int = 100_000
    kills: int = 20
    capped: int = 200
    away_seconds: float = 8.0


async def run_engine(options: EngineOptions, *, say: Say) -> EngineResult:
    """Measure everything. Raises ``ConfigurationError`` where there is nothing to measure on or with."""
    if find_spec("pgqueuer") is None or find_spec("asyncpg") is None:
        raise ConfigurationError(f"what is compared with is not installed: {how_to_install('bench')}")
    with postgres_for(options.database) as postgres:
        try:
            drained = await drains(
                postgres, rounds=options.rounds, count=options.tasks, scheduled=options.scheduled, say=say
            )
            behaved = await behaviours(
                postgres,
                kills=options.kills,
                capped=options.capped,
                away_seconds=options.away_seconds,
                say=say,
            )
        finally:
            await asyncio.to_thread(postgres.drop_databases)
    return EngineResult(drains=drained, behaviours=behaved, rounds=options.rounds, tasks=options.tasks)
