"""Deliveries for our own worker to bring: each of a job of its own."""

import asyncio
from datetime import UTC, datetime

from replyhook.ids import new_id
from replyhook.jobs import Asset, JobEvent, JobStatus, Trust
from replyhook_receiver.bench.engine_ours import store_at
from replyhook_receiver.records import NotifyTarget, Registration, Report
from replyhook_receiver.stores.sql.store import SQLStore

_AT_ONCE = 500


async def add_deliveries(url: str, count: int, *, endpoints: int) -> None:
    """So many, due now, to so many endpoints, each on a host of its own."""
    async with store_at(url) as store:
        for start in range(0, count, _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, count))
            await asyncio.gather(*(_add(store, number % endpoints) for number in some))


async def _add(store: SQLStore, endpoint: int) -> None:
    now = datetime.now(UTC)
    job_id, video_id = new_id("job"), new_id("ext")
    target = NotifyTarget(url=f"https://app-{endpoint}.example.com/hooks")
    registration = Registration(
        job_id=job_id, provider="useapi", reference=None, user="bench", notify=(target,), request={}
    )
    await store.register(registration, now=now)
    report = Report(
        callback_id=new_id("cb"),
        provider="useapi",
        job_id=job_id,
        received_at=now,
        headers=(),
        body=b"{}",
        trust=Trust.TOKEN_ONLY,
        event=JobEvent(
            provider_job_id=video_id,
            status=JobStatus.SUCCEEDED,
            result=Asset(url=f"https://media.pixverse.ai/{video_id}.mp4"),
        ),
    )
    await store.accept(report)
