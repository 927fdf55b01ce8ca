"""PostgreSQL: bodies go by the day's partition, what is needed stays, and what keeps facts apart stays for long."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.stores.postgres import PostgreSQLStore, partitions
from replyhook_receiver.stores.retention import KeepFor
from replyhook_receiver.tasks import Done
from tests.contracts.store.material import LEASE, VIDEO, a_job, describe, failed, report, running, succeeded
from tests.receiver.postgres_server import PostgreSQLServer

DAY = timedelta(days=1)
TODAY = datetime.now(UTC)
"""The real one: for its days there are partitions."""

KEEP = KeepFor(bodies=2 * DAY, notifications=30 * DAY, history=400 * DAY)
BODY = b'{"status": "OK"}'


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgreSQLStore]:
    opened = PostgreSQLStore(postgres_url, describe=describe)
    await opened.open()
    yield opened
    await opened.close()


async def prune(store: PostgreSQLStore, now: datetime, *, dry_run: bool = False) -> Counter[str]:
    swept: Counter[str] = Counter()
    async for step in store.retention.prune(KEEP, now=now, dry_run=dry_run):
        swept[step.what] += step.count
    return +swept


async def there(store: PostgreSQLStore) -> list[str]:
    return await store.database.read(partitions.names)


async def body(store: PostgreSQLStore, callback_id: str) -> tuple[bytes, int | None]:
    kept = await store.history.callback(callback_id)
    assert kept is not None
    return kept.callback.body, kept.callback.dropped_bytes


async def test_old_bodies_are_dropped_with_their_days_partition_and_the_ledger_stays(store: PostgreSQLStore) -> None:
    entry = report(a_job(), failed(), received_at=TODAY, body=BODY)
    await store.accept(entry)
    name = f"callback_bodies_{TODAY:%Y%m%d}"
    assert name in await there(store)
    assert "bodies" not in await prune(store, TODAY + 2 * DAY)
    assert await body(store, entry.callback_id) == (BODY, None)
    assert (await prune(store, TODAY + 4 * DAY, dry_run=True))["bodies"] == 1
    assert (await prune(store, TODAY + 4 * DAY))["bodies"] == 1
    assert name not in await there(store)
    assert await body(store, entry.callback_id) == (b"", len(BODY))
    (told,) = await store.history.callbacks()
    assert told.bytes == len(BODY)
    again = await store.accept(report(entry.job_id, failed(), received_at=TODAY + 4 * DAY))
    assert again.verdict is Verdict.DUPLICATE, "what keeps facts apart went with the bodies"


async def test_a_body_that_pending_work_may_need_keeps_its_partition_until_it_does_not(store: PostgreSQLStore) -> None:
    needed = report(a_job(), succeeded(), received_at=TODAY, body=BODY)
    other = report(a_job(1), failed("r-2"), received_at=TODAY, body=BODY)
    for each in (needed, other):
        await store.accept(each)
    assert (await prune(store, TODAY + 4 * DAY))["bodies"] == 1
    assert await body(store, needed.callback_id) == (BODY, None)
    assert await body(store, other.callback_id) == (b"", len(BODY))
    (task,) = await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=TODAY)
    await store.finish(task, Done(video=VIDEO), now=TODAY)
    await prune(store, TODAY + 5 * DAY)
    assert await body(store, needed.callback_id) == (b"", len(BODY))
    await prune(store, TODAY + 6 * DAY)
    assert f"callback_bodies_{TODAY:%Y%m%d}" not in await there(store)


async def test_bodies_of_days_without_a_partition_are_kept_and_dropped_too(store: PostgreSQLStore) -> None:
    past = TODAY - 100 * DAY
    entry = report(a_job(), failed(), received_at=past, body=BODY)
    await store.accept(entry)
    assert await body(store, entry.callback_id) == (BODY, None)
    assert (await prune(store, TODAY))["bodies"] == 1
    assert await body(store, entry.callback_id) == (b"", len(BODY))


async def test_a_dump_that_is_being_made_holds_up_no_callback_and_keeps_the_partitions(
    store: PostgreSQLStore, postgres_url: str
) -> None:
    entry = report(a_job(), failed(), received_at=TODAY, body=BODY)
    await store.accept(entry)
    async with await psycopg.AsyncConnection.connect(postgres_url) as dump:
        await dump.execute(b"SELECT count(*) FROM callback_bodies")
        await asyncio.sleep(1.2)
        async with asyncio.timeout(60):
            assert "bodies" not in await prune(store, TODAY + 4 * DAY)
            await store.accept(report(a_job(1), failed("r-2"), received_at=TODAY, body=BODY))
        await dump.rollback()
    assert (await prune(store, TODAY + 4 * DAY))["bodies"] == 2


async def test_partitions_are_made_ahead_when_it_is_opened(postgres_server: PostgreSQLServer) -> None:
    url = await asyncio.to_thread(postgres_server.new_database)
    store = PostgreSQLStore(url, describe=describe)
    await store.open()
    days = {f"callback_bodies_{TODAY + number * DAY:%Y%m%d}" for number in range(partitions.AHEAD.days)}
    found = set(await there(store))
    await store.close()
    await asyncio.to_thread(postgres_server.drop, url)
    assert days <= found


async def test_a_user_is_erased_with_bodies_and_all(store: PostgreSQLStore) -> None:
    entry = report(a_job(), running(5), received_at=TODAY, body=BODY)
    await store.accept(entry)
    await store.database.write(lambda raw: raw.execute('UPDATE jobs SET "user" = ?', ("u",)))
    assert [job async for job in store.erasing.erase("u", now=TODAY)] == [entry.job_id]
    counting = "SELECT count(*) AS left_over FROM callback_bodies"
    assert (await store.database.read(lambda raw: raw.execute(counting).fetchone()))["left_over"] == 0
    assert await store.history.callback(entry.callback_id) is None
