"""What every store must do, as inherited tests: subclass, give it an open ``store`` and a way to ``reopen`` it.

Most of it runs concurrently: a store that loses a neighbour's rows, or applies a fact twice, does so only then.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import structs

from replyhook.errors import VerificationError
from replyhook.ids import new_id
from replyhook.jobs import Asset, AssetStatus, JobError, JobEvent, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook.providers import PROVIDERS, make_provider
from replyhook_receiver.answers import Answer
from replyhook_receiver.deadlines import PRIOR
from replyhook_receiver.errors import (
    DetachedLimit,
    RegistrationConflict,
    StoreUnavailable,
    SubmissionConflict,
    UnknownJob,
)
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import (
    Accepted,
    DeliveryRecord,
    DetachedJob,
    JobFilter,
    JobPresent,
    JobRecord,
    NotifyTarget,
    Registration,
    Report,
    ReportSource,
    Submission,
    SubmissionOutcome,
)
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from replyhook_receiver.tasks import Dead, Done, Retry, StoredVideo, Task
from tests.callbacks import recorded

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)
POISON = "poison"
LINK = "https://v3.fal.media/files/one.mp4"
HOOK = "https://app.example/hooks"
EVERY_KIND = tuple(TaskKind)
BUT_OVERDUE = tuple(kind for kind in TaskKind if kind not in (TaskKind.RECONCILE, TaskKind.EXPIRING))
VIDEO = StoredVideo(
    name="2026/11/21/one.mp4",
    bytes=7,
    sha256="ab" * 32,
    content_type="video/mp4",
    duration_seconds=5.25,
    width=4,
    height=2,
)

Reopen = Callable[[], Awaitable[Store]]


def describe(job: JobRecord, kind: NotificationType, now: datetime) -> bytes:
    """Builds the bodies of a contract's store; fails for a job whose reference is ``POISON``, in mid-transaction."""
    if job.reference == POISON:
        raise RuntimeError("this job cannot be described")
    return msgspec.json.encode(
        {
            "type": kind,
            "timestamp": now,
            "data": {"id": job.id, "status": job.status, "reference": job.reference, "progress": job.progress},
        }
    )


def a_job(number: int = 0) -> str:
    """A job's id; another one for each call."""
    return new_id("job", at=NOW.timestamp() + number)


def registration(job_id: str, *, provider: str = "fal", **more: Any) -> Registration:
    """A registration with one place to notify."""
    values: dict[str, Any] = {
        "reference": "order-42",
        "user": "u_7",
        "notify": (NotifyTarget(url=HOOK),),
        "request": {"prompt": "on", "duration": 5},
    }
    return Registration(job_id=job_id, provider=provider, **(values | more))


def accepted_as(provider_job_id: str) -> Submission:
    """A submit that the provider took."""
    return Submission(outcome=SubmissionOutcome.ACCEPTED, provider_job_id=provider_job_id)


REFUSED = Submission(outcome=SubmissionOutcome.REFUSED, error="no credits")
UNKNOWN = Submission(outcome=SubmissionOutcome.UNKNOWN)


def report(job_id: str | None, event: JobEvent | None, *, provider: str = "fal", **more: Any) -> Report:
    """A callback with what was read in it; a new one for each call."""
    received_at = more.get("received_at", NOW)
    values: dict[str, Any] = {
        "callback_id": new_id("cb", at=received_at.timestamp()),
        "received_at": received_at,
        "headers": (("content-type", "application/json"),),
        "body": b"{}",
        "trust": Trust.SIGNED,
    }
    return Report(provider=provider, job_id=job_id, event=event, **(values | more))


def says(status: JobStatus | None, provider_job_id: str | None = "r-1", **more: Any) -> JobEvent:
    """What a provider says of a job."""
    return JobEvent(provider_job_id=provider_job_id, status=status, **more)


def queued(provider_job_id: str | None = "r-1") -> JobEvent:
    return says(JobStatus.QUEUED, provider_job_id)


def running(progress: int | None = None, provider_job_id: str | None = "r-1") -> JobEvent:
    return says(JobStatus.RUNNING, provider_job_id, progress=progress)


def succeeded(url: str | None = LINK, provider_job_id: str | None = "r-1") -> JobEvent:
    return says(JobStatus.SUCCEEDED, provider_job_id, result=Asset(url=url) if url else None)


def failed(provider_job_id: str | None = "r-1", code: str = "422") -> JobEvent:
    return says(JobStatus.FAILED, provider_job_id, error=JobError(code=code, message="it broke"))


def canceled(provider_job_id: str | None = "r-1") -> JobEvent:
    return says(JobStatus.CANCELED, provider_job_id)


def strange(word: str = "PAUSED", provider_job_id: str | None = "r-1") -> JobEvent:
    return says(None, provider_job_id, word=word)


async def all_of(awaitables: Iterable[Awaitable[Any]]) -> list[Any]:
    """Run them at once; failures are results too."""
    return list(await asyncio.gather(*awaitables, return_exceptions=True))


async def one_task(store: Store, kind: TaskKind, *, now: datetime = NOW) -> Task:
    """The only task of ``kind`` that is due, claimed."""
    (task,) = await store.claim([kind], limit=10, lease=LEASE, now=now)
    return task


async def all_delivered(store: Store, *, now: datetime = NOW) -> list[DeliveryRecord]:
    """Every delivery that goes out, one after the other, each taken at once."""
    heard: list[DeliveryRecord] = []
    while await store.next_due(now=now, kinds=[TaskKind.NOTIFY]) == now:
        for task in await store.claim([TaskKind.NOTIFY], limit=50, lease=LEASE, now=now):
            delivery = await store.deliveries.get(task.subject)
            assert delivery is not None
            heard.append(delivery)
            assert await store.finish(task, Done(answer=Answer(status=200)), now=now)
    return heard


async def kinds_announced(store: Store, job_id: str) -> list[str]:
    """The types of all notifications about a job, in the stream's order."""
    return [str(entry.type) for entry in await store.notifications(after=0, job_id=job_id)]


async def verdicts(store: Store, job_id: str) -> Counter[Verdict]:
    """What became of a job's callbacks."""
    return Counter(
        callback.verdict for callback in await store.history.callbacks(CallbackFilter(job_id=job_id), limit=1000)
    )


async def the_job(store: Store, job_id: str) -> JobRecord:
    """A job that must be there."""
    job = await store.job(job_id)
    assert job is not None
    return job


async def submitted(store: Store, job_id: str, *, provider_job_id: str = "r-1", **more: Any) -> JobRecord:
    """Register a job and report its submit as accepted."""
    await store.register(registration(job_id, **more), now=NOW)
    return await store.record_submission(job_id, accepted_as(provider_job_id), now=NOW)


def told(event: JobEvent | None, **more: Any) -> Report:
    """A callback to an account's URL, which names no job of ours."""
    return report(None, event, **({"provider": "pixverse"} | more))


def relayed(job_id: str, **more: Any) -> Registration:
    """A job that the receiver is to submit itself."""
    return registration(job_id, **({"provider": "segmind", "relay_video": "https://a.example/in.mp4"} | more))


async def known_as(
    store: Store, job_id: str, provider_job_id: str = "r-1", *, at: datetime = NOW, **more: Any
) -> JobRecord:
    """Register a job of a provider that calls back per account, and report its submit at ``at``."""
    await store.register(registration(job_id, **({"provider": "pixverse"} | more)), now=NOW)
    return await store.record_submission(job_id, accepted_as(provider_job_id), now=at)


class StoreContract:
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

    # Reports

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

    # Registration and submission

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

    # Notifications and deliveries

    async def test_each_fact_is_announced_once_and_only_to_those_who_want_it(self, store: Store) -> None:
        job = a_job()
        targets = (
            NotifyTarget(url="https://all.example"),
            NotifyTarget(url="https://progress.example", types=(NotificationType.JOB_RUNNING,)),
            NotifyTarget(
                url="https://end.example", types=(NotificationType.JOB_FAILED, NotificationType.JOB_SUCCEEDED)
            ),
        )
        await submitted(store, job, notify=targets)
        for event in (running(10), running(10), running(20), queued(), succeeded(), succeeded(), failed()):
            await store.accept(report(job, event))
        announced = await store.notifications(after=0, job_id=job)
        assert [entry.type for entry in announced] == ["job.running", "job.running", "job.succeeded"]
        assert [entry.sequence for entry in announced] == sorted({entry.sequence for entry in announced})
        heard = await all_delivered(store)
        assert Counter((entry.target.url, str(entry.notification.type)) for entry in heard) == {
            ("https://all.example", "job.succeeded"): 1,
            ("https://progress.example", "job.running"): 2,
            ("https://end.example", "job.succeeded"): 1,
        }

    async def test_jobs_come_newest_first_in_pages_and_as_they_are_wanted(self, store: Store) -> None:
        made = [a_job(number) for number in range(7)]
        for number, job_id in enumerate(made):
            provider = "fal" if number % 2 else "useapi"
            user = None if number == 6 else "u_7"
            await store.register(
                registration(job_id, provider=provider, reference=f"r{number % 3}", user=user), now=NOW
            )
        await submitted(store, made[1], reference="r1")

        async def ids(before: str | None = None, limit: int = 100, **wanted: Any) -> list[int]:
            found = await store.jobs(JobFilter(**wanted), before=before, limit=limit)
            return [made.index(job.id) for job in found]

        assert await ids() == [6, 5, 4, 3, 2, 1, 0]
        assert await ids(limit=3) == [6, 5, 4]
        assert await ids(before=made[4], limit=3) == [3, 2, 1]
        assert await ids(before=made[0]) == []
        assert await ids(provider="fal") == [5, 3, 1]
        assert await ids(provider="fal", before=made[5], limit=1) == [3]
        assert await ids(reference="r0") == [6, 3, 0]
        assert await ids(reference="r0", user="u_7", provider="useapi") == [0]
        assert await ids(status=JobStatus.SUBMITTED) == [1]
        assert await ids(status=JobStatus.CREATED, user="u_7", limit=2) == [5, 4]
        assert await ids(reference="r' OR '1'='1") == []
        assert (await store.jobs(JobFilter(), limit=1))[0] == await the_job(store, made[6])

    async def test_a_job_at_present_comes_with_the_place_of_its_own_last_notification(self, store: Store) -> None:
        """Read while it changes: what is announced up to that place is in the job, and nothing after it."""
        job_id, other = a_job(), a_job(1)
        assert await store.present(job_id) is None
        await submitted(store, job_id)
        unheard = await store.present(job_id)
        assert unheard is not None
        assert (unheard.job, unheard.through) == (await the_job(store, job_id), 0)
        await submitted(store, other, provider_job_id="r-2")

        async def tell() -> None:
            for percent in range(1, 40):
                await store.accept(report(job_id, running(percent)))
                await store.accept(report(other, running(percent, "r-2")))

        telling = asyncio.create_task(tell())
        seen: list[JobPresent] = []
        while not telling.done():
            present = await store.present(job_id)
            assert present is not None
            seen.append(present)
        await telling
        announced = await store.notifications(after=0, job_id=job_id, limit=100)
        progress = {each.sequence: msgspec.json.decode(each.body)["data"]["progress"] for each in announced}
        assert len(progress) == 39
        assert [present.job.progress for present in seen] == [progress.get(present.through) for present in seen]
        await store.accept(report(job_id, succeeded()))
        with_video = await store.present(job_id)
        assert with_video is not None
        assert with_video.job == await the_job(store, job_id)
        assert with_video.job.asset.status is AssetStatus.PENDING

    async def test_notifications_are_read_from_a_place_on_in_pages(self, store: Store) -> None:
        assert await store.last_notification() == 0
        one, other = a_job(1), a_job(2)
        for number in range(6):
            await store.accept(report(one if number % 2 else other, running(number + 1, None)))
        everything = await store.notifications(after=0)
        assert len(everything) == 6
        assert await store.last_notification() == everything[-1].sequence
        assert await store.notifications(after=everything[1].sequence, limit=2) == everything[2:4]
        assert await store.notifications(after=everything[0].sequence, job_id=one) == everything[1::2]
        content = msgspec.json.decode(everything[0].body)
        assert content["data"]["id"] == other

    # Tasks

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

    # Senders

    async def test_a_sender_is_learned_from_the_first_callback_that_answers_our_own_submit(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        assert (await store.accept(report(job, running(5), sender="user-1"))).learned_sender
        assert not (await store.accept(report(job, succeeded(), sender="user-2"))).learned_sender
        assert await store.senders() == {("fal", "default"): ("user-1",)}

    @pytest.mark.parametrize(
        "case", ["unregistered", "no submission", "unknown outcome", "another id", "no id", "unread"]
    )
    async def test_no_sender_is_learned_from_anything_less(self, store: Store, case: str) -> None:
        job = a_job()
        if case != "unregistered":
            await store.register(registration(job), now=NOW)
        if case == "unknown outcome":
            await store.record_submission(job, UNKNOWN, now=NOW)
        elif case not in ("unregistered", "no submission"):
            await store.record_submission(job, accepted_as("r-1"), now=NOW)
        named = {"another id": "r-2", "no id": None}.get(case, "r-1")
        for progress in (5, 6):  # the second finds the job bound to what the first one named
            event = None if case == "unread" else running(progress, named)
            assert not (await store.accept(report(job, event, sender="user-1"))).learned_sender
        assert await store.senders() == {}

    # Orphans: told before it is known which job of ours is meant

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

    # Nonces: a signature that was used before

    async def test_a_nonce_that_was_used_changes_nothing_and_is_not_kept_again(self, store: Store) -> None:
        job = a_job()
        await known_as(store, job)
        results = await all_of(store.accept(told(running(5), nonce="n-1")) for _ in range(20))
        assert Counter(result.verdict for result in results) == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 19}
        assert (await store.accept(told(succeeded(), nonce="n-1"))).verdict is Verdict.DUPLICATE
        assert (await the_job(store, job)).status is JobStatus.RUNNING
        assert len(await store.history.callbacks()) == 1

    async def test_the_same_fact_under_another_nonce_is_kept_as_a_duplicate(self, store: Store) -> None:
        job = a_job()
        await known_as(store, job)
        await store.accept(told(running(5), nonce="n-1"))
        assert (await store.accept(told(running(5), nonce="n-2"))).verdict is Verdict.DUPLICATE
        assert await verdicts(store, job) == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 1}

    async def test_every_account_has_its_own_nonces(self, store: Store) -> None:
        owners: list[dict[str, Any]] = [{}, {"account": "second"}, {"provider": "fal"}]
        for number, whose in enumerate(owners):
            await known_as(store, a_job(number), **whose)
            assert (await store.accept(told(running(5), nonce="n-1", **whose))).verdict is Verdict.APPLIED

    async def test_a_report_that_could_not_be_kept_uses_up_no_nonce(self, store: Store) -> None:
        await known_as(store, a_job(), reference=POISON)
        with pytest.raises(RuntimeError):
            await store.accept(told(succeeded(), nonce="n-1"))
        assert (await store.accept(told(strange(), nonce="n-1"))).verdict is Verdict.UNRECOGNISED

    # Relayed jobs

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

    # Deadlines

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
        assert (kept.status, kept.overdue_at, kept.overdue_reason) == (
            JobStatus.SUBMITTED,
            NOW + PRIOR,
            "no_callback",
        )
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

    # Submits that nobody knows of

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
