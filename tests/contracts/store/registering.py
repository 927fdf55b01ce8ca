"""Jobs that are registered, before or after their first callback, and what is said of their submits."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from replyhook.errors import VerificationError
from replyhook.jobs import JobError, JobStatus
from replyhook.notifications import NotificationType
from replyhook_receiver.errors import DetachedLimit, RegistrationConflict, SubmissionConflict, UnknownJob
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import DetachedJob, NotifyTarget, Report
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from tests.contracts.store.material import (
    HOOK,
    LEASE,
    LINK,
    NOW,
    REFUSED,
    SECOND,
    UNKNOWN,
    a_job,
    accepted_as,
    all_delivered,
    all_of,
    failed,
    kinds_announced,
    queued,
    registration,
    report,
    running,
    submitted,
    succeeded,
    the_job,
)


class Registering:
    """A part of ``StoreContract``."""

    async def test_a_callback_before_its_registration_makes_the_job_which_registration_fills_in(
        self, store: Store
    ) -> None:
        job = a_job()
        await store.accept(report(job, running(40)))
        await store.accept(report(job, succeeded()))
        known = await the_job(store, job)
        assert (known.registered, known.status, known.provider_job_id) == (False, JobStatus.SUCCEEDED, "r-1")
        everything = NotifyTarget(url=HOOK, types=(NotificationType.JOB_RUNNING, NotificationType.JOB_SUCCEEDED))
        filled = await store.register(
            registration(job, notify=(NotifyTarget(url=HOOK), everything)), now=NOW + 5 * SECOND
        )
        assert (filled.registered, filled.status, filled.reference) == (True, JobStatus.SUCCEEDED, "order-42")
        assert filled.created_at == known.created_at
        heard = await all_delivered(store, now=NOW + 5 * SECOND)
        assert [entry.notification.type for entry in heard] == ["job.succeeded"] * 2  # after which progress is no news

    async def test_callbacks_for_jobs_that_nobody_registered_make_each_of_them_once_at_once(self, store: Store) -> None:
        jobs = {f"r-{number}": a_job(number) for number in range(40)}
        facts = [queued, lambda name: running(50, name), lambda name: succeeded(LINK, name)] * 2
        work = [store.accept(report(job, fact(name))) for name, job in jobs.items() for fact in facts]
        random.Random(3).shuffle(work)
        await all_of(work)
        for name, job in jobs.items():
            kept = await the_job(store, job)
            assert (kept.registered, kept.status, kept.provider_job_id) == (False, JobStatus.SUCCEEDED, name)
            assert len(await store.history.callbacks(CallbackFilter(job_id=job))) == len(facts)
        assert await store.history.callbacks(CallbackFilter(orphan=True)) == []
        downloads = await store.claim([TaskKind.DOWNLOAD], limit=1000, lease=LEASE, now=NOW)
        assert sorted(task.subject for task in downloads) == sorted(jobs.values())
        await all_of(store.register(registration(job), now=NOW) for job in jobs.values())
        heard = await store.claim([TaskKind.NOTIFY], limit=1000, lease=LEASE, now=NOW)
        assert len(heard) == len(jobs)

    async def test_detached_jobs_of_one_user_are_counted_by_the_day_also_when_all_come_at_once(
        self, store: Store
    ) -> None:
        def of(user: str, **more: Any) -> Report:
            detached = DetachedJob(user=user, reference="order-42", max_per_day=5)
            return report(a_job(), queued(None), detached=detached, **more)

        told = [of("u_7") for _ in range(8)] + [of("u_8") for _ in range(2)] + [report(a_job(), queued(None))]
        answers = await asyncio.gather(*(store.accept(each) for each in told), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [type(error) for error in refused] == [DetachedLimit] * 3
        kept = [await store.job(each.job_id) for each in told if each.job_id]
        assert Counter(job.user for job in kept if job) == {"u_7": 5, "u_8": 2, None: 1}
        assert {job.reference for job in kept if job and job.user} == {"order-42"}
        with pytest.raises(DetachedLimit):
            await store.accept(of("u_7", received_at=NOW + timedelta(hours=23)))
        await store.accept(of("u_7", received_at=NOW + timedelta(hours=25)))

    async def test_a_detached_report_is_believed_only_of_its_own_users_jobs(self, store: Store) -> None:
        job_id = a_job()
        await store.register(registration(job_id, user="u_8"), now=NOW)
        detached = DetachedJob(user="u_7", reference=None, max_per_day=5)
        with pytest.raises(VerificationError):
            await store.accept(report(job_id, running(50), detached=detached))
        assert (await the_job(store, job_id)).progress is None
        await store.accept(report(job_id, running(50), detached=replace(detached, user="u_8")))
        assert (await the_job(store, job_id)).progress == 50

    async def test_registering_the_same_again_changes_nothing(self, store: Store) -> None:
        job = a_job()
        nested = {"prompt": "on", "options": {"a": 1, "b": [2]}}
        first = await store.register(registration(job, request=nested), now=NOW)
        turned = {"options": {"b": [2], "a": 1}, "prompt": "on"}
        assert await store.register(registration(job, request=turned), now=NOW + SECOND) == first

    @pytest.mark.parametrize(
        "change",
        [
            {"reference": "order-43"},
            {"reference": None},
            {"user": "u_8"},
            {"notify": ()},
            {"notify": (NotifyTarget(url=HOOK, secret="whsec_" + "QUJD" * 8),)},
            {"notify": (NotifyTarget(url=HOOK, types=(NotificationType.JOB_FAILED,)),)},
            {"request": {"prompt": "off", "duration": 5}},
            {"provider": "useapi"},
        ],
        ids=str,
    )
    async def test_registering_other_contents_is_a_conflict_and_changes_nothing(
        self, store: Store, change: dict[str, Any]
    ) -> None:
        job = a_job()
        first = await store.register(registration(job), now=NOW)
        with pytest.raises(RegistrationConflict):
            await store.register(registration(job, **change), now=NOW)
        assert await store.job(job) == first

    async def test_a_job_known_from_another_providers_callback_cannot_be_registered(self, store: Store) -> None:
        job = a_job()
        await store.accept(report(job, running(5), provider="useapi"))
        with pytest.raises(RegistrationConflict):
            await store.register(registration(job, provider="fal"), now=NOW)

    async def test_a_submission_reported_twice_is_reported_once(self, store: Store) -> None:
        job = a_job()
        first = await submitted(store, job)
        assert (first.status, first.provider_job_id, first.submitted_at) == (JobStatus.SUBMITTED, "r-1", NOW)
        assert await store.record_submission(job, accepted_as("r-1"), now=NOW + SECOND) == first

    async def test_a_submission_reported_differently_is_a_conflict(self, store: Store) -> None:
        job, refused = a_job(1), a_job(2)
        first = await submitted(store, job)
        await store.register(registration(refused), now=NOW)
        await store.record_submission(refused, REFUSED, now=NOW)
        for job_id, other in [(job, accepted_as("r-2")), (job, REFUSED), (job, UNKNOWN), (refused, accepted_as("r-3"))]:
            with pytest.raises(SubmissionConflict):
                await store.record_submission(job_id, other, now=NOW)
        assert await store.job(job) == first
        with pytest.raises(UnknownJob):
            await store.record_submission(a_job(3), UNKNOWN, now=NOW)

    async def test_a_submission_cannot_claim_another_jobs_provider_job(self, store: Store) -> None:
        one, other = a_job(1), a_job(2)
        await submitted(store, one, provider_job_id="r-1")
        await store.register(registration(other), now=NOW)
        with pytest.raises(SubmissionConflict):
            await store.record_submission(other, accepted_as("r-1"), now=NOW)
        assert (await the_job(store, other)).submission is None

    async def test_a_refused_submission_fails_the_job_and_says_so_once(self, store: Store) -> None:
        job = a_job()
        await store.register(registration(job), now=NOW)
        await all_of(store.record_submission(job, REFUSED, now=NOW) for _ in range(3))
        kept = await the_job(store, job)
        assert kept.status is JobStatus.FAILED
        assert kept.error == JobError(code="submission_refused", message="no credits")
        assert await kinds_announced(store, job) == ["job.failed"]

    async def test_a_submit_of_unknown_outcome_is_settled_by_a_callback(self, store: Store) -> None:
        job = a_job()
        await store.register(registration(job), now=NOW)
        assert (await store.record_submission(job, UNKNOWN, now=NOW)).status is JobStatus.UNKNOWN
        assert (await store.accept(report(job, queued()))).verdict is Verdict.APPLIED
        kept = await the_job(store, job)
        assert (kept.status, kept.provider_job_id) == (JobStatus.QUEUED, "r-1")

    async def test_a_submission_reported_after_the_callback_moves_nothing_back(self, store: Store) -> None:
        for number, (submission, end) in enumerate(
            [(accepted_as("r-0"), succeeded), (UNKNOWN, failed), (REFUSED, succeeded)]
        ):
            job = a_job(number)
            await store.register(registration(job), now=NOW)
            await store.accept(report(job, end(provider_job_id=f"r-{number}")))
            before = await the_job(store, job)
            kept = await store.record_submission(job, submission, now=NOW + SECOND)
            assert (kept.status, kept.error) == (before.status, before.error)
            assert kept.submission is submission.outcome
