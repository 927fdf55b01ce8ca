"""What every store must do, as inherited tests: subclass, give it an open ``store`` and a way to ``reopen`` it.

Most of it runs concurrently: a store that loses a neighbour's rows, or applies a fact twice, does so only then.
"""

import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from replyhook.errors import VerificationError
from replyhook.ids import new_id
from replyhook.jobs import JobStatus
from replyhook_receiver.answers import Answer
from replyhook_receiver.errors import RegistrationConflict, StoreUnavailable
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import Accepted, JobRecord, NotifyTarget, SubmissionOutcome
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from replyhook_receiver.tasks import Done
from tests.contracts.store.announcing import Announcing
from tests.contracts.store.believing import Believing
from tests.contracts.store.claiming import Claiming
from tests.contracts.store.deadlines import Overdue
from tests.contracts.store.listing import Listing
from tests.contracts.store.material import (
    HOOK,
    LEASE,
    LINK,
    NOW,
    POISON,
    SECOND,
    VIDEO,
    Reopen,
    a_job,
    accepted_as,
    all_of,
    failed,
    kinds_announced,
    one_task,
    queued,
    registration,
    report,
    running,
    strange,
    submitted,
    succeeded,
    the_job,
    verdicts,
)
from tests.contracts.store.orphans import Orphans
from tests.contracts.store.registering import Registering
from tests.contracts.store.relaying import Relaying
from tests.contracts.store.reports import Reports


class StoreContract(Reports, Registering, Announcing, Listing, Claiming, Believing, Orphans, Relaying, Overdue):
    """Subclass with the fixtures ``store`` (open, made with ``describe``) and ``reopen`` (close it, open it anew)."""

    @pytest.fixture
    async def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    async def reopen(self, store: Store) -> Reopen:
        raise NotImplementedError

    # Concurrency

    async def test_nothing_is_lost_when_everything_happens_at_once(self, store: Store) -> None:
        jobs = [a_job(number) for number in range(40)]
        await all_of(store.register(registration(job), now=NOW) for job in jobs)
        facts = [
            (job, event)
            for number, job in enumerate(jobs)
            for event in (
                queued(f"r-{number}"),
                running(50, f"r-{number}"),
                succeeded(f"{LINK}?{number}", f"r-{number}"),
            )
        ] * 3
        random.Random(7).shuffle(facts)
        work: list[Awaitable[Any]] = [store.accept(report(job, event)) for job, event in facts]
        work += [store.record_submission(job, accepted_as(f"r-{number}"), now=NOW) for number, job in enumerate(jobs)]
        foreign = [store.accept(report(job, queued(None), provider="useapi")) for job in jobs]
        poisoned = [store.register(registration(job, user="somebody else"), now=NOW) for job in jobs]
        random.Random(8).shuffle(work)

        results = await all_of([*itertools.chain(*zip(foreign, poisoned, strict=True)), *work])

        counted = Counter(type(result) for result in results)
        assert counted == {Accepted: 360, JobRecord: 40, VerificationError: 40, RegistrationConflict: 40}
        given = Counter(result.verdict for result in results if isinstance(result, Accepted))
        assert given[Verdict.DUPLICATE] == 240
        for number, job in enumerate(jobs):
            kept = await the_job(store, job)
            assert (kept.status, kept.provider_job_id) == (JobStatus.SUCCEEDED, f"r-{number}")
            assert kept.submission is SubmissionOutcome.ACCEPTED
            assert len(await store.history.callbacks(CallbackFilter(job_id=job))) == 9
            assert (await kinds_announced(store, job)).count("job.succeeded") == 1
        downloads = await store.claim([TaskKind.DOWNLOAD], limit=1000, lease=LEASE, now=NOW)
        assert sorted(task.subject for task in downloads) == sorted(jobs)

    async def test_a_failing_write_harms_none_of_its_neighbours_and_keeps_nothing_itself(self, store: Store) -> None:
        poisoned = a_job(1)
        await store.register(registration(poisoned, reference=POISON), now=NOW)
        twice = new_id("cb")
        good = [a_job(number) for number in range(20)]
        reports = [report(job, running(10, None)) for job in good]
        results = await all_of(
            [
                *(store.accept(entry) for entry in reports[:10]),
                store.accept(report(poisoned, running(10, None))),
                store.accept(report(a_job(), running(10, None), callback_id=twice)),
                store.accept(report(a_job(), running(10, None), callback_id=twice)),
                *(store.accept(entry) for entry in reports[10:]),
            ]
        )
        assert [type(result) for result in results[10:13]] == [RuntimeError, Accepted, StoreUnavailable]
        assert all(isinstance(result, Accepted) for result in results[:10] + results[13:])
        assert {(await the_job(store, job)).status for job in good} == {JobStatus.RUNNING}
        assert (await the_job(store, poisoned)).status is JobStatus.CREATED
        assert await store.history.callbacks(CallbackFilter(job_id=poisoned)) == []
        # Nothing of it is kept, so nothing of it stands in the way of the same fact again.
        result = await store.accept(report(poisoned, strange()))
        assert result.verdict is Verdict.UNRECOGNISED
        with pytest.raises(RuntimeError):
            await store.accept(report(poisoned, running(10, None)))

    async def test_the_same_fact_from_many_at_once_is_applied_once(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        results = await all_of(store.accept(report(job, succeeded())) for _ in range(50))
        assert Counter(result.verdict for result in results) == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 49}
        assert await verdicts(store, job) == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 49}
        assert await kinds_announced(store, job) == ["job.succeeded"]
        assert len(await store.claim([TaskKind.NOTIFY], limit=10, lease=LEASE, now=NOW)) == 1

    async def test_the_same_job_registered_by_many_at_once_is_one_job(self, store: Store) -> None:
        job = a_job()
        results = await all_of(store.register(registration(job), now=NOW + number * SECOND) for number in range(20))
        assert len({result.created_at for result in results}) == 1
        await store.accept(report(job, succeeded()))
        assert len(await store.claim([TaskKind.NOTIFY], limit=10, lease=LEASE, now=NOW)) == 1

    # Keeping

    async def test_everything_survives_a_restart(self, store: Store, reopen: Reopen) -> None:
        job, stored = a_job(1), a_job(2)
        secret = "whsec_" + "QUJD" * 8
        await submitted(store, job, notify=(NotifyTarget(url=HOOK, secret=secret),))
        await submitted(store, stored, provider_job_id="r-2")
        await store.accept(report(job, running(5), sender="user-1"))
        await store.accept(report(job, failed(), body=b"\xff"))
        await store.accept(report(stored, succeeded(provider_job_id="r-2")))
        await store.finish(await one_task(store, TaskKind.DOWNLOAD), Done(video=VIDEO), now=NOW)
        (held, *_) = await store.claim([TaskKind.NOTIFY], limit=1, lease=LEASE, now=NOW)

        async def everything(opened: Store) -> Sequence[Any]:
            return [
                await opened.job(job),
                await opened.job(stored),
                await opened.history.callbacks(),
                await opened.notifications(after=0),
                await opened.senders(),
                await opened.deliveries.get(held.subject),
                await opened.next_due(now=NOW),
            ]

        before = await everything(store)
        opened = await reopen()
        assert await everything(opened) == before
        assert (await opened.accept(report(job, failed()))).verdict is Verdict.DUPLICATE
        assert await opened.finish(held, Done(answer=Answer(status=200)), now=NOW)
        assert await opened.last_notification() == len(before[3])

    async def test_a_closed_store_says_that_it_is_closed(self, store: Store) -> None:
        assert await store.check()
        await store.close()
        assert not await store.check()
        with pytest.raises(StoreUnavailable):
            await store.register(registration(a_job()), now=NOW)
        with pytest.raises(StoreUnavailable):
            await store.job(a_job())
