"""PostgreSQL: what many deliveries are waited for at the server's, which must not be more than for a few.

All who write share one lock: each answer that is waited for while it is held holds up the whole cluster, by as long as
the network takes.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from psycopg._pipeline_base import BasePipeline

from replyhook.notifications import NotificationType
from replyhook_receiver.answers import Answer
from replyhook_receiver.endpoints import NewEndpoint
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import NotifyTarget
from replyhook_receiver.stores.postgres import PostgreSQLStore
from replyhook_receiver.stores.sql.places import Limits
from replyhook_receiver.tasks import Done, Outcome, Retry, Task
from tests.contracts.store.material import LEASE, NOW, a_job, describe, queued, report, running, submitted, succeeded
from tests.receiver.postgres_server import PostgreSQLServer

FEW, MANY = 6, 60
ROOM, FULL = Limits(place=100, host=100, all=100), Limits(place=4, host=100, all=100)
OK, REFUSED = Done(answer=Answer(status=200)), Retry(due_at=NOW, problem="500", answer=Answer(status=500))
A_WHOLE_STORY = (queued, running, succeeded)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts how often the connections that write have waited for an answer."""
    counted: Counter[str] = Counter()
    fetch = BasePipeline._fetch_gen

    def fetching(self: Any, *, flush: bool) -> Any:
        counted["waits"] += 1
        return fetch(self, flush=flush)

    monkeypatch.setattr(BasePipeline, "_fetch_gen", fetching)
    return counted


@asynccontextmanager
async def opened(server: PostgreSQLServer, limits: Limits) -> AsyncIterator[PostgreSQLStore]:
    url = await asyncio.to_thread(server.new_store)
    store = PostgreSQLStore(url, describe=describe, limits=limits)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        await asyncio.to_thread(server.drop, url)


async def due(store: PostgreSQLStore, count: int, *, told: Any, to: Callable[[int], str]) -> None:
    """Deliveries that are due: of so many jobs, each told all of ``told``, to an endpoint of its own."""
    for number in range(count):
        job, name = a_job(number), f"r-{number}"
        target = NotifyTarget(url=to(number), types=tuple(NotificationType))
        await submitted(store, job, provider_job_id=name, notify=(target,))
        for kind in told:
            await store.accept(report(job, kind(provider_job_id=name)))


async def claimed(store: PostgreSQLStore) -> list[Task]:
    return await store.claim([TaskKind.NOTIFY], limit=MANY, lease=LEASE, now=NOW)


async def ended(store: PostgreSQLStore, tasks: list[Task], outcome: Outcome) -> None:
    assert all(await asyncio.gather(*(store.finish(task, outcome, now=NOW) for task in tasks)))


async def counted(waits: Counter[str], work: Awaitable[Any]) -> tuple[int, Any]:
    waits.clear()
    value = await work
    return waits["waits"], value


def to_one(_: int) -> str:
    return "https://one.example/hook"


def to_each(number: int) -> str:
    return f"https://h{number}.example/hook"


@pytest.mark.parametrize(
    ("limits", "told", "to", "outcome"),
    [
        pytest.param(ROOM, (succeeded,), to_one, OK, id="one place with room"),
        pytest.param(ROOM, (succeeded,), to_each, OK, id="a place each"),
        pytest.param(FULL, (succeeded,), to_one, OK, id="one place that is full"),
        pytest.param(ROOM, (succeeded,), to_each, REFUSED, id="a place each that refuses"),
        pytest.param(ROOM, (succeeded,), to_one, REFUSED, id="one place that refuses"),
        pytest.param(ROOM, A_WHOLE_STORY, to_each, OK, id="with progress that has become pointless"),
    ],
)
async def test_many_deliveries_are_waited_for_as_often_as_a_few(
    postgres_server: PostgreSQLServer,
    waits: Counter[str],
    limits: Limits,
    told: Any,
    to: Callable[[int], str],
    outcome: Outcome,
) -> None:
    found = {}
    for count in (FEW, MANY):
        async with opened(postgres_server, limits) as store:
            await due(store, count, told=told, to=to)
            of_claim, tasks = await counted(waits, claimed(store))
            assert len(tasks) == min(count, limits.place)
            of_ends, _ = await counted(waits, ended(store, tasks, outcome))
            of_next, _ = await counted(waits, claimed(store))
            found[count] = (of_claim, of_ends, of_next)
    # Twice as many as they read ahead are looked at in two goes.
    assert all(many <= few + 3 for few, many in zip(found[FEW], found[MANY], strict=True)), found
    assert max(found[MANY]) < 20


async def test_an_endpoint_that_fails_for_long_is_looked_at_once_for_all_its_deliveries(
    postgres_server: PostgreSQLServer, waits: Counter[str]
) -> None:
    found = {}
    for count in (FEW, MANY):
        async with opened(postgres_server, ROOM) as store:
            wanted = NewEndpoint(url=to_one(0), types=(NotificationType.JOB_SUCCEEDED,))
            endpoint = await store.endpoints.create(wanted, now=NOW)
            for number in range(count):
                await store.accept(report(a_job(number), succeeded(provider_job_id=f"r-{number}")))
            tasks = await claimed(store)
            assert len(tasks) == count
            found[count], _ = await counted(waits, ended(store, tasks, REFUSED))
            later = NOW + timedelta(days=2)
            again = await store.claim([TaskKind.NOTIFY], limit=MANY, lease=LEASE, now=later)
            await store.finish(again[0], Retry(due_at=later, problem="500", answer=Answer(status=500)), now=later)
            assert (await store.endpoints.get(endpoint.id)).disabled_at == later
    assert found[MANY] <= found[FEW] + 1
