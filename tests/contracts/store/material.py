"""What the contracts of a store are written with: jobs, reports, submissions, and how to look what became of them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from replyhook.ids import new_id
from replyhook.jobs import Asset, JobError, JobEvent, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.answers import Answer
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import (
    DeliveryRecord,
    JobRecord,
    NotifyTarget,
    Registration,
    Report,
    Submission,
    SubmissionOutcome,
)
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from replyhook_receiver.tasks import Done, StoredVideo, Task

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
