"""Who goes on when deliveries leave together, on both databases: no more than there is room for, and nobody is left."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from replyhook.notifications import NotificationType
from replyhook_receiver.answers import Answer
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import NotifyTarget
from replyhook_receiver.retries import probe_pause
from replyhook_receiver.stores.postgres import PostgreSQLStore
from replyhook_receiver.stores.sql.places import Limits, note_failure
from replyhook_receiver.stores.sql.rows import to_ms
from replyhook_receiver.stores.sql.store import SQLStore
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.tasks import Done, Task
from tests.contracts.store.material import (
    HOOK,
    LEASE,
    NOW,
    SECOND,
    a_job,
    describe,
    queued,
    report,
    running,
    submitted,
    succeeded,
)
from tests.receiver.sqlite_file import lay

LIMITS = Limits(place=2, host=100, all=100)
OK = Done(answer=Answer(status=200))


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SQLStore]:
    made: SQLStore
    if request.param == "sqlite":
        made = SQLiteStore(lay(tmp_path / "replyhook.db"), describe=describe, limits=LIMITS)
    else:
        made = PostgreSQLStore(request.getfixturevalue("postgres_url"), describe=describe, limits=LIMITS)
    await made.open()
    yield made
    await made.close()


async def add(store: SQLStore, count: int) -> list[str]:
    """So many jobs that are done, each with a delivery to the same place."""
    jobs = [a_job(number) for number in range(count)]
    for number, job in enumerate(jobs):
        at = NOW + number * SECOND / 1000
        await submitted(store, job, provider_job_id=f"r-{number}")
        await store.accept(report(job, succeeded(provider_job_id=f"r-{number}"), received_at=at))
    return jobs


async def claimed(store: SQLStore) -> list[Task]:
    return await store.claim([TaskKind.NOTIFY], limit=50, lease=LEASE, now=NOW + SECOND)


async def states(store: SQLStore) -> Counter[str]:
    statement = "SELECT state FROM tasks WHERE kind = 'notify'"
    rows = await store.database.read(lambda raw: raw.execute(statement).fetchall())
    return Counter(row["state"] for row in rows)


async def test_as_many_go_on_as_have_left_together(store: SQLStore) -> None:
    await add(store, 7)
    tasks = await claimed(store)
    assert await states(store) == {"leased": 2, "held": 5}
    assert await asyncio.gather(*(store.finish(task, OK, now=NOW + SECOND) for task in tasks)) == [True, True]
    assert await states(store) == {"done": 2, "ready": 2, "held": 3}


async def test_of_ends_that_come_together_one_whose_lease_was_lost_is_not_kept_nor_one_twice(store: SQLStore) -> None:
    await add(store, 2)
    first, second = await claimed(store)
    ends = [first, replace(second, lease="of somebody else"), first]
    assert await asyncio.gather(*(store.finish(end, OK, now=NOW + SECOND) for end in ends)) == [True, False, False]
    assert await states(store) == {"done": 1, "leased": 1}
    assert (await store.deliveries.summary(second.subject)).status == "pending"  # type: ignore[union-attr] # it is there


async def test_where_one_that_was_let_in_may_not_go_another_goes_on(store: SQLStore) -> None:
    jobs = await add(store, 4)
    tasks = await claimed(store)
    disable = "UPDATE endpoints SET disabled_ms = 1 WHERE job_id = ?"
    await store.database.write(lambda raw: raw.executemany(disable, [(job,) for job in jobs[2:3]]).rowcount)
    await store.finish(tasks[0], OK, now=NOW + SECOND)
    assert await claimed(store) == []  # the third was let in, and waits for its endpoint now
    (fourth,) = await claimed(store)
    delivery = await store.deliveries.get(fourth.subject)
    assert delivery is not None
    assert delivery.notification.job_id == jobs[3]


async def test_what_waits_behind_one_that_has_become_pointless_goes_on(store: SQLStore) -> None:
    job = a_job()
    await submitted(store, job, notify=(NotifyTarget(url=HOOK, types=tuple(NotificationType)),))
    await store.accept(report(job, queued()))
    (first,) = await claimed(store)
    await store.accept(report(job, running(10)))
    assert await claimed(store) == []
    await store.accept(report(job, succeeded()))
    assert await claimed(store) == []
    await store.finish(first, OK, now=NOW + SECOND)
    assert await claimed(store) == []  # the second was let go, and has become pointless
    (last,) = await claimed(store)
    delivery = await store.deliveries.get(last.subject)
    assert delivery is not None
    assert delivery.notification.type is NotificationType.JOB_SUCCEEDED


async def test_a_place_that_fails_is_left_alone_for_as_long_as_the_ladder_says(store: SQLStore) -> None:
    place = f"webhook {HOOK} secret"

    async def paused_ms() -> int:
        statement = "SELECT probe_ms FROM places WHERE place = ?"
        row = await store.database.read(lambda raw: raw.execute(statement, (place,)).fetchone())
        return int(row["probe_ms"]) - to_ms(NOW)

    found = []
    for _ in range(15):
        await store.database.write(lambda raw: note_failure(raw, place, Answer(status=500), NOW))
        found.append(await paused_ms())
    assert found == [round(probe_pause(failures).total_seconds() * 1000) for failures in range(1, 16)]
