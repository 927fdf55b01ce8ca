"""What is made of reports: each kept, each fact applied once, in whatever order they come."""

import itertools
import random
from collections import Counter
from datetime import timedelta

import pytest
from msgspec import structs

from replyhook.errors import VerificationError
from replyhook.jobs import Asset, AssetStatus, JobStatus, Trust
from replyhook.providers import make_provider
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import Accepted, ReportSource
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from replyhook_receiver.tasks import Dead, Done, Retry
from tests.callbacks import recorded
from tests.contracts.store.material import (
    BUT_OVERDUE,
    LEASE,
    LINK,
    NOW,
    SECOND,
    VIDEO,
    a_job,
    all_of,
    canceled,
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


class Reports:
    """A part of ``StoreContract``."""

    async def test_a_report_is_kept_as_it_came(self, store: Store) -> None:
        job = a_job()
        headers = (("x-twice", "1"), ("x-twice", "2"), ("x-latin", "\xff"))
        entry = report(job, None, body=b"\x00\xff<garbage>", headers=headers, trust=Trust.TOKEN_ONLY)
        accepted = await store.accept(entry)
        assert accepted == Accepted(callback_id=entry.callback_id, job_id=job, verdict=Verdict.UNRECOGNISED)
        whole = await store.history.callback(entry.callback_id)
        assert whole is not None
        kept = whole.callback
        assert (kept.id, kept.job_id, kept.headers, kept.body) == (entry.callback_id, job, headers, entry.body)
        assert (kept.trust, kept.source, kept.received_at) == (Trust.TOKEN_ONLY, ReportSource.CALLBACK, NOW)

    async def test_callbacks_come_newest_first_of_one_job_or_of_all(self, store: Store) -> None:
        one, other = a_job(1), a_job(2)
        for number in range(4):
            entry = report(one if number % 2 else other, running(number), callback_id=f"cb_{number}")
            await store.accept(entry)
        assert [entry.id for entry in await store.history.callbacks(limit=3)] == ["cb_3", "cb_2", "cb_1"]
        assert [entry.id for entry in await store.history.callbacks(CallbackFilter(job_id=one))] == ["cb_3", "cb_1"]

    async def test_a_duplicate_changes_nothing(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, running(30)))
        before, announced = await the_job(store, job), await store.last_notification()
        again = await store.accept(report(job, running(30), received_at=NOW + SECOND))
        assert again.verdict is Verdict.DUPLICATE
        assert await the_job(store, job) == before
        assert await store.last_notification() == announced

    async def test_a_fresh_link_for_a_known_fact_revives_a_dead_download_and_notifies_nobody_again(
        self, store: Store
    ) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded(f"{LINK}?signature=old")))
        task = await one_task(store, TaskKind.DOWNLOAD)
        await store.finish(task, Dead(problem="the link is dead"), now=NOW)
        again = await store.accept(report(job, succeeded(f"{LINK}?signature=fresh")))
        assert again.verdict is Verdict.DUPLICATE
        kept = await the_job(store, job)
        assert (kept.asset.status, kept.asset.url) == (AssetStatus.PENDING, f"{LINK}?signature=fresh")
        assert (await one_task(store, TaskKind.DOWNLOAD)).attempt == 1
        assert (await kinds_announced(store, job)).count("job.succeeded") == 1

    async def test_a_duplicate_with_the_same_dead_link_does_not_try_it_again(self, store: Store) -> None:
        job = a_job()
        await store.accept(report(job, succeeded()))
        await store.finish(await one_task(store, TaskKind.DOWNLOAD), Dead(problem="dead"), now=NOW)
        await store.accept(report(job, succeeded()))
        assert await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW) == []

    async def test_a_fresh_link_that_comes_while_the_old_one_is_tried_is_tried_too(self, store: Store) -> None:
        job = a_job()
        await store.accept(report(job, succeeded(f"{LINK}?signature=old")))
        task = await one_task(store, TaskKind.DOWNLOAD)
        await store.accept(report(job, succeeded(f"{LINK}?signature=fresh")))
        await store.finish(task, Dead(problem="the old link is dead"), now=NOW)
        again = await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW)
        assert [task.subject for task in again] == [job]

    async def test_a_fresh_link_is_tried_at_once_though_the_old_one_was_to_be_tried_much_later(
        self, store: Store
    ) -> None:
        job = a_job()
        await store.accept(report(job, succeeded(f"{LINK}?signature=old")))
        task = await one_task(store, TaskKind.DOWNLOAD)
        await store.finish(task, Retry(due_at=NOW + timedelta(hours=4), problem="expired"), now=NOW)
        await store.accept(report(job, succeeded(f"{LINK}?signature=fresh")))
        assert await store.next_due(now=NOW) == NOW
        assert (await one_task(store, TaskKind.DOWNLOAD)).subject == job

    async def test_a_fresh_link_for_a_stored_video_changes_nothing(self, store: Store) -> None:
        job = a_job()
        await store.accept(report(job, succeeded(f"{LINK}?signature=old")))
        await store.finish(await one_task(store, TaskKind.DOWNLOAD), Done(video=VIDEO), now=NOW)
        await store.accept(report(job, succeeded(f"{LINK}?signature=fresh")))
        kept = await the_job(store, job)
        assert (kept.asset.status, kept.asset.name) == (AssetStatus.STORED, VIDEO.name)
        assert await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW) == []
        assert await kinds_announced(store, job) == ["job.succeeded", "video.stored"]

    async def test_a_duplicate_neither_suppresses_nor_repeats_the_work_that_is_under_way(self, store: Store) -> None:
        """A download waits, is claimed, is lost with its worker, is tried again, is done: always one task, one time."""
        job = a_job()
        await store.accept(report(job, succeeded()))

        async def again() -> None:
            results = await all_of(store.accept(report(job, succeeded())) for _ in range(5))
            assert {result.verdict for result in results} == {Verdict.DUPLICATE}

        await again()
        lost = await one_task(store, TaskKind.DOWNLOAD)
        await again()
        assert await store.claim([TaskKind.DOWNLOAD], limit=9, lease=LEASE, now=NOW) == []
        task = await one_task(store, TaskKind.DOWNLOAD, now=NOW + LEASE)
        await again()
        assert not await store.finish(lost, Dead(problem="too late"), now=NOW + LEASE)
        assert await store.finish(task, Retry(due_at=NOW + 2 * LEASE, problem="busy"), now=NOW + LEASE)
        await again()
        task = await one_task(store, TaskKind.DOWNLOAD, now=NOW + 2 * LEASE)
        assert task.attempt == 3
        assert await store.finish(task, Done(video=VIDEO), now=NOW + 2 * LEASE)
        await again()
        assert await store.claim([TaskKind.DOWNLOAD], limit=9, lease=LEASE, now=NOW + 9 * LEASE) == []
        assert await kinds_announced(store, job) == ["job.succeeded", "video.stored"]

    async def test_a_duplicate_puts_back_a_download_that_ended_without_its_video(self, store: Store) -> None:
        job = a_job()
        await store.accept(report(job, succeeded()))
        await store.finish(await one_task(store, TaskKind.DOWNLOAD), Done(), now=NOW)
        assert await store.next_due(now=NOW, kinds=[TaskKind.DOWNLOAD]) is None
        await store.accept(report(job, succeeded()))
        assert (await one_task(store, TaskKind.DOWNLOAD)).attempt == 1

    async def test_a_duplicate_success_without_its_result_asks_again_only_where_the_answer_brought_no_end(
        self, store: Store
    ) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded(None)))
        task = await one_task(store, TaskKind.FETCH_RESULT)
        await store.accept(report(job, succeeded(None)))
        assert await store.claim([TaskKind.FETCH_RESULT], limit=9, lease=LEASE, now=NOW) == []
        await store.finish(task, Done(), now=NOW)
        await store.accept(report(job, succeeded(None)))
        task = await one_task(store, TaskKind.FETCH_RESULT)
        await store.finish(task, Dead(problem="no_provider_key"), now=NOW)  # told as overdue: an operator's to put back
        await store.accept(report(job, succeeded(None)))
        assert await store.claim([TaskKind.FETCH_RESULT], limit=9, lease=LEASE, now=NOW) == []
        ended = a_job(1)
        await store.accept(report(ended, succeeded(None, "r-2")))
        task = await one_task(store, TaskKind.FETCH_RESULT)
        answer = report(ended, failed("r-2"), source=ReportSource.RECONCILE, trust=Trust.RECONCILED)
        await store.finish(task, Done(report=answer), now=NOW)
        await store.accept(report(ended, succeeded(None, "r-2")))
        assert await store.claim([TaskKind.FETCH_RESULT], limit=9, lease=LEASE, now=NOW) == []

    async def test_every_link_of_a_video_is_tried_before_it_is_given_up_the_last_told_first(self, store: Store) -> None:
        job = a_job()
        links = [f"https://v3.fal.media/files/{number}.mp4" for number in range(3)]
        for number, link in enumerate(links):
            await store.accept(report(job, succeeded(link), received_at=NOW + number * SECOND))
        tried = []
        for _ in links:
            task = await one_task(store, TaskKind.DOWNLOAD, now=NOW + LEASE)
            assert task.attempt == 1
            tried.append((await the_job(store, job)).asset.url)
            await store.finish(task, Dead(problem="the link is dead"), now=NOW + LEASE)
        assert tried == links[::-1]
        assert await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW + 9 * LEASE) == []
        assert (await the_job(store, job)).asset.status is AssetStatus.FAILED
        assert await kinds_announced(store, job) == ["job.succeeded", "video.failed"]
        await store.accept(report(job, succeeded(f"{links[1]}?signature=fresh")))
        assert (await the_job(store, job)).asset.url == f"{links[1]}?signature=fresh"
        task = await one_task(store, TaskKind.DOWNLOAD, now=NOW + LEASE)
        await store.finish(task, Dead(problem="dead too"), now=NOW + LEASE)
        assert await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW + 9 * LEASE) == []

    async def test_a_link_that_was_misdirected_to_a_job_is_never_tried_for_it(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded()))
        await store.accept(report(job, succeeded("https://v3.fal.media/files/another.mp4", "r-2")))
        await store.finish(await one_task(store, TaskKind.DOWNLOAD), Dead(problem="the link is dead"), now=NOW)
        assert await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW) == []
        assert (await the_job(store, job)).asset.status is AssetStatus.FAILED

    @pytest.mark.parametrize(
        ("name", "status", "task"),
        [
            ("fal/payload_null", JobStatus.RUNNING, TaskKind.FETCH_RESULT),
            ("aihubmax/completed_without_results", JobStatus.RUNNING, TaskKind.FETCH_RESULT),
            ("useapi/queued", JobStatus.QUEUED, None),  # though it says "video_status_final": true
        ],
    )
    async def test_what_a_provider_calls_final_too_early_ends_no_job(
        self, store: Store, name: str, status: JobStatus, task: TaskKind | None
    ) -> None:
        job, provider = a_job(), name.partition("/")[0]
        event = structs.replace(make_provider(provider).parse_callback(recorded(name).callback(NOW)), job_id=None)
        await store.register(registration(job, provider=provider), now=NOW)
        accepted = await store.accept(report(job, event, provider=provider, trust=Trust.TOKEN_ONLY))
        kept = await the_job(store, job)
        assert (accepted.verdict, kept.status, kept.finished_at) == (Verdict.APPLIED, status, None)
        assert (kept.error, kept.asset.status) == (None, AssetStatus.NONE)
        due = await store.claim([TaskKind.DOWNLOAD, TaskKind.FETCH_RESULT], limit=9, lease=LEASE, now=NOW)
        assert [entry.kind for entry in due] == ([task] if task else [])
        result = Asset(url=LINK)
        end = structs.replace(event, status=JobStatus.SUCCEEDED, result=result)
        assert (await store.accept(report(job, end, provider=provider))).verdict is Verdict.APPLIED
        assert (await the_job(store, job)).status is JobStatus.SUCCEEDED

    @pytest.mark.parametrize("seed", range(12))
    async def test_any_order_of_the_same_reports_ends_in_the_same_state(self, store: Store, seed: int) -> None:
        chance = random.Random(seed)
        endings = [[failed(), canceled(), succeeded()], [failed(), canceled()], [canceled()], [succeeded()], []][
            seed % 5
        ]
        facts = [queued(), queued(), running(10), running(60), running(60), strange(), succeeded(None), *endings]
        ends = set()
        for number in range(8):
            job = a_job(number)
            order = [
                structs.replace(event, provider_job_id=f"r-{number}") for event in chance.sample(facts, len(facts))
            ]
            await store.register(registration(job), now=NOW)
            if number % 2:
                await all_of(store.accept(report(job, event)) for event in order)
            else:
                for event in order:
                    await store.accept(report(job, event))
            kept = await the_job(store, job)
            ends.add((kept.status, kept.error, kept.asset.status, kept.asset.url))
            assert len(await store.history.callbacks(CallbackFilter(job_id=job))) == len(facts)
        assert len(ends) == 1, ends

    async def test_every_order_of_the_endings_keeps_the_video(self, store: Store) -> None:
        for number, order in enumerate(itertools.permutations([succeeded, failed, canceled, running, queued])):
            job, name = a_job(number), f"r-{number}"
            await submitted(store, job, provider_job_id=name)
            await all_of(store.accept(report(job, event(provider_job_id=name))) for event in order)
            kept = await the_job(store, job)
            assert (kept.status, kept.error, kept.asset.url) == (JobStatus.SUCCEEDED, None, LINK)
        tasks = await store.claim([TaskKind.DOWNLOAD], limit=1000, lease=LEASE, now=NOW)
        assert len(tasks) == 120

    async def test_a_success_after_a_failure_is_a_conflict_that_keeps_the_video(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        assert (await store.accept(report(job, failed()))).verdict is Verdict.APPLIED
        assert (await store.accept(report(job, succeeded()))).verdict is Verdict.CONFLICT
        assert (await store.accept(report(job, canceled()))).verdict is Verdict.AFTER_TERMINAL
        kept = await the_job(store, job)
        assert (kept.status, kept.error, kept.asset.status) == (JobStatus.SUCCEEDED, None, AssetStatus.PENDING)
        assert (await one_task(store, TaskKind.DOWNLOAD)).subject == job
        assert await kinds_announced(store, job) == ["job.failed", "job.succeeded"]

    async def test_a_late_report_moves_nothing_back_and_is_kept_with_why(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        given = [
            (await store.accept(report(job, event))).verdict
            for event in (running(50), queued(), running(20), strange(), succeeded(), running(90), failed())
        ]
        assert given == ["applied", "stale", "stale", "unrecognised", "applied", "after_terminal", "after_terminal"]
        kept = await the_job(store, job)
        assert (kept.status, kept.progress, kept.error) == (JobStatus.SUCCEEDED, 100, None)
        assert await verdicts(store, job) == Counter(given)

    async def test_a_report_that_names_another_provider_job_applies_nothing(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job, provider_job_id="r-1")
        result = await store.accept(report(job, succeeded(provider_job_id="r-2")))
        kept = await the_job(store, job)
        assert (result.verdict, kept.status, kept.provider_job_id) == (Verdict.CONFLICT, JobStatus.SUBMITTED, "r-1")
        assert await store.next_due(now=NOW, kinds=BUT_OVERDUE) is None

    async def test_a_report_misdirected_to_one_job_does_not_suppress_the_other_jobs_own(self, store: Store) -> None:
        one, other = a_job(1), a_job(2)
        await submitted(store, one, provider_job_id="r-1")
        await submitted(store, other, provider_job_id="r-2")
        assert (await store.accept(report(one, succeeded(provider_job_id="r-2")))).verdict is Verdict.CONFLICT
        result = await store.accept(report(other, succeeded(provider_job_id="r-2")))
        assert result.verdict is Verdict.APPLIED
        assert (await the_job(store, other)).status is JobStatus.SUCCEEDED

    async def test_a_provider_job_is_never_bound_to_a_second_job(self, store: Store) -> None:
        one, other = a_job(1), a_job(2)
        await submitted(store, one, provider_job_id="r-1")
        result = await store.accept(report(other, running(5, "r-1")))
        assert result.verdict is Verdict.CONFLICT
        assert (await the_job(store, other)).provider_job_id is None

    async def test_a_success_without_a_result_is_asked_for_once_and_is_not_yet_one(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        await all_of(store.accept(report(job, succeeded(None))) for _ in range(5))
        assert (await the_job(store, job)).status is JobStatus.RUNNING
        assert (await one_task(store, TaskKind.FETCH_RESULT)).subject == job
        assert await store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=NOW) == []

    async def test_a_report_bound_by_the_providers_id_alone_finds_its_job(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        found = await store.accept(report(None, running(5)))
        lost = await store.accept(report(None, running(5, "nobody's")))
        assert (found.job_id, found.verdict) == (job, Verdict.APPLIED)
        assert (lost.job_id, lost.verdict) == (None, None)  # an orphan: judged when its job is known
        assert len(await store.history.callbacks()) == 2

    async def test_a_report_through_another_providers_token_is_not_believed(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        with pytest.raises(VerificationError):
            await store.accept(report(job, running(5), provider="useapi"))
        assert await store.history.callbacks() == []
