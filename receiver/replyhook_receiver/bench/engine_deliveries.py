"""Deliveries for our own worker to bring: each of a job of its own, all to one endpoint."""

import asyncio
from datetime import UTC, datetime

from replyhook.ids import new_id
from replyhook.jobs import Asset, JobEvent, JobStatus, Trust
from replyhook_receiver.bench.engine_ours import store_at
from replyhook_receiver.records import NotifyTarget, Registration, Report
from replyhook_receiver.stores.sql.store import SQLStore

_AT_ONCE = 500


async def add_deliveries(url: str, count: int) -> None:
    """So many, due now."""
    async with store_at(url) as store:
        for start in range(0, count, _AT_ONCE):
            await asyncio.gather(*(_add(store) for _ in range(min(_AT_ONCE, count - start))))


async def _add(store: SQLStore) -> None:
    now = datetime.now(UTC)
    job_id, video_id = new_id("job"), new_id("ext")
    target = NotifyTarget(url="https://app.example.com/hooks")
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
