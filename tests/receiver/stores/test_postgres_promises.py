"""PostgreSQL: what its promises rest on: several at once, odd text, and what is shown."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from replyhook.errors import ConfigurationError
from replyhook.jobs import JobError, JobEvent, JobStatus
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import Accepted
from replyhook_receiver.stores.postgres import PostgreSQLStore, listening, upkeep
from replyhook_receiver.stores.streams import EVERYTHING
from replyhook_receiver.tasks import Task
from tests.contracts.store.material import (
    LEASE,
    NOW,
    a_job,
    all_of,
    describe,
    registration,
    report,
    running,
    submitted,
    succeeded,
    the_job,
)
from tests.receiver.postgres_server import PASSWORD, PostgreSQLServer
from tests.receiver.stores.postgres_store import opened
from tests.receiver.support import until


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgreSQLStore]:
    async with opened(postgres_url) as store:
        yield store


# Several on one database


async def test_several_that_start_at_once_on_an_empty_database_make_its_schema_once(
    postgres_server: PostgreSQLServer,
) -> None:
    url = await asyncio.to_thread(postgres_server.new_database)
    stores = [PostgreSQLStore(url, describe=describe) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    assert await all_of(store.check() for store in stores) == [True] * 4
    await asyncio.gather(*(store.close() for store in stores))
    assert upkeep.pending_migrations(url) == []
    await asyncio.to_thread(postgres_server.drop, url)


async def test_two_stores_that_claim_at_once_never_get_the_same_task(store: PostgreSQLStore, postgres_url: str) -> None:
    for number in range(40):
        await store.accept(report(a_job(number), succeeded(f"https://v3.fal.media/{number}", f"r-{number}")))
    async with opened(postgres_url) as other:

        async def claimed(one: PostgreSQLStore) -> list[Task]:
            return await one.claim([TaskKind.DOWNLOAD], limit=3, lease=LEASE, now=NOW + timedelta(hours=1))

        tasks = await all_of(claimed(each) for _ in range(10) for each in (store, other))
    subjects = [task.subject for some in tasks for task in some]
    assert len(subjects) == len(set(subjects)) == 40


async def test_a_lease_that_another_took_over_can_not_be_finished_from_here(
    store: PostgreSQLStore, postgres_url: str
) -> None:
    await store.accept(report(a_job(), succeeded()))
    (mine,) = await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW)
    async with opened(postgres_url) as other:
        later = NOW + 2 * LEASE
        (theirs,) = await other.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=later)
        assert mine.subject == theirs.subject
        assert await store.renew([mine], lease=LEASE, now=later) == set()
        assert await other.renew([theirs], lease=LEASE, now=later) == {theirs.lease}


async def test_whoever_reads_the_stream_misses_nothing_while_two_write(
    store: PostgreSQLStore, postgres_url: str
) -> None:
    jobs = 120
    seen: list[int] = []
    async with opened(postgres_url) as other, opened(postgres_url) as reader:

        async def read() -> None:
            while len(seen) < jobs:
                bounds = await reader.streams.bounds()
                page = await reader.streams.page(EVERYTHING, after=seen[-1] if seen else 0, through=bounds.last)
                seen.extend(entry.sequence for entry in page.entries)

        async def write(one: PostgreSQLStore, number: int) -> None:
            await asyncio.sleep(random.random() / 2)
            await one.accept(report(a_job(number), running(5, f"r-{number}")))

        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            group.create_task(read())
            for number in range(jobs):
                group.create_task(write((store, other)[number % 2], number))
    assert seen == list(range(1, jobs + 1))


async def test_the_same_fact_told_to_two_receivers_at_once_is_applied_once(
    store: PostgreSQLStore, postgres_url: str
) -> None:
    job = a_job()
    async with opened(postgres_url) as other:
        results = await all_of(each.accept(report(job, running(5))) for _ in range(10) for each in (store, other))
    assert all(isinstance(result, Accepted) for result in results)
    assert [each.type for each in await store.notifications(after=0, job_id=job)] == ["job.running"]


async def test_the_others_are_told_soon_of_what_one_commits(
    store: PostgreSQLStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "FALLBACK_SECONDS", 240.0)  # nor does it look by itself meanwhile
    async with opened(postgres_url) as other:
        await asyncio.sleep(0)
        heard = asyncio.Event()
        other.on_change(tasks=heard.set, notifications=lambda: None)
        await store.accept(report(a_job(), running(5)))
        async with asyncio.timeout(60):
            await heard.wait()


async def test_what_nobody_was_told_of_is_looked_for_all_the_same(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "FALLBACK_SECONDS", 0.1)
    async with opened(postgres_url) as store:
        heard = 0

        def hear() -> None:
            nonlocal heard
            heard += 1

        store.on_change(tasks=hear, notifications=lambda: None)
        await until(lambda: heard >= 3)


# Text


async def test_text_that_postgres_cannot_hold_is_kept_as_near_as_it_can_and_the_body_as_it_came(
    store: PostgreSQLStore,
) -> None:
    job = a_job()
    event = JobEvent(
        status=JobStatus.FAILED, error=JobError(code="no\x00pe", message="a \x00 in it"), provider_job_id="r\x001"
    )
    told_as = report(job, event, body=b'{"a": "\\u0000", "b": "\x00"}', headers=(("x-odd", "a\x00b"),))
    await store.accept(told_as)
    assert (await store.accept(report(job, event))).verdict is Verdict.DUPLICATE
    found = await the_job(store, job)
    assert (found.status, found.error) == (JobStatus.FAILED, JobError(code="no\ufffdpe", message="a \ufffd in it"))
    assert found.provider_job_id == "r\ufffd1"
    kept = await store.history.callback(told_as.callback_id)
    assert kept is not None
    assert (kept.callback.body, kept.callback.headers) == (told_as.body, told_as.headers)


async def test_what_is_long_from_outside_is_kept_found_and_kept_apart(store: PostgreSQLStore) -> None:
    name, reference = (random.Random(seed).randbytes(8_000).hex() for seed in range(2))
    job = a_job()
    await submitted(store, job, provider_job_id=name, reference=reference)
    await store.accept(report(None, running(5, name), nonce=name))
    assert (await the_job(store, job)).status is JobStatus.RUNNING
    assert [each.job_id for each in await store.history.find(reference)] == [job]
    await store.register(registration(a_job(1), reference=reference), now=NOW)


# What is shown


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace(PASSWORD, f"{PASSWORD}-wrong"),
        lambda url: url.replace("@127.0.0.1", "@nowhere.invalid"),
        lambda url: url.rpartition("/")[0] + "/nowhere",
        lambda url: url.replace(PASSWORD, f"{PASSWORD}%zz"),
        lambda url: url + "?no_such_option=1",
        lambda url: url.replace(PASSWORD, f"x@{PASSWORD}"),  # not %-coded: the host would be what comes after it
        lambda url: url.replace(PASSWORD, f"12/{PASSWORD}"),  # the database would
    ],
)
async def test_no_error_shows_the_password(
    postgres_url: str, change: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigurationError) as caught:
        await PostgreSQLStore(change(postgres_url), describe=describe).open()
    assert PASSWORD not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
