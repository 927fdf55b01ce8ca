"""Whose turn it is, over random histories on a real database: order, superseding, caps, and no standstill."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from replyhook_receiver.endpoints import NewEndpoint
from replyhook_receiver.stores.postgres import PostgreSQLStore
from replyhook_receiver.stores.postgres.connection import PostgreSQLRaw, connect
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.store import SQLStore
from replyhook_receiver.stores.sqlite import SQLiteStore
from tests.contracts.store.material import NOW, describe
from tests.receiver.postgres_server import PostgreSQLServer
from tests.receiver.sqlite_file import lay
from tests.receiver.stores.outbox_world import ALL_TYPES, LIMITS, SECRET, STANDING, World

# What may happen next; the number picks a job, a task, an endpoint.
WHAT = (
    *("told", "told", "told", "stored", "claim", "claim", "answered", "refused", "given-up", "gone", "stopped"),
    *("together", "killed", "waited", "retried", "disabled", "enabled", "registered", "rotated", "removed"),
)
STEPS = st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 50)), min_size=5, max_size=60)
ALL_END = [*[("told", job) for job in range(4) for _ in range(4)], ("claim", 0)]

# Those that are lived in every run.
STORIES = (
    [("told", 1), ("told", 1), ("claim", 0), ("told", 1), ("told", 1), ("refused", 0), ("claim", 0)],
    [("told", 1), ("claim", 0), *[("refused", 0), ("waited", 2), ("claim", 0)] * 7, ("told", 1)],
    [("told", 1), ("claim", 0), ("gone", 0), ("told", 1), ("claim", 0), ("enabled", 0), ("enabled", 1)],
    [*ALL_END, *[("rotated", number) for number in range(13)], *[("answered", 0)] * 10],
    [*ALL_END, *[("removed", 1)] * 9, *[("answered", 0)] * 10],
    [*ALL_END, *[("answered", 0), ("claim", 0)] * 10],
    [*ALL_END, *[("refused", 0), ("claim", 0), ("waited", 2)] * 10],
    [*ALL_END, *[("together", number) for number in range(3)], *[("claim", 0), ("together", 0), ("waited", 2)] * 10],
)


def always(test: Callable[..., None]) -> Callable[..., None]:
    for story in STORIES:
        test = example(steps=story)(test)
    return test


@asynccontextmanager
async def on_sqlite() -> AsyncIterator[World]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "replyhook.db"

        @contextmanager
        def beside() -> Iterator[Raw]:
            with closing(sqlite3.connect(path, isolation_level=None)) as raw:
                raw.row_factory = sqlite3.Row
                yield raw

        async with opened(SQLiteStore(lay(path), describe=describe, limits=LIMITS)) as store:
            yield World(store=store, beside=beside)


@asynccontextmanager
async def on_postgres(server: PostgreSQLServer) -> AsyncIterator[World]:
    url = await asyncio.to_thread(server.new_store)
    try:
        with closing(connect(url)) as connection:
            raw = PostgreSQLRaw(connection)
            async with opened(PostgreSQLStore(url, describe=describe, limits=LIMITS)) as store:
                yield World(store=store, beside=lambda: nullcontext(raw))
    finally:
        await asyncio.to_thread(server.drop, url)


@asynccontextmanager
async def opened(store: SQLStore) -> AsyncIterator[SQLStore]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def live(made: AbstractAsyncContextManager[World], steps: list[tuple[str, int]]) -> None:
    async with made as world:
        wanted = NewEndpoint(url=STANDING, types=ALL_TYPES, secrets=(SECRET,))
        await world.store.endpoints.create(wanted, now=NOW)
        for _ in range(4):
            await world.register()
        for what, pick in steps:
            await world.step(what, pick)
        await world.drain()
        world.check_end()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
@always
def test_any_history_keeps_the_order_and_ends_with_everything_delivered(steps: list[tuple[str, int]]) -> None:
    asyncio.run(live(on_sqlite(), steps))


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
@always
def test_so_does_any_history_on_postgresql(postgres_server: PostgreSQLServer, steps: list[tuple[str, int]]) -> None:
    asyncio.run(live(on_postgres(postgres_server), steps))
