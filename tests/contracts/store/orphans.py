"""Callbacks that come before it is known which job of ours is meant."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from replyhook.jobs import AssetStatus, JobStatus, Trust
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from tests.contracts.store.material import (
    EVERY_KIND,
    LEASE,
    LINK,
    NOW,
    SECOND,
    UNKNOWN,
    Reopen,
    a_job,
    accepted_as,
    all_of,
    failed,
    kinds_announced,
    known_as,
    one_task,
    queued,
    registration,
    running,
    succeeded,
    the_job,
    told,
    verdicts,
)


class Orphans:
    """A part of ``StoreContract``."""

    async def test_an_orphan_is_kept_and_leads_to_nothing(self, store: Store) -> None:
        accepted = await store.accept(told(succeeded(), body=b"as it came"))
        assert (accepted.job_id, accepted.verdict) == (None, None)
        whole = await store.history.callback(accepted.callback_id)
        assert whole is not None
        kept = whole.callback
        assert (kept.job_id, kept.verdict, kept.body) == (None, None, b"as it came")
        assert await store.notifications(after=0) == []
        assert await store.next_due(now=NOW) is None

    async def test_an_orphan_is_judged_when_its_job_is_known(self, store: Store) -> None:
        job = a_job()
        await store.accept(told(succeeded(), received_at=NOW + SECOND))
        bound = await known_as(store, job, at=NOW + 60 * SECOND)
        assert bound == await the_job(store, job)
        assert (bound.status, bound.trust, bound.provider_job_id) == (JobStatus.SUCCEEDED, Trust.SIGNED, "r-1")
        assert (bound.called_back_at, bound.finished_at) == (NOW + SECOND, NOW + SECOND)
        assert (bound.asset.status, bound.asset.url) == (AssetStatus.PENDING, LINK)
        assert await verdicts(store, job) == {Verdict.APPLIED: 1}
        assert await kinds_announced(store, job) == ["job.succeeded"]
        assert (await one_task(store, TaskKind.DOWNLOAD, now=NOW + 60 * SECOND)).subject == job
        assert len(await store.claim([TaskKind.NOTIFY], limit=9, lease=LEASE, now=NOW + 60 * SECOND)) == 1

    async def test_a_job_was_not_submitted_after_its_callback_came(self, store: Store) -> None:
        await store.accept(told(succeeded(), received_at=NOW + SECOND))
        bound = await known_as(store, a_job(), at=NOW + 60 * SECOND)
        assert bound.submitted_at is not None
        assert bound.called_back_at is not None
        assert bound.submitted_at <= bound.called_back_at

    async def test_orphans_in_any_order_end_in_the_same_state(self, store: Store) -> None:
        facts = [queued, lambda name: running(50, name), lambda name: succeeded(LINK, name), failed]
        for number, order in enumerate(itertools.permutations(facts)):
            job, name = a_job(number), f"r-{number}"
            before = number % (len(facts) + 1)
            for fact in order[:before]:
                await store.accept(told(fact(name)))
            await known_as(store, job, name)
            for fact in order[before:]:
                await store.accept(told(fact(name)))
            kept = await the_job(store, job)
            assert (kept.status, kept.progress, kept.error) == (JobStatus.SUCCEEDED, 100, None), order
            assert (kept.asset.status, kept.asset.url) == (AssetStatus.PENDING, LINK)
            assert None not in await verdicts(store, job)
            assert len(await store.history.callbacks(CallbackFilter(job_id=job))) == len(facts)
            assert (await kinds_announced(store, job)).count("job.succeeded") == 1

    async def test_orphans_are_found_by_themselves_newest_first_until_their_job_is_known(self, store: Store) -> None:
        names = [f"r-{number}" for number in range(40)]
        jobs = [a_job(number) for number in range(40)]
        known = a_job()
        await known_as(store, known, "known")
        ages = [told(running(5, name), received_at=NOW + number * SECOND) for number, name in enumerate(names)]
        await all_of([*(store.accept(entry) for entry in ages), store.accept(told(running(5, "known")))])
        await store.accept(told(succeeded(LINK, names[7]), received_at=NOW + 60 * SECOND))
        await store.accept(told(None, received_at=NOW + 61 * SECOND))  # unread: nobody's for ever
        found = await store.history.callbacks(CallbackFilter(orphan=True))
        assert len(found) == 42
        assert {entry.job_id for entry in found} == {None}
        assert [entry.received_at for entry in found] == sorted((entry.received_at for entry in found), reverse=True)
        assert len(await store.history.callbacks(CallbackFilter(orphan=True), limit=5)) == 5
        bound = await all_of(known_as(store, job, name) for job, name in zip(jobs, names, strict=True))
        assert Counter(job.status for job in bound) == {JobStatus.RUNNING: 39, JobStatus.SUCCEEDED: 1}
        (left,) = await store.history.callbacks(CallbackFilter(orphan=True))
        assert (left.received_at, left.verdict) == (NOW + 61 * SECOND, Verdict.UNRECOGNISED)
        for job in jobs:
            assert None not in await verdicts(store, job)

    async def test_duplicates_of_an_orphan_are_bound_with_it_and_applied_once(self, store: Store) -> None:
        job = a_job()
        given = [(await store.accept(told(succeeded()))).verdict for _ in range(3)]
        assert given == [None, Verdict.DUPLICATE, Verdict.DUPLICATE]
        await known_as(store, job)
        assert (await store.accept(told(succeeded()))).verdict is Verdict.DUPLICATE
        assert await verdicts(store, job) == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 3}
        assert await kinds_announced(store, job) == ["job.succeeded"]

    async def test_the_freshest_link_among_orphans_is_the_one_that_is_tried(self, store: Store) -> None:
        job = a_job()
        await store.accept(told(succeeded(f"{LINK}?signature=old")))
        await store.accept(told(succeeded(f"{LINK}?signature=fresh"), received_at=NOW + SECOND))
        await known_as(store, job, at=NOW + 2 * SECOND)
        assert (await the_job(store, job)).asset.url == f"{LINK}?signature=fresh"

    async def test_an_orphan_without_its_result_is_asked_about_once_its_job_is_known(self, store: Store) -> None:
        job = a_job()
        await store.accept(told(succeeded(None)))
        assert await store.next_due(now=NOW) is None
        assert (await known_as(store, job)).status is JobStatus.RUNNING
        assert (await one_task(store, TaskKind.FETCH_RESULT)).subject == job
        assert await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW) == []

    async def test_a_submit_reported_as_unknown_and_then_by_its_id_finds_its_orphans(self, store: Store) -> None:
        job = a_job()
        await store.register(registration(job, provider="pixverse"), now=NOW)
        await store.accept(told(succeeded()))
        assert (await store.record_submission(job, UNKNOWN, now=NOW)).status is JobStatus.UNKNOWN
        assert (await store.record_submission(job, accepted_as("r-1"), now=NOW)).status is JobStatus.SUCCEEDED

    @pytest.mark.parametrize("other", [{"account": "second"}, {"provider": "fal"}], ids=str)
    async def test_an_orphan_of_another_account_is_not_bound(self, store: Store, other: dict[str, Any]) -> None:
        job = a_job()
        await store.accept(told(succeeded(), **other))
        assert (await known_as(store, job)).status is JobStatus.SUBMITTED
        assert await store.history.callbacks(CallbackFilter(job_id=job)) == []
        assert await store.claim(EVERY_KIND, limit=9, lease=LEASE, now=NOW) == []
        theirs = await known_as(store, a_job(1), **other)
        assert theirs.status is JobStatus.SUCCEEDED

    async def test_the_same_provider_job_id_in_two_accounts_is_two_jobs(self, store: Store) -> None:
        one, other = a_job(1), a_job(2)
        await known_as(store, one)
        await known_as(store, other, account="second")
        assert (await store.accept(told(failed(), account="second"))).job_id == other
        assert (await store.accept(told(failed()))).verdict is Verdict.APPLIED
        assert (await store.accept(told(succeeded()))).job_id == one
        assert (await the_job(store, one)).status is JobStatus.SUCCEEDED
        assert (await the_job(store, other)).status is JobStatus.FAILED

    async def test_an_orphan_survives_a_restart_and_is_bound_afterwards(self, store: Store, reopen: Reopen) -> None:
        job = a_job()
        await store.accept(told(succeeded(), nonce="n-1"))
        opened = await reopen()
        (kept,) = await opened.history.callbacks()
        assert (kept.job_id, kept.verdict) == (None, None)
        assert (await opened.accept(told(succeeded(), nonce="n-1"))).verdict is Verdict.DUPLICATE
        assert (await known_as(opened, job)).status is JobStatus.SUCCEEDED
        assert await verdicts(opened, job) == {Verdict.APPLIED: 1}

    async def test_a_callback_that_races_with_the_report_of_its_submit_is_neither_lost_nor_applied_twice(
        self, store: Store
    ) -> None:
        chance = random.Random(11)
        jobs = {f"r-{number}": a_job(number) for number in range(60)}
        await all_of(store.register(registration(job, provider="pixverse"), now=NOW) for job in jobs.values())

        async def race(name: str, job: str) -> None:
            steps: list[Callable[[], Awaitable[Any]]] = [
                lambda: store.accept(told(running(50, name))),
                lambda: store.accept(told(succeeded(LINK, name), nonce=f"a-{name}")),
                lambda: store.accept(told(succeeded(LINK, name), nonce=f"a-{name}")),
                lambda: store.accept(told(succeeded(LINK, name), nonce=f"b-{name}")),
                lambda: store.record_submission(job, accepted_as(name), now=NOW),
                lambda: store.record_submission(job, accepted_as(name), now=NOW),
            ]
            chance.shuffle(steps)
            await asyncio.gather(*(step() for step in steps))

        await asyncio.gather(*(race(name, job) for name, job in jobs.items()))
        for name, job in jobs.items():
            kept = await the_job(store, job)
            assert (kept.status, kept.provider_job_id, kept.asset.url) == (JobStatus.SUCCEEDED, name, LINK)
            found = await verdicts(store, job)
            assert (sum(found.values()), found[Verdict.DUPLICATE]) == (3, 1)
            assert None not in found
            assert (await kinds_announced(store, job)).count("job.succeeded") == 1
        assert all(callback.job_id for callback in await store.history.callbacks(limit=1000))
        downloads = await store.claim([TaskKind.DOWNLOAD], limit=1000, lease=LEASE, now=NOW)
        assert sorted(task.subject for task in downloads) == sorted(jobs.values())
