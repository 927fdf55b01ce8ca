"""Which jobs, callbacks, events and deliveries a list holds: by how a job stands, and by whose it is."""

from datetime import timedelta
from typing import Any

from replyhook.jobs import AssetStatus
from replyhook_receiver.deadlines import PRIOR
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import JobFilter, VideoWanted
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.deliveries import DeliveryFilter
from replyhook_receiver.stores.history import CallbackFilter, EventFilter
from replyhook_receiver.tasks import Dead, Done, Retry
from tests.contracts.store.material import (
    LEASE,
    NOW,
    VIDEO,
    a_job,
    failed,
    report,
    running,
    submitted,
    succeeded,
)

HOUR = timedelta(hours=1)


async def downloads(store: Store, *, now: Any = NOW) -> dict[str, Any]:
    claimed = await store.claim([TaskKind.DOWNLOAD], limit=20, lease=LEASE, now=now)
    return {task.subject: task for task in claimed}


async def asked_for(store: Store, **wanted: Any) -> list[str]:
    return [job.id for job in await store.jobs(JobFilter(**wanted))]


class Listing:
    """A part of ``StoreContract``."""

    async def test_jobs_are_overdue_until_they_end(self, store: Store) -> None:
        jobs = [a_job(number) for number in range(3)]
        for job in jobs:
            await submitted(store, job, provider_job_id=job)
        await store.accept(report(jobs[2], running(1, jobs[2]), received_at=NOW + PRIOR))
        late = NOW + PRIOR
        for task in await store.claim([TaskKind.RECONCILE], limit=9, lease=LEASE, now=late):
            if task.subject != jobs[2]:
                await store.finish(task, Dead(problem="no_callback"), now=late)
        assert await asked_for(store, overdue=True) == [jobs[1], jobs[0]]
        assert await asked_for(store, overdue=False) == [jobs[2]]
        await store.accept(report(jobs[0], failed(jobs[0]), received_at=late))
        assert await asked_for(store, overdue=True) == [jobs[1]]
        assert await asked_for(store, overdue=False, video=VideoWanted.NONE) == [jobs[2], jobs[0]]
        assert (await store.overview.lately(user=None, now=late)).overdue == 1

    async def test_jobs_are_listed_by_where_their_video_stands(self, store: Store) -> None:
        none, pending, stored, lost, expired = jobs = [a_job(number) for number in range(5)]
        for job in jobs:
            await submitted(store, job, provider_job_id=job)
        for job in jobs[1:]:
            await store.accept(report(job, succeeded(f"https://a.example/{job}.mp4", job)))
        tasks = await downloads(store)
        await store.finish(tasks[pending], Retry(due_at=NOW + HOUR, problem="busy"), now=NOW)
        await store.finish(tasks[stored], Done(video=VIDEO), now=NOW)
        await store.finish(tasks[lost], Dead(problem="gone"), now=NOW)
        await store.links.date()
        ended = NOW + 900 * HOUR
        await store.finish((await downloads(store, now=ended))[expired], Dead(problem="gone"), now=ended)
        found = {state: await asked_for(store, video=state) for state in VideoWanted}
        assert found == {
            VideoWanted.NONE: [none],
            VideoWanted.PENDING: [pending],
            VideoWanted.DOWNLOADING: [],
            VideoWanted.STORED: [stored],
            VideoWanted.FAILED: [lost],
            VideoWanted.EXPIRED: [expired],
            VideoWanted.LOST: [expired, lost],
        }
        assert (await store.overview.lately(user=None, now=NOW)).videos_lost == 2
        assert await asked_for(store, video=VideoWanted.LOST, provider="useapi") == []

    async def test_jobs_whose_link_is_about_to_end_are_as_many_as_are_counted(self, store: Store) -> None:
        soon, stored, later = jobs = [a_job(number) for number in range(3)]
        for job, hours in zip(jobs, (4, 4, 40), strict=True):
            ends = int((NOW + hours * HOUR).timestamp())
            url = f"https://a.example/{job}.mp4?Expires={ends}&Signature=x"
            await submitted(store, job, provider_job_id=job)
            await store.accept(report(job, succeeded(url, job)))
        assert await asked_for(store, expiring=True) == []
        await store.links.date()
        late = NOW + 3 * HOUR
        for task in await store.claim([TaskKind.EXPIRING], limit=9, lease=LEASE, now=late):
            await store.finish(task, Done(), now=late)
        assert await asked_for(store, expiring=True) == [stored, soon]
        await store.finish((await downloads(store, now=late))[stored], Done(video=VIDEO), now=late)
        assert await asked_for(store, expiring=True) == [soon]
        assert await asked_for(store, expiring=False) == [later, stored]
        assert (await store.links.waiting()).expiring == 1
        assert await asked_for(store, expiring=True, user="nobody") == []

    async def test_what_was_told_of_jobs_is_listed_by_their_reference_and_their_user(self, store: Store) -> None:
        anns, bobs = a_job(1), a_job(2)
        for job, user in ((anns, "ann"), (bobs, "bob")):
            await submitted(store, job, provider_job_id=job, user=user, reference=f"of {user}")
            await store.accept(report(job, failed(job)))

        async def found(of_user: dict[str, Any], **wanted: Any) -> list[list[str | None]]:
            callbacks = await store.history.callbacks(CallbackFilter(**of_user, **wanted))
            events = await store.history.events(EventFilter(**of_user, **wanted))
            whose = {"of_user": of_user["user"]} if of_user else {}
            deliveries = await store.deliveries.page(DeliveryFilter(**whose, **wanted))
            return [[each.job_id for each in listed] for listed in (callbacks, events, deliveries)]

        assert await found({}, reference="of ann") == [[anns]] * 3
        assert await found({"user": "bob"}) == [[bobs]] * 3
        assert await found({"user": "bob"}, reference="of ann") == [[]] * 3
        assert await found({}, reference="of' OR '1'='1") == [[]] * 3
        assert len(await store.deliveries.matching(DeliveryFilter(reference="of ann"))) == 0  # none is dead

    def test_every_word_for_a_video_can_be_asked_for(self) -> None:
        assert set(VideoWanted) == {status.value for status in AssetStatus} | {VideoWanted.LOST}
