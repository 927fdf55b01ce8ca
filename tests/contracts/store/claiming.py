"""Tasks: claimed once, held for a time, taken over, and ended with all that follows."""

from datetime import timedelta

from replyhook.jobs import AssetStatus, JobStatus, Trust
from replyhook_receiver.answers import Answer
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import ReportSource
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from replyhook_receiver.tasks import Dead, Done, Retry
from tests.contracts.store.material import (
    EVERY_KIND,
    LEASE,
    NOW,
    SECOND,
    VIDEO,
    a_job,
    accepted_as,
    all_of,
    failed,
    kinds_announced,
    one_task,
    registration,
    report,
    running,
    submitted,
    succeeded,
    the_job,
)


class Claiming:
    """A part of ``StoreContract``."""

    async def test_two_claimers_never_get_the_same_task(self, store: Store) -> None:
        jobs = [a_job(number) for number in range(30)]
        await all_of(store.accept(report(job, succeeded(provider_job_id=None))) for job in jobs)
        claims = await all_of(store.claim([TaskKind.DOWNLOAD], limit=5, lease=LEASE, now=NOW) for _ in range(10))
        subjects = [task.subject for claim in claims for task in claim]
        assert sorted(subjects) == sorted(jobs)
        assert await store.claim(EVERY_KIND, limit=5, lease=LEASE, now=NOW) == []

    async def test_a_lease_that_ran_out_is_taken_over_and_the_slow_worker_undoes_nothing(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded()))
        slow = await one_task(store, TaskKind.DOWNLOAD)
        later = NOW + LEASE
        assert await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=later - SECOND) == []
        quick = await one_task(store, TaskKind.DOWNLOAD, now=later)
        assert (quick.subject, quick.attempt) == (job, 2)
        before = await the_job(store, job)
        for outcome in (Done(video=VIDEO), Dead(problem="late"), Retry(due_at=NOW, problem="late")):
            assert not await store.finish(slow, outcome, now=later)
        assert await the_job(store, job) == before
        assert await store.renew([slow, quick], lease=LEASE, now=later) == {quick.lease}
        assert await store.finish(quick, Done(video=VIDEO), now=later)
        assert not await store.finish(quick, Done(video=VIDEO), now=later)
        assert await kinds_announced(store, job) == ["job.succeeded", "video.stored"]

    async def test_a_renewed_lease_is_not_taken_over(self, store: Store) -> None:
        await store.accept(report(a_job(), succeeded()))
        task = await one_task(store, TaskKind.DOWNLOAD)
        assert await store.renew([task], lease=LEASE, now=NOW + 20 * SECOND) == {task.lease}
        assert await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW + 40 * SECOND) == []
        assert await store.next_due(now=NOW) == NOW + 50 * SECOND
        assert await store.finish(task, Done(video=VIDEO), now=NOW + 45 * SECOND)

    async def test_the_store_says_when_there_will_be_something_to_do(self, store: Store) -> None:
        assert await store.next_due(now=NOW) is None
        await store.accept(report(a_job(), succeeded()))
        assert await store.next_due(now=NOW + SECOND) == NOW + SECOND
        task = await one_task(store, TaskKind.DOWNLOAD)
        assert await store.next_due(now=NOW) == NOW + LEASE
        await store.finish(task, Retry(due_at=NOW + 5 * SECOND, problem="busy"), now=NOW)
        assert await store.next_due(now=NOW) == NOW + 5 * SECOND
        assert await store.claim(EVERY_KIND, limit=1, lease=LEASE, now=NOW + 4 * SECOND) == []
        again = await one_task(store, TaskKind.DOWNLOAD, now=NOW + 5 * SECOND)
        await store.finish(again, Dead(problem="no"), now=NOW + 5 * SECOND)
        assert await store.next_due(now=NOW) is None

    async def test_what_was_noted_while_the_clock_was_ahead_is_due_when_it_is_right_again(self, store: Store) -> None:
        ahead = NOW + timedelta(days=365)
        waiting, held = a_job(1), a_job(2)
        await store.accept(report(waiting, succeeded(provider_job_id=None), received_at=ahead))
        await store.accept(report(held, succeeded(provider_job_id=None), received_at=NOW))
        await one_task(store, TaskKind.DOWNLOAD)
        longest = timedelta(days=2)
        assert await store.settle_times(latest_due=NOW + longest, latest_lease=NOW + LEASE, now=NOW) == 1
        assert (await one_task(store, TaskKind.DOWNLOAD)).subject == waiting
        assert await store.settle_times(latest_due=NOW + longest, latest_lease=NOW, now=NOW) == 2
        assert len(await store.claim(EVERY_KIND, limit=9, lease=LEASE, now=NOW)) == 2

    async def test_an_id_that_a_callback_guessed_gives_way_to_the_submit_that_returned_it(self, store: Store) -> None:
        stranger, own = a_job(), a_job()
        await store.accept(report(stranger, running(10, "r-1")))
        await store.register(registration(own), now=NOW)
        job = await store.record_submission(own, accepted_as("r-1"), now=NOW)
        assert job.provider_job_id == "r-1"
        assert (await the_job(store, stranger)).provider_job_id is None
        await store.accept(report(own, succeeded()))
        assert (await the_job(store, own)).status is JobStatus.SUCCEEDED

    async def test_brought_forward_what_waits_is_due_earlier_and_what_is_held_stays_held(self, store: Store) -> None:
        waiting, held = a_job(1), a_job(2)
        await store.accept(report(waiting, succeeded(provider_job_id=None)))
        task = await one_task(store, TaskKind.DOWNLOAD)
        await store.finish(task, Retry(due_at=NOW + timedelta(hours=1), problem="busy"), now=NOW)
        await store.accept(report(held, succeeded(provider_job_id=None)))
        await one_task(store, TaskKind.DOWNLOAD)
        await store.bring_forward(timedelta(hours=1) - SECOND)
        assert await store.next_due(now=NOW) == NOW + SECOND
        (due,) = await store.claim(EVERY_KIND, limit=9, lease=LEASE, now=NOW + SECOND)
        assert due.subject == waiting

    async def test_only_the_kinds_asked_for_are_claimed_oldest_duty_first(self, store: Store) -> None:
        for number in (3, 1, 2):
            entry = report(f"job_{number}", succeeded(provider_job_id=None), received_at=NOW + number * SECOND)
            await store.accept(entry)
        assert await store.claim([TaskKind.NOTIFY], limit=9, lease=LEASE, now=NOW + LEASE) == []
        tasks = await store.claim(EVERY_KIND, limit=2, lease=LEASE, now=NOW + LEASE)
        assert {task.subject for task in tasks} == {"job_1", "job_2"}

    async def test_a_download_retried_waits_and_one_given_up_is_announced(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded()))
        task = await one_task(store, TaskKind.DOWNLOAD)
        await store.finish(task, Retry(due_at=NOW, problem="busy"), now=NOW)
        assert (await the_job(store, job)).asset.problem == "busy"
        task = await one_task(store, TaskKind.DOWNLOAD)
        assert task.attempt == 2
        await store.finish(task, Dead(problem="the link is dead"), now=NOW)
        kept = await the_job(store, job)
        assert (kept.status, kept.asset.status) == (JobStatus.SUCCEEDED, AssetStatus.FAILED)
        assert kept.asset.problem == "the link is dead"
        assert await kinds_announced(store, job) == ["job.succeeded", "video.failed"]

    async def test_a_stored_video_is_announced_with_all_that_is_known_of_it(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded()))
        await store.finish(await one_task(store, TaskKind.DOWNLOAD), Done(video=VIDEO), now=NOW + SECOND)
        asset = (await the_job(store, job)).asset
        assert (asset.status, asset.stored_at) == (AssetStatus.STORED, NOW + SECOND)
        known = [name for name in VIDEO.__slots__ if name != "poster"]  # whose name the links know
        assert {name: getattr(asset, name) for name in known} == {name: getattr(VIDEO, name) for name in known}
        assert await kinds_announced(store, job) == ["job.succeeded", "video.stored"]

    async def test_a_question_given_up_makes_the_job_overdue_and_says_so(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded(None)))
        await store.finish(await one_task(store, TaskKind.FETCH_RESULT), Dead(problem="no_provider_key"), now=NOW)
        kept = await the_job(store, job)
        assert (kept.status, kept.overdue_at, kept.overdue_reason) == (JobStatus.RUNNING, NOW, "no_provider_key")
        assert (await kinds_announced(store, job))[-1] == "job.overdue"

    async def test_an_answered_question_is_kept_like_a_callback_in_one_transaction(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded(None)))
        task = await one_task(store, TaskKind.FETCH_RESULT)
        answer = report(job, succeeded(), source=ReportSource.RECONCILE, trust=Trust.RECONCILED)
        assert await store.finish(task, Done(report=answer), now=NOW)
        kept = await the_job(store, job)
        assert (kept.status, kept.trust) == (JobStatus.SUCCEEDED, Trust.RECONCILED)
        assert (await one_task(store, TaskKind.DOWNLOAD)).subject == job
        assert {callback.source for callback in await store.history.callbacks(CallbackFilter(job_id=job))} == {
            "callback",
            "reconcile",
        }

    async def test_a_delivery_is_made_retried_or_given_up(self, store: Store) -> None:
        for number in range(3):
            await submitted(store, a_job(number), provider_job_id=f"r-{number}")
            await store.accept(report(None, failed(f"r-{number}")))
        made, again, lost = await store.claim([TaskKind.NOTIFY], limit=3, lease=LEASE, now=NOW)
        await store.finish(made, Done(answer=Answer(status=204)), now=NOW)
        await store.finish(again, Retry(due_at=NOW + SECOND, problem="500"), now=NOW)
        await store.finish(lost, Dead(problem="410"), now=NOW)
        found = [await store.deliveries.get(task.subject) for task in (made, again, lost)]
        assert [entry.status for entry in found if entry] == ["delivered", "pending", "dead"]
        due = await store.claim([TaskKind.NOTIFY], limit=3, lease=LEASE, now=NOW + LEASE)
        assert [(task.subject, task.attempt) for task in due] == [(again.subject, 2)]
        assert await store.deliveries.get("dlv_nobody") is None
