"""Jobs that are not called back in time, and submits of which nobody knows what became."""

import pytest
from msgspec import structs

from replyhook.jobs import JobStatus, Trust
from replyhook.providers import PROVIDERS
from replyhook_receiver.deadlines import PRIOR
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import ReportSource, Submission, SubmissionOutcome
from replyhook_receiver.stores.base import Store
from replyhook_receiver.tasks import Dead, Done
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
    canceled,
    failed,
    kinds_announced,
    one_task,
    queued,
    registration,
    relayed,
    report,
    running,
    strange,
    submitted,
    succeeded,
    the_job,
)


class Overdue:
    """A part of ``StoreContract``."""

    async def test_a_job_that_is_never_called_back_is_asked_about_when_its_deadline_is_past(self, store: Store) -> None:
        job, late = a_job(1), NOW + PRIOR
        await submitted(store, job)
        assert await store.next_due(now=NOW) == late
        assert await store.claim(EVERY_KIND, limit=9, lease=LEASE, now=late - SECOND) == []
        task = await one_task(store, TaskKind.RECONCILE, now=late)
        assert (task.subject, task.attempt) == (job, 1)
        assert await store.next_due(now=late) == late + LEASE

    async def test_a_job_past_its_deadline_is_claimed_once_however_many_claim(self, store: Store) -> None:
        jobs = [a_job(number) for number in range(20)]
        await all_of(submitted(store, job, provider_job_id=job) for job in jobs)
        late = NOW + PRIOR
        claimed = await all_of(store.claim([TaskKind.RECONCILE], limit=3, lease=LEASE, now=late) for _ in range(15))
        assert sorted(task.subject for tasks in claimed for task in tasks) == sorted(jobs)

    async def test_a_job_that_has_ended_is_not_asked_about(self, store: Store) -> None:
        ends = [succeeded(), failed(), canceled()]
        jobs = [a_job(number) for number in range(len(ends))]
        for job, end in zip(jobs, ends, strict=True):
            await submitted(store, job, provider_job_id=job)
            await store.accept(report(job, structs.replace(end, provider_job_id=job)))
        late = NOW + PRIOR
        assert await store.claim([TaskKind.RECONCILE], limit=9, lease=LEASE, now=late) == []
        assert await store.next_due(now=late, kinds=[TaskKind.RECONCILE]) is None  # and nobody looks again

    async def test_a_job_whose_submit_is_not_reported_has_no_deadline_before_it_is_known_to_run(
        self, store: Store
    ) -> None:
        registered, stranger = a_job(1), a_job(2)
        await store.register(registration(registered), now=NOW)
        assert await store.next_due(now=NOW, kinds=[TaskKind.RECONCILE]) is None
        await store.accept(report(stranger, strange()))
        assert await store.next_due(now=NOW, kinds=[TaskKind.RECONCILE]) is None
        await store.accept(report(stranger, running(5), received_at=NOW + SECOND))
        assert await store.next_due(now=NOW, kinds=[TaskKind.RECONCILE]) == NOW + SECOND + PRIOR
        await store.accept(report(registered, queued("r-2"), received_at=NOW))
        assert await store.next_due(now=NOW, kinds=[TaskKind.RECONCILE]) == NOW + PRIOR

    async def test_progress_does_not_move_the_deadline(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        for minute in range(1, 15):
            await store.accept(report(job, running(minute), received_at=NOW + minute * 60 * SECOND))
        assert (await one_task(store, TaskKind.RECONCILE, now=NOW + PRIOR)).subject == job

    async def test_a_job_whose_result_is_being_asked_for_has_one_ladder_not_two(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded(None)))
        assert await store.claim([TaskKind.RECONCILE], limit=9, lease=LEASE, now=NOW + PRIOR) == []

    async def test_a_deadline_survives_a_restart(self, store: Store, reopen: Reopen) -> None:
        job = a_job()
        await submitted(store, job)
        opened = await reopen()
        assert await opened.next_due(now=NOW, kinds=[TaskKind.RECONCILE]) == NOW + PRIOR
        assert (await one_task(opened, TaskKind.RECONCILE, now=NOW + PRIOR)).subject == job

    async def test_a_clock_that_is_set_back_brings_deadlines_with_it(self, store: Store) -> None:
        await submitted(store, a_job())
        await store.bring_forward(60 * SECOND)
        assert await store.next_due(now=NOW) == NOW + PRIOR - 60 * SECOND

    async def test_a_job_is_announced_as_overdue_once(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await store.finish(
            await one_task(store, TaskKind.RECONCILE, now=NOW + PRIOR), Dead(problem="no_callback"), now=NOW + PRIOR
        )
        kept = await the_job(store, job)
        assert (kept.status, kept.overdue_at, kept.overdue_reason) == (JobStatus.SUBMITTED, NOW + PRIOR, "no_callback")
        await store.accept(report(job, succeeded(None)))  # a late word, and the question that it leads to
        await store.finish(await one_task(store, TaskKind.FETCH_RESULT), Dead(problem="no result"), now=NOW + PRIOR)
        assert (await kinds_announced(store, job)).count("job.overdue") == 1
        assert (await the_job(store, job)).overdue_reason == "no_callback"

    async def test_a_callback_that_comes_after_the_answer_to_a_question_is_a_duplicate(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        answer = report(job, succeeded(), trust=Trust.RECONCILED, source=ReportSource.RECONCILE)
        await store.finish(await one_task(store, TaskKind.RECONCILE, now=NOW + PRIOR), Done(report=answer), now=NOW)
        assert (await the_job(store, job)).trust is Trust.RECONCILED
        assert (await store.accept(report(job, succeeded(f"{LINK}?signed=anew")))).verdict is Verdict.DUPLICATE
        assert (await kinds_announced(store, job)).count("job.succeeded") == 1

    @pytest.mark.parametrize("source", ["callback", "reconcile"])
    async def test_a_deadline_is_learned_from_thirty_real_callbacks_and_from_no_answer_to_a_question(
        self, store: Store, reopen: Reopen, source: str
    ) -> None:
        trust = Trust.SIGNED if source == "callback" else Trust.RECONCILED
        for number in range(30):
            job = a_job(number)
            await submitted(store, job, provider_job_id=job, request={"prompt": "on", "quality": "540p", "duration": 5})
            took = 199 * SECOND if number else 200 * SECOND
            end = succeeded(provider_job_id=job)
            await store.accept(report(job, end, received_at=NOW + took, trust=trust, source=ReportSource(source)))
        opened = await reopen()
        silent, other = a_job(100), a_job(101)
        later = NOW + 3600 * SECOND
        for job, quality in ((silent, "540p"), (other, "720p")):
            await opened.register(registration(job, request={"quality": quality, "duration": 5}), now=later)
            await opened.record_submission(job, accepted_as(job), now=later)
        learned = 200 * SECOND if source == "callback" else PRIOR
        assert await opened.claim([TaskKind.RECONCILE], limit=9, lease=LEASE, now=later + learned - SECOND) == []
        due = await opened.claim([TaskKind.RECONCILE], limit=9, lease=LEASE, now=later + learned)
        assert [task.subject for task in due] == ([silent] if source == "callback" else [silent, other])

    async def test_a_lost_submit_that_no_callback_can_name_is_announced_at_once(self, store: Store) -> None:
        """PixVerse calls back by its own id alone: without it nothing will ever tell."""
        job = a_job()
        await store.register(registration(job, provider="pixverse"), now=NOW)
        lost = Submission(outcome=SubmissionOutcome.UNKNOWN, error="the connection broke")
        kept = await store.record_submission(job, lost, now=NOW)
        assert (kept.status, kept.overdue_at) == (JobStatus.UNKNOWN, NOW)
        assert kept.overdue_reason == "submit_unknown: the connection broke"
        assert await kinds_announced(store, job) == ["job.overdue"]
        assert await store.next_due(now=NOW, kinds=[TaskKind.RECONCILE]) is None

    async def test_a_lost_submit_whose_callback_has_our_token_is_waited_for(self, store: Store) -> None:
        job = a_job()
        await store.register(registration(job), now=NOW)
        kept = await store.record_submission(job, UNKNOWN, now=NOW)
        assert kept.overdue_at is None
        assert (await one_task(store, TaskKind.RECONCILE, now=NOW + PRIOR)).subject == job

    @pytest.mark.parametrize("provider", sorted(PROVIDERS))
    @pytest.mark.parametrize("is_relayed", [False, True])
    async def test_an_unknown_job_of_any_provider_is_settled_by_hand_and_asked_about_at_once(
        self, store: Store, provider: str, is_relayed: bool
    ) -> None:
        job = a_job()
        await store.register((relayed if is_relayed else registration)(job, provider=provider), now=NOW)
        if is_relayed:
            await store.finish(await one_task(store, TaskKind.RELAY), Done(submission=UNKNOWN), now=NOW)
        else:
            await store.record_submission(job, UNKNOWN, now=NOW)
        late = NOW + PRIOR
        for task in await store.claim([TaskKind.RECONCILE], limit=9, lease=LEASE, now=late):
            await store.finish(task, Dead(problem="no_provider_job_id"), now=late)
        assert (await kinds_announced(store, job)) == ["job.overdue"]
        kept = await store.record_submission(job, accepted_as("r-1"), now=late)
        assert (kept.status, kept.provider_job_id) == (JobStatus.SUBMITTED, "r-1")
        task = await one_task(store, TaskKind.RECONCILE, now=late)
        assert (task.subject, task.attempt) == (job, 1)
