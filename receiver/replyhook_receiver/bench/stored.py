"""Databases to begin with: registered jobs that wait for their callback, and callbacks of earlier days."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from replyhook.ids import new_id
from replyhook.jobs import Asset, JobEvent, JobStatus, Trust
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.bench.traffic import BenchJob
from replyhook_receiver.records import Registration, Report, Submission, SubmissionOutcome
from replyhook_receiver.stores.sql.store import SQLStore
from replyhook_receiver.stores.sqlite import SQLiteStore

_AT_ONCE = 500
_A_DAY_AGO = timedelta(days=1)


@asynccontextmanager
async def _store(path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(path, describe=Announcer(public_url="http://127.0.0.1:8080", personal=frozenset()).body)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def register_jobs(path: Path, jobs: Sequence[BenchJob]) -> None:
    """Register jobs and report their submits, as the library does before a provider can call back."""
    async with _store(path) as store:
        await register_in(store, jobs)


async def register_in(store: SQLStore, jobs: Sequence[BenchJob]) -> None:
    """The same, in a store that is open."""
    now = datetime.now(UTC)
    for start in range(0, len(jobs), _AT_ONCE):
        some = jobs[start : start + _AT_ONCE]
        await asyncio.gather(*(store.register(_registration(job), now=now) for job in some))
        await asyncio.gather(*(store.record_submission(job.id, _accepted(job), now=now) for job in some))


def _registration(job: BenchJob) -> Registration:
    return Registration(
        job_id=job.id, provider=job.provider, reference=None, user="bench", notify=(), request={"prompt": "bench"}
    )


def _accepted(job: BenchJob) -> Submission:
    return Submission(outcome=SubmissionOutcome.ACCEPTED, provider_job_id=job.provider_job_id)


async def store_callbacks(path: Path, count: int, *, say: Callable[[str], None]) -> None:
    """Fill a database with so many callbacks of as many jobs, each with its event, notification and task."""
    async with _store(path) as store:
        start = datetime.now(UTC) - _A_DAY_AGO
        for done in range(0, count, _AT_ONCE):
            at = start + timedelta(milliseconds=50 * done)
            await asyncio.gather(*(store.accept(new_report(at)) for _ in range(min(_AT_ONCE, count - done))))
            if done % 100_000 == 0 and done:
                say(f"  {done:,} of {count:,} callbacks stored")


def new_report(at: datetime) -> Report:
    """What a success from useapi.net about a job that nobody registered becomes before it is kept."""
    job_id = new_id("job", at=at.timestamp())
    video_id = new_id("ext", at=at.timestamp())
    url = f"https://media.pixverse.ai/pixverse/mp4/media/web/ori/{video_id}_seed1234567890.mp4"
    body = {
        "video_id": video_id,
        "replyRef": job_id,
        "video_status_name": "COMPLETED",
        "url": url,
        "padding": "x" * 400,
    }
    return Report(
        callback_id=new_id("cb", at=at.timestamp()),
        provider="useapi",
        job_id=job_id,
        received_at=at,
        headers=(("content-type", "application/json"), ("user-agent", "bench"), ("host", "hooks.example.com")),
        body=msgspec.json.encode(body),
        trust=Trust.TOKEN_ONLY,
        event=JobEvent(provider_job_id=video_id, status=JobStatus.SUCCEEDED, result=Asset(url=url)),
    )
