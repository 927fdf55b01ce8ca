"""Which download is next: the link that ends first, with room at its host; and the last call for those not stored."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from replyhook.jobs import Asset, AssetStatus
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.postgres import PostgreSQLStore
from replyhook_receiver.stores.sql import links as links_module
from replyhook_receiver.stores.sql.store import SQLStore
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.tasks import Dead, Done, Retry, Task
from replyhook_receiver.work.hosts import MediaHosts, host_of
from tests.contracts.store.material import (
    LEASE,
    NOW,
    SECOND,
    VIDEO,
    a_job,
    describe,
    kinds_announced,
    report,
    says,
    succeeded,
    the_job,
)
from tests.receiver.sqlite_file import lay

HOUR = timedelta(hours=1)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SQLStore]:
    opened: SQLStore
    if request.param == "SQLite":
        opened = SQLiteStore(lay(tmp_path / "replyhook.db"), describe=describe)
    else:
        opened = PostgreSQLStore(request.getfixturevalue("postgres_url"), describe=describe)
    await opened.open()
    yield opened
    await opened.close()


def ending(hours: float, host: str = "a.example", number: int = 0) -> str:
    return f"https://{host}/{number}.mp4?Expires={int((NOW + hours * HOUR).timestamp())}&Signature=x"


async def told(store: SQLStore, number: int, url: str, *, provider: str = "fal", job: str | None = None) -> str:
    job = job or a_job(number)
    await store.accept(report(job, succeeded(url, f"r-{number}"), provider=provider, received_at=NOW))
    return job


async def claim(store: SQLStore, limit: int = 9, *, per_host: int = 9, now=NOW) -> list[Task]:  # type: ignore[no-untyped-def]
    return await store.links.claim(limit=limit, at_once=99, per_host=per_host, counted_as=host_of, lease=LEASE, now=now)


async def test_the_link_that_ends_first_is_tried_first_whenever_it_was_told(store: SQLStore) -> None:
    late, soon = await told(store, 1, ending(9)), await told(store, 2, ending(0.2))
    week = await told(store, 3, "https://v3.fal.media/one.mp4")  # fal's live for 7 days
    unknown = await told(store, 4, "https://media.pixverse.example/one.mp4", provider="useapi")  # an hour is assumed
    order = []
    while tasks := await claim(store, 1):
        order += [task.subject for task in tasks]
    assert order == [soon, unknown, late, week]
    ends = [(await the_job(store, job)).asset.expires_at for job in order]
    assert ends == [NOW + 0.2 * HOUR, NOW + HOUR, NOW + 9 * HOUR, NOW + timedelta(days=7)]


async def test_what_the_provider_says_itself_is_kept(store: SQLStore) -> None:
    job = a_job()
    event = says(succeeded().status, result=Asset(url=ending(5), expires_at=NOW + 2 * HOUR))
    await store.accept(report(job, event))
    await claim(store)
    assert (await the_job(store, job)).asset.expires_at == NOW + 2 * HOUR


async def test_a_fresh_link_has_a_fresh_end(store: SQLStore) -> None:
    job = await told(store, 1, ending(1))
    (task,) = await claim(store)
    await store.finish(task, Retry(due_at=NOW + 2 * HOUR, problem="busy"), now=NOW)
    await told(store, 1, ending(7), job=job)
    await claim(store)
    assert (await the_job(store, job)).asset.expires_at == NOW + 7 * HOUR


async def test_one_host_never_takes_all_the_places(store: SQLStore) -> None:
    busy = [await told(store, number, ending(1 + number, "busy.example")) for number in range(5)]
    other = await told(store, 9, ending(20, "other.example"))
    first = await claim(store, 4, per_host=2)
    assert [task.subject for task in first] == [busy[0], busy[1], other]
    assert await claim(store, 4, per_host=2) == []
    await store.finish(first[0], Done(video=VIDEO), now=NOW)
    assert [task.subject for task in await claim(store, 4, per_host=2)] == [busy[2]]
    again = await claim(store, 9, per_host=2, now=NOW + LEASE)  # a killed worker's leases hold no places
    assert [task.subject for task in again] == [busy[1], busy[2], other]


async def test_the_names_of_one_media_host_share_its_places(store: SQLStore) -> None:
    jobs = [await told(store, number, ending(1 + number, f"v{number}.fal.media")) for number in range(5)]
    counted_as = MediaHosts([".fal.media"]).counted_as
    first = await store.links.claim(limit=9, at_once=99, per_host=2, counted_as=counted_as, lease=LEASE, now=NOW)
    assert [task.subject for task in first] == jobs[:2]
    assert await store.links.claim(limit=9, at_once=99, per_host=2, counted_as=counted_as, lease=LEASE, now=NOW) == []
    waiting = await store.links.first_waiting(now=NOW)
    assert [link.ends_at for link in waiting] == [NOW + hours * HOUR for hours in (3, 4, 5)]


async def test_nothing_is_claimed_before_it_is_due_or_twice(store: SQLStore) -> None:
    await told(store, 1, ending(1))
    (task,) = await claim(store)
    assert await claim(store) == []
    await store.finish(task, Retry(due_at=NOW + 5 * SECOND, problem="busy"), now=NOW)
    assert await claim(store, now=NOW + 4 * SECOND) == []
    (again,) = await claim(store, now=NOW + 5 * SECOND)
    assert again.attempt == 2


async def test_a_try_that_was_none_is_not_counted(store: SQLStore) -> None:
    await told(store, 1, ending(1))
    for _ in range(3):
        (task,) = await claim(store)
        assert task.attempt == 1
        await store.finish(task, Retry(due_at=NOW, problem="low disk", counts=False), now=NOW)


async def test_a_task_without_a_link_to_wait_for_is_claimed_too(store: SQLStore) -> None:
    job = await told(store, 1, ending(1))
    (task,) = await claim(store)
    await store.finish(task, Retry(due_at=NOW, problem="busy"), now=NOW)
    await store.database.write(lambda raw: raw.execute("UPDATE assets SET status = 'stored'").rowcount)
    assert [task.subject for task in await claim(store)] == [job]


@pytest.mark.parametrize("store", ["SQLite"], indirect=True)
async def test_the_order_is_read_from_indexes_however_many_wait(store: SQLStore) -> None:
    await told(store, 1, ending(1))
    for statement in (links_module._BY_EXPIRY, links_module._UNDATED, links_module._ANY_UNDATED, links_module._WAITING):
        plan = await store.database.read(
            lambda raw, text=statement: raw.execute(
                f"EXPLAIN QUERY PLAN {text}", (0,) if "?1" in text else ()
            ).fetchall()  # type: ignore[misc]
        )
        words = " / ".join(row["detail"] for row in plan)
        assert "assets_" in words, words
        assert "SCAN assets /" not in f"{words} /", words
        assert "TEMP B-TREE" not in words, words
        assert "SCAN t" not in words, words


async def last_calls(store: SQLStore, now) -> list[Task]:  # type: ignore[no-untyped-def]
    return await store.claim([TaskKind.EXPIRING], limit=9, lease=LEASE, now=now)


async def test_a_video_that_is_not_stored_when_its_link_is_about_to_end_is_told_of_once(store: SQLStore) -> None:
    job = await told(store, 1, ending(4))
    (task,) = await claim(store)
    await store.finish(task, Retry(due_at=NOW + 9 * HOUR, problem="busy"), now=NOW)
    assert await store.next_due(now=NOW, kinds=[TaskKind.EXPIRING]) == NOW + 3 * HOUR
    assert await last_calls(store, NOW + 3 * HOUR - SECOND) == []
    (call,) = await last_calls(store, NOW + 3 * HOUR)
    await store.finish(call, Done(), now=NOW + 3 * HOUR)
    waiting = await store.links.waiting()
    assert (waiting.videos, waiting.expiring, waiting.next_end) == (1, 1, NOW + 4 * HOUR)
    assert await kinds_announced(store, job) == ["job.succeeded", "video.expiring"]
    await told(store, 1, ending(8), job=job)  # a fresh link that ends unused too
    await claim(store, now=NOW + 3 * HOUR)
    assert await last_calls(store, NOW + 7 * HOUR) == []
    assert (await the_job(store, job)).asset.status is AssetStatus.PENDING


@pytest.mark.parametrize("outcome", [Done(video=VIDEO), Dead(problem="lost")])
async def test_what_is_stored_or_lost_needs_no_last_call(store: SQLStore, outcome: Done | Dead) -> None:
    await told(store, 1, ending(4))
    (task,) = await claim(store)
    await store.finish(task, outcome, now=NOW)
    assert await store.next_due(now=NOW, kinds=[TaskKind.EXPIRING]) is None
    assert await last_calls(store, NOW + 9 * HOUR) == []


async def test_a_link_that_ends_while_all_places_are_taken_is_told_of_too(store: SQLStore) -> None:
    await told(store, 1, ending(4))
    await store.links.date()
    assert await store.next_due(now=NOW, kinds=[TaskKind.EXPIRING]) == NOW + 3 * HOUR


@pytest.mark.parametrize(("hours", "status"), [(1, AssetStatus.FAILED), (5, AssetStatus.EXPIRED)])
async def test_a_video_lost_after_its_links_end_is_expired(store: SQLStore, hours: int, status: AssetStatus) -> None:
    job = await told(store, 1, ending(4))
    (task,) = await claim(store)
    await store.finish(task, Dead(problem="gone"), now=NOW + hours * HOUR)
    assert (await the_job(store, job)).asset.status is status
    assert (await kinds_announced(store, job))[-1] == "video.failed"
