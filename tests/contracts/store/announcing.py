"""Who hears of what, and how it is read again."""

import asyncio
from collections import Counter
from typing import Any

import msgspec

from replyhook.jobs import AssetStatus, JobStatus
from replyhook.notifications import NotificationType
from replyhook_receiver.records import JobFilter, JobPresent, NotifyTarget
from replyhook_receiver.stores.base import Store
from tests.contracts.store.material import (
    NOW,
    a_job,
    all_delivered,
    failed,
    queued,
    registration,
    report,
    running,
    submitted,
    succeeded,
    the_job,
)


class Announcing:
    """A part of ``StoreContract``."""

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
