"""Ends of tasks that are written together, and the caps that hold for all who claim."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.postgres import PostgreSQLStore
from replyhook_receiver.stores.sql.store import SQLStore
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.tasks import Dead, Done, Task
from tests.contracts.store.material import LEASE, NOW, a_job, describe, report, succeeded
from tests.receiver.sqlite_file import lay

_KIND = TaskKind.FETCH_RESULT


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SQLStore]:
    made: SQLStore
    if request.param == "sqlite":
        made = SQLiteStore(lay(tmp_path / "replyhook.db"), describe=describe)
    else:
        made = PostgreSQLStore(request.getfixturevalue("postgres_url"), describe=describe)
    await made.open()
    yield made
    await made.close()


async def add(store: SQLStore, count: int) -> None:
    statement = "INSERT INTO tasks (kind, subject, state, attempts, due_ms, created_ms) VALUES (?, ?, 'ready', 0, 0, 0)"
    values = [(_KIND.value, f"job_{number}") for number in range(count)]
    await store.database.write(lambda raw: raw.executemany(statement, values).rowcount)


async def states(store: SQLStore) -> dict[str, str]:
    statement = "SELECT subject, state FROM tasks"
    found = await store.database.read(lambda raw: raw.execute(statement).fetchall())
    return {row["subject"]: row["state"] for row in found}


async def claimed(store: SQLStore, count: int) -> list[Task]:
    return await store.claim([_KIND], limit=count, lease=LEASE, now=NOW)


async def test_ends_that_come_together_are_kept_in_few_commits_and_each_has_its_own_answer(store: SQLStore) -> None:
    await add(store, 40)
    tasks = await claimed(store, 40)
    lost = replace(tasks[7], lease="of somebody else")
    before = (await store.counts()).commits
    ends = [lost if task is tasks[7] else task for task in tasks]
    kept = await asyncio.gather(*(store.finish(task, Done(), now=NOW) for task in ends))
    assert kept == [task is not lost for task in ends]
    assert (await store.counts()).commits - before <= 3
    found = await states(store)
    assert found.pop(tasks[7].subject) == "leased"
    assert set(found.values()) == {"done"}


async def test_the_same_end_twice_is_kept_once(store: SQLStore) -> None:
    await add(store, 1)
    (task,) = await claimed(store, 1)
    assert sorted(await asyncio.gather(*(store.finish(task, Done(), now=NOW) for _ in range(2)))) == [False, True]


async def test_whoever_stops_waiting_takes_nobody_elses_end_along(store: SQLStore) -> None:
    await add(store, 3)
    tasks = await claimed(store, 3)
    waiting = [asyncio.ensure_future(store.finish(task, Done(), now=NOW)) for task in tasks]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert await asyncio.gather(*waiting[1:]) == [True, True]
    assert set((await states(store)).values()) == {"done"}


async def test_an_end_that_cannot_be_kept_fails_alone(store: SQLStore) -> None:
    await add(store, 3)
    tasks = await claimed(store, 3)
    bad = Dead(problem=object())  # type: ignore[arg-type] # what no database takes
    ends = [Done(), bad, Done()]
    found = await asyncio.gather(
        *(store.finish(task, end, now=NOW) for task, end in zip(tasks, ends, strict=True)), return_exceptions=True
    )
    assert found[0] is True
    assert found[2] is True
    assert isinstance(found[1], Exception)
    assert await store.finish(tasks[1], Done(), now=NOW)


async def test_ends_are_refused_by_a_store_that_is_closed(store: SQLStore) -> None:
    await add(store, 2)
    tasks = await claimed(store, 2)
    await store.close()
    found = await asyncio.gather(*(store.finish(task, Done(), now=NOW) for task in tasks), return_exceptions=True)
    assert [type(one) for one in found] == [StoreUnavailable] * 2


async def test_no_more_are_held_at_a_time_than_are_allowed_whoever_claims(store: SQLStore) -> None:
    await add(store, 9)

    async def claim(limit: int, now_after: timedelta = timedelta()) -> list[Task]:
        return await store.claim([_KIND], limit=limit, at_once=4, lease=LEASE, now=NOW + now_after)

    found = await asyncio.gather(*(claim(3) for _ in range(3)))
    assert sorted(len(tasks) for tasks in found) == [0, 1, 3]
    first = next(tasks for tasks in found if len(tasks) == 3)
    await store.finish(first[0], Done(), now=NOW)
    assert len(await claim(9)) == 1
    assert len(await claim(9, 2 * LEASE)) == 4  # of whoever held them nothing was heard: they hold no room


async def test_downloads_at_a_time_are_bound_over_all_hosts_too(store: SQLStore) -> None:
    for number in range(6):
        await store.accept(report(a_job(number), succeeded(f"https://h{number}.fal.media/v", f"r-{number}")))

    async def claim() -> list[Task]:
        return await store.links.claim(
            limit=3, at_once=4, per_host=2, counted_as=lambda url: url, lease=LEASE, now=NOW + timedelta(hours=1)
        )

    found = await asyncio.gather(claim(), claim(), claim())
    assert sorted(len(tasks) for tasks in found) == [0, 1, 3]
    assert len(await store.links.held(now=NOW + timedelta(hours=1))) == 4
