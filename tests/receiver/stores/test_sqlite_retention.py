"""SQLite: throwing away what is old, erasing a user, and what must be there afterwards all the same."""

import dataclasses
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from replyhook.errors import VerificationError
from replyhook.jobs import AssetStatus
from replyhook_receiver.answers import Answer
from replyhook_receiver.errors import RegistrationConflict
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.stores.retention import KeepFor
from replyhook_receiver.stores.sql.pruning import walks
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.tasks import Dead, Done, Retry, StoredVideo
from tests.contracts.store.material import (
    NOW,
    VIDEO,
    a_job,
    all_delivered,
    describe,
    failed,
    one_task,
    registration,
    report,
    running,
    submitted,
    succeeded,
    the_job,
    told,
)
from tests.receiver.sqlite_file import lay

DAY = timedelta(days=1)
KEEP = KeepFor(bodies=30 * DAY, notifications=30 * DAY, history=400 * DAY)
BODY = b'{"status": "OK", "padding": "' + b"all the same " * 50 + b'"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replyhook.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    async with opened(path) as store:
        yield store


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(lay(path), describe=describe)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        return raw.execute(statement).fetchall()


async def prune(store: SQLiteStore, *, days: float, keep: KeepFor = KEEP, dry_run: bool = False) -> Counter[str]:
    swept: Counter[str] = Counter()
    async for step in store.retention.prune(keep, now=NOW + days * DAY, dry_run=dry_run):
        swept[step.what] += step.count
    return +swept


async def finished(store: SQLiteStore, *, day: float = 0, **more: Any) -> str:
    """A job with its video stored and everybody told."""
    at, job = NOW + day * DAY, a_job()
    await submitted(store, job, provider_job_id=f"r-{job}", **more)
    await store.accept(report(job, succeeded(provider_job_id=f"r-{job}"), received_at=at, body=BODY))
    task = await one_task(store, TaskKind.DOWNLOAD, now=at)
    await store.finish(task, Done(video=video_of(job)), now=at)
    await all_delivered(store, now=at)
    return job


def video_of(job: str) -> StoredVideo:
    return dataclasses.replace(VIDEO, name=f"2026/11/21/{job}.mp4")


async def test_a_body_is_compressed_after_a_day_read_as_it_came_and_dropped_after_its_time(
    store: SQLiteStore, path: Path
) -> None:
    job = await finished(store)
    (callback,) = await store.history.callbacks()
    assert await prune(store, days=0.9) == {}
    assert (await prune(store, days=2))["bodies compressed"] == 1
    assert rows(path, "SELECT length(body) < 200, raw_bytes FROM callbacks") == [(1, len(BODY))]
    kept = await store.history.callback(callback.id)
    assert kept is not None
    assert (kept.callback.body, kept.callback.dropped_bytes) == (BODY, None)
    await settle(store, job)
    assert (await prune(store, days=31))["bodies"] == 1
    kept = await store.history.callback(callback.id)
    assert kept is not None
    assert (kept.callback.body, kept.callback.headers, kept.callback.dropped_bytes) == (b"", (), len(BODY))
    (listed,) = await store.history.callbacks()
    assert listed.bytes == len(BODY)


async def settle(store: SQLiteStore, job: str) -> None:
    """Let the deadline of a job that has ended pass, as the worker does."""
    assert await store.claim([TaskKind.RECONCILE], limit=10, lease=DAY, now=NOW + 20 * DAY) == []
    assert (await the_job(store, job)).overdue_at is None


async def test_a_body_stays_while_work_of_its_job_is_pending_and_goes_in_the_round_after(
    store: SQLiteStore, path: Path
) -> None:
    job = a_job()
    await submitted(store, job)
    await store.accept(report(job, succeeded(), body=BODY))
    await settle(store, job)
    await prune(store, days=31)
    assert rows(path, "SELECT raw_bytes, length(body) > 0 FROM callbacks") == [(len(BODY), 1)]
    task = await one_task(store, TaskKind.DOWNLOAD, now=NOW + 31 * DAY)
    await store.finish(task, Done(video=VIDEO), now=NOW + 31 * DAY)
    await all_delivered(store, now=NOW + 31 * DAY)
    assert (await prune(store, days=32))["bodies"] == 1
    assert rows(path, "SELECT length(body) FROM callbacks") == [(0,)]


async def test_the_newest_notification_stays_and_a_cursor_older_than_what_is_kept_is_noticed(
    store: SQLiteStore, path: Path
) -> None:
    waiting = a_job()
    await submitted(store, waiting, provider_job_id="r-w")
    await store.accept(report(waiting, failed("r-w")))  # nobody has been told of it yet
    job = a_job()
    await submitted(store, job, notify=())
    for progress in range(10, 60, 10):
        await store.accept(report(job, running(progress)))
    await store.accept(report(job, failed()))
    before = rows(path, "SELECT sequence FROM notifications ORDER BY 1")
    last = await store.last_notification()
    assert (await prune(store, days=31))["notifications"] == len(before) - 2
    assert rows(path, "SELECT sequence FROM notifications ORDER BY 1") == [before[0], (last,)]
    bounds = await store.streams.bounds()
    assert (bounds.first, bounds.last) == (last, last)  # not 1, though the one that is still to be delivered is there
    heard = await all_delivered(store, now=NOW + 31 * DAY)
    assert [delivery.notification.job_id for delivery in heard] == [waiting]
    other = a_job()
    await submitted(store, other, provider_job_id="r-o")
    await store.accept(report(other, failed("r-o")))
    assert await store.last_notification() == last + 1


async def test_orphans_go_after_thirty_days_and_not_before(store: SQLiteStore, path: Path) -> None:
    await store.accept(told(succeeded(provider_job_id="p-1"), body=BODY))
    await store.accept(told(None, body=b"what is this"))
    await prune(store, days=29)
    assert rows(path, "SELECT count(*) FROM callbacks") == [(2,)]
    assert (await prune(store, days=31))["orphans"] == 2
    assert rows(path, "SELECT (SELECT count(*) FROM callbacks), (SELECT count(*) FROM events)") == [(0, 0)]


async def test_a_repeat_is_still_a_duplicate_long_after_its_body_is_gone(store: SQLiteStore) -> None:
    job = await finished(store)
    await settle(store, job)
    await prune(store, days=100)
    again = report(job, succeeded(provider_job_id=f"r-{job}"), received_at=NOW + 100 * DAY)
    assert (await store.accept(again)).verdict is Verdict.DUPLICATE


async def test_a_job_goes_with_its_history_but_one_with_a_stored_video_stays_and_loses_only_what_was_told(
    store: SQLiteStore, path: Path
) -> None:
    stays = await finished(store)
    goes = a_job()
    await submitted(store, goes, provider_job_id="r-g")
    await store.accept(report(goes, failed("r-g")))
    await all_delivered(store)
    await settle(store, stays)
    waits = a_job()  # neither ended nor given up: its deadline is ahead
    await submitted(store, waits, provider_job_id="r-x")
    await prune(store, days=401)
    assert set(rows(path, "SELECT id FROM jobs")) == {(stays,), (waits,)}
    assert rows(path, "SELECT count(*) FROM callbacks") == [(0,)]
    assert (await the_job(store, stays)).asset.status is AssetStatus.STORED
    assert await store.retention.unwanted_videos(now=NOW + 500 * DAY) == []


async def test_videos_go_after_their_days_the_row_first_and_the_file_is_not_forgotten(store: SQLiteStore) -> None:
    job = await finished(store)
    keep = KeepFor(bodies=30 * DAY, notifications=30 * DAY, history=400 * DAY, videos=7 * DAY)
    assert (await prune(store, days=6, keep=keep))["videos"] == 0
    assert (await prune(store, days=8, keep=keep))["videos"] == 1
    assert (await the_job(store, job)).asset.status is AssetStatus.EXPIRED
    now = NOW + 8 * DAY
    (name,) = await store.retention.unwanted_videos(now=now)
    assert name == f"2026/11/21/{job}.mp4"
    assert await store.retention.next_unwanted() == now
    await store.retention.forget_video(name, now=now)
    assert await store.retention.next_unwanted() is None


async def test_a_dry_run_says_how_many_and_changes_nothing(store: SQLiteStore, path: Path) -> None:
    job = await finished(store)
    await settle(store, job)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        before = list(raw.iterdump())
    found = await prune(store, days=401, dry_run=True)
    assert (found["jobs"], found["bodies"], found["notifications"]) == (1, 1, 1)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        assert list(raw.iterdump()) == before


async def test_an_erased_users_jobs_are_gone_and_their_tokens_never_make_them_again(
    store: SQLiteStore, path: Path
) -> None:
    job = await finished(store, user="jane.doe@example.com", reference="jane's")
    other = await finished(store, user="u_8")
    assert await store.erasing.count("jane.doe@example.com") == 1
    assert [gone async for gone in store.erasing.erase("jane.doe@example.com", now=NOW)] == [job]
    assert await store.job(job) is None
    assert (await the_job(store, other)).asset.status is AssetStatus.STORED
    with pytest.raises(VerificationError, match="erased"):
        await store.accept(report(job, running(5)))
    with pytest.raises(RegistrationConflict, match="erased"):
        await store.register(registration(job), now=NOW)
    assert await store.retention.unwanted_videos(now=NOW) == [f"2026/11/21/{job}.mp4"]
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        left = [line for line in raw.iterdump() if job in line]
    assert len(left) == 2  # the tombstone, and the duty to remove the video
    assert not any("jane" in line for line in left)


async def test_a_user_whose_notification_is_the_newest_leaves_its_place_and_nothing_in_it(
    store: SQLiteStore, path: Path
) -> None:
    await finished(store, user="jane", reference="jane's order")
    last = await store.last_notification()
    assert len([gone async for gone in store.erasing.erase("jane", now=NOW)]) == 1
    assert await store.last_notification() == last
    assert not [body for (body,) in rows(path, "SELECT body FROM notifications") if b"jane" in body]
    assert rows(path, "SELECT count(*) FROM deliveries") == [(0,)]


async def test_an_erased_job_whose_download_is_under_way_is_cleared_up_after_it_too(store: SQLiteStore) -> None:
    job = a_job()
    await submitted(store, job, user="jane")
    await store.accept(report(job, succeeded()))
    task = await one_task(store, TaskKind.DOWNLOAD)
    assert [gone async for gone in store.erasing.erase("jane", now=NOW)] == [job]
    assert not await store.finish(task, Done(video=VIDEO), now=NOW)
    name = f"2026/11/21/{job}.mp4"
    assert await store.retention.unwanted_videos(now=NOW) == [name]
    await store.retention.forget_video(name, now=NOW)
    assert await store.retention.unwanted_videos(now=NOW + DAY) == [name]


async def test_while_the_work_is_on_hold_nothing_is_claimed_and_callbacks_are_kept(store: SQLiteStore) -> None:
    job = a_job()
    await submitted(store, job)
    hold = await store.holding.begin("moving house", now=NOW)
    assert await store.holding.begin("again", now=NOW + DAY) == hold
    await store.accept(report(job, succeeded()))
    assert await store.next_due(now=NOW + DAY) is None
    assert await store.claim(list(TaskKind), limit=9, lease=DAY, now=NOW + DAY) == []
    assert await store.links.claim(limit=9, at_once=99, per_host=9, counted_as=str, lease=DAY, now=NOW + DAY) == []
    assert await store.holding.end() == hold
    assert await store.holding.status() is None
    assert await one_task(store, TaskKind.DOWNLOAD, now=NOW)


# What is said of a few jobs and done for them, with rounds in between, in any order

STEPS = st.lists(
    st.tuples(st.sampled_from(["tell", "work", "round", "again"]), st.integers(0, 2), st.integers(0, 40)),
    min_size=3,
    max_size=14,
)
WORDS = [running(10), running(50), succeeded(), succeeded(None), failed()]


@given(steps=STEPS, seed=st.integers(0, 2**32))
@settings(max_examples=25)
async def test_no_round_takes_what_unfinished_work_needs(steps: list[tuple[str, int, int]], seed: int) -> None:
    luck = Random(seed)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "replyhook.db"
        async with opened(path) as store:
            now, jobs = NOW, [a_job(number) for number in range(3)]
            for number, job in enumerate(jobs):
                await submitted(store, job, provider_job_id=f"r-{number}")
            for kind, which, days in steps:
                now += days * DAY
                if kind == "tell":
                    event = replace(luck.choice(WORDS), provider_job_id=f"r-{which}")
                    await store.accept(report(jobs[which], event, received_at=now, body=BODY))
                elif kind == "work":
                    await some_work(store, luck, now)
                else:
                    await a_round_that_harms_nothing(store, path, now)


async def some_work(store: SQLiteStore, luck: Random, now: datetime) -> None:
    for task in await store.claim(list(TaskKind), limit=3, lease=timedelta(minutes=1), now=now):
        what = luck.randrange(4)
        if what == 0:
            await store.finish(task, Dead(problem="given up"), now=now)
        elif what == 1:
            await store.finish(task, Retry(due_at=now + DAY, problem="not yet"), now=now)
        elif what == 2:
            done = Done(video=VIDEO) if task.kind is TaskKind.DOWNLOAD else Done(answer=Answer(status=200))
            await store.finish(task, done, now=now)


NEEDED = {
    "pending deliveries": """SELECT d.id, n.body, e.url FROM deliveries d
        JOIN notifications n ON n.sequence = d.notification JOIN endpoints e ON e.id = d.endpoint_id
        WHERE d.status = 'pending' ORDER BY 1""",
    "open tasks": "SELECT kind, subject, state, attempts FROM tasks WHERE state NOT IN ('done', 'dead') ORDER BY 1, 2",
    "wanted videos": "SELECT * FROM jobs JOIN assets a ON job_id = id WHERE a.status = 'pending' ORDER BY 1",
    "bodies at work": """SELECT id, coalesce(raw_bytes, length(body)), length(body) > 0 FROM callbacks c WHERE EXISTS (
        SELECT 1 FROM tasks t WHERE t.subject = c.job_id AND t.state NOT IN ('done', 'dead')) ORDER BY 1""",
    "the newest": "SELECT max(sequence) FROM notifications",
    "deadlines": "SELECT * FROM deadlines ORDER BY 1",
    "dead links": "SELECT kind, subject FROM tasks JOIN jobs ON id = subject WHERE state = 'dead' ORDER BY 1, 2",
}


async def a_round_that_harms_nothing(store: SQLiteStore, path: Path, now: datetime) -> None:
    before = {what: rows(path, statement) for what, statement in NEEDED.items()}
    jobs = {row[0] for row in rows(path, "SELECT id FROM jobs")}
    await prune(store, days=(now - NOW) / DAY)
    after = {what: rows(path, statement) for what, statement in NEEDED.items()}
    left = {row[0] for row in rows(path, "SELECT id FROM jobs")}
    before["dead links"] = [row for row in before["dead links"] if row[1] in left]  # a job's tasks go with it
    assert after == before
    assert rows(path, "PRAGMA foreign_key_check") == []
    assert left <= jobs
    assert {row[0] for row in rows(path, "SELECT job_id FROM callbacks")} <= left


async def test_a_job_that_somebody_is_still_to_hear_of_stays_with_its_bodies(store: SQLiteStore, path: Path) -> None:
    job = a_job()
    await submitted(store, job)
    await store.accept(report(job, failed(), body=BODY))  # its delivery is never made
    await settle(store, job)
    await prune(store, days=500)
    assert rows(path, "SELECT id FROM jobs") == [(job,)]
    assert rows(path, "SELECT length(body) > 0 FROM callbacks") == [(1,)]


async def test_a_job_whose_video_is_still_wanted_stays_though_nobody_is_at_it(store: SQLiteStore, path: Path) -> None:
    job = a_job()
    await submitted(store, job, notify=())
    await store.accept(report(job, succeeded(), body=BODY))
    await settle(store, job)
    await store.finish(await one_task(store, TaskKind.DOWNLOAD), Done(), now=NOW)
    await prune(store, days=500)
    assert rows(path, "SELECT id FROM jobs") == [(job,)]
    assert rows(path, "SELECT length(body) > 0 FROM callbacks") == [(1,)]


async def test_what_is_put_back_between_the_look_and_the_removal_stays(store: SQLiteStore) -> None:
    job = a_job()
    await submitted(store, job)
    await store.accept(report(job, failed()))
    task = await one_task(store, TaskKind.NOTIFY)
    await store.finish(task, Dead(problem="nobody there"), now=NOW)
    other = a_job()
    await submitted(store, other, provider_job_id="r-2")
    await store.accept(report(other, failed("r-2")))
    walk = next(walk for walk in walks(KEEP, NOW + 31 * DAY) if walk.what == "notifications")
    keys, _ = await store.database.read(lambda raw: walk.look(raw, walk.start))
    assert len(keys) == 1
    await store.deliveries.retry(task.subject, now=NOW + 31 * DAY)
    assert await store.database.write(lambda raw: walk.remove(raw, keys)) == 0
    assert await store.deliveries.get(task.subject) is not None
    newest: Any = [(await store.last_notification(),)]
    assert await store.database.write(lambda raw: walk.remove(raw, newest)) == 0
