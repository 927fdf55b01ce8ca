"""Jobs that the receiver submits itself."""

import pytest

from replyhook.jobs import AssetStatus, JobStatus, Trust
from replyhook_receiver.errors import RegistrationConflict
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import JobRecord, ReportSource, Submission, SubmissionOutcome
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from replyhook_receiver.tasks import Dead, Done
from tests.contracts.store.material import (
    LEASE,
    NOW,
    REFUSED,
    SECOND,
    UNKNOWN,
    VIDEO,
    Reopen,
    a_job,
    all_of,
    kinds_announced,
    one_task,
    relayed,
    report,
    succeeded,
    the_job,
)


class Relaying:
    """A part of ``StoreContract``."""

    async def test_a_relayed_job_is_begun_once_whoever_asks_and_also_after_a_restart(
        self, store: Store, reopen: Reopen
    ) -> None:
        job = a_job()
        again = await all_of(store.register(relayed(job), now=NOW) for _ in range(5))
        assert {type(entry) for entry in again} == {JobRecord}
        assert (await one_task(store, TaskKind.RELAY)).subject == job
        begun = await all_of(store.begin_submit(job, now=NOW) for _ in range(20))
        assert sorted(begun) == [False] * 19 + [True]
        opened = await reopen()
        assert not await opened.begin_submit(job, now=NOW)
        with pytest.raises(RegistrationConflict):
            await opened.register(relayed(job, relay_video="https://a.example/other.mp4"), now=NOW)

    async def test_a_relayed_job_registered_again_is_not_put_to_work_again(self, store: Store) -> None:
        job = a_job()
        await store.register(relayed(job), now=NOW)
        await store.finish(await one_task(store, TaskKind.RELAY), Done(submission=REFUSED), now=NOW)
        await store.register(relayed(job), now=NOW)
        assert await store.claim([TaskKind.RELAY], limit=1, lease=LEASE, now=NOW) == []
        assert await kinds_announced(store, job) == ["job.failed"]

    async def test_a_relayed_video_is_kept_with_its_submission_and_its_callback_at_once(self, store: Store) -> None:
        job = a_job()
        await store.register(relayed(job), now=NOW)
        answer = report(
            job, succeeded(f"relayed:{job}", None), provider="segmind", source=ReportSource.RELAY, trust=Trust.RELAYED
        )
        done = Done(submission=Submission(outcome=SubmissionOutcome.ACCEPTED), report=answer, video=VIDEO)
        assert await store.finish(await one_task(store, TaskKind.RELAY), done, now=NOW)
        kept = await the_job(store, job)
        assert (kept.status, kept.trust, kept.submission) == (
            JobStatus.SUCCEEDED,
            Trust.RELAYED,
            SubmissionOutcome.ACCEPTED,
        )
        assert (kept.asset.status, kept.asset.sha256) == (AssetStatus.STORED, VIDEO.sha256)
        assert await kinds_announced(store, job) == ["job.succeeded", "video.stored"]
        (callback,) = await store.history.callbacks(CallbackFilter(job_id=job))
        assert (callback.source, callback.verdict) == ("relay", Verdict.APPLIED)

    async def test_a_relayed_submit_without_an_outcome_is_announced_with_its_reason(self, store: Store) -> None:
        job = a_job()
        await store.register(relayed(job), now=NOW)
        unknown = Submission(outcome=SubmissionOutcome.UNKNOWN, error="submit_unknown: it was cut off")
        await store.finish(await one_task(store, TaskKind.RELAY), Done(submission=unknown), now=NOW + SECOND)
        kept = await the_job(store, job)
        assert (kept.status, kept.overdue_at) == (JobStatus.UNKNOWN, NOW + SECOND)
        assert kept.overdue_reason == "submit_unknown: it was cut off"
        assert await kinds_announced(store, job) == ["job.overdue"]
        assert await store.claim([TaskKind.RELAY], limit=1, lease=LEASE, now=NOW + LEASE) == []

    async def test_a_relayed_job_that_has_ended_is_not_overdue_for_want_of_its_answer(self, store: Store) -> None:
        """A provider that calls back may do so while the answer to the submit is cut off."""
        job = a_job()
        await store.register(relayed(job, provider="fal"), now=NOW)
        await store.accept(report(job, succeeded()))
        await store.finish(await one_task(store, TaskKind.RELAY), Done(submission=UNKNOWN), now=NOW)
        kept = await the_job(store, job)
        assert (kept.status, kept.overdue_at) == (JobStatus.SUCCEEDED, None)
        assert await kinds_announced(store, job) == ["job.succeeded"]

    @pytest.mark.parametrize("begun", [False, True])
    async def test_a_relay_given_up_ends_its_job_as_what_became_of_it(self, store: Store, begun: bool) -> None:
        """Before it was begun nothing can have been billed; after that nobody knows."""
        job = a_job()
        await store.register(relayed(job), now=NOW)
        if begun:
            assert await store.begin_submit(job, now=NOW)
        await store.finish(await one_task(store, TaskKind.RELAY), Dead(problem="a fault of ours"), now=NOW)
        kept = await the_job(store, job)
        reason = kept.overdue_reason if begun else kept.error.message if kept.error else None
        assert (kept.status, kept.submission) == (
            (JobStatus.UNKNOWN, SubmissionOutcome.UNKNOWN) if begun else (JobStatus.FAILED, SubmissionOutcome.REFUSED)
        )
        assert "a fault of ours" in (reason or "")
        assert await kinds_announced(store, job) == ["job.overdue" if begun else "job.failed"]
