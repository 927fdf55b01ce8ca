"""What every store must do to be looked into: lists that page, one callback whole, one job's story, names found."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from replyhook.jobs import AssetStatus, JobStatus, Trust
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import ReportSource
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter, EventFilter
from replyhook_receiver.tasks import Dead, Done
from tests.contracts.store.material import (
    BUT_OVERDUE,
    LEASE,
    LINK,
    NOW,
    REFUSED,
    SECOND,
    VIDEO,
    a_job,
    accepted_as,
    all_of,
    failed,
    known_as,
    registration,
    report,
    running,
    strange,
    submitted,
    succeeded,
    told,
)

Page = Callable[[str | None], Awaitable[list[Any]]]


async def walked(page: Page) -> list[Any]:
    """Everything, page by page, each from the last of the page before."""
    found: list[Any] = []
    while entries := await page(found[-1].id if found else None):
        assert entries[0] not in found
        found += entries
    return found


class HistoryContract:
    """Subclass it, and give it an open ``store``."""

    async def test_pages_hold_every_callback_once_newest_first_though_all_came_at_once(self, store: Store) -> None:
        jobs = [a_job(number) for number in range(3)]
        given = [report(job, running(number)) for job, number in itertools.product(jobs, range(20))]
        await all_of(store.accept(entry) for entry in given)
        for limit in (1, 7, 60, 100):

            async def page(before: str | None, limit: int = limit) -> list[Any]:
                return list(await store.history.callbacks(before=before, limit=limit))

            found = await walked(page)
            assert sorted(entry.id for entry in found) == sorted(entry.callback_id for entry in given)
        one = await store.accept(report(jobs[0], failed(), received_at=NOW + SECOND))
        assert (await store.history.callbacks(limit=1))[0].id == one.callback_id
        assert await store.history.callbacks(before="cb_00000000000000000000000000") == []

    async def test_each_filter_finds_what_it_names_and_nothing_else(self, store: Store) -> None:
        job, other = a_job(), a_job(1)
        await store.accept(report(job, running(5)))
        await store.accept(report(job, running(5), received_at=NOW + SECOND))
        await store.accept(report(job, None, received_at=NOW + 2 * SECOND))
        await store.accept(report(job, strange(), trust=Trust.TOKEN_ONLY, received_at=NOW + 3 * SECOND))
        await store.accept(report(other, running(5, "u-1"), provider="useapi", source=ReportSource.RECONCILE))
        await store.accept(told(running(5, "nobody's"), received_at=NOW + 4 * SECOND))

        async def count(**wanted: Any) -> int:
            return len(await store.history.callbacks(CallbackFilter(**wanted)))

        assert await count() == 6
        assert await count(job_id=job) == 4
        assert await count(job_id=a_job(2)) == 0
        assert (await count(orphan=True), await count(orphan=False)) == (1, 5)
        assert (await count(provider="useapi"), await count(source=ReportSource.RECONCILE)) == (1, 1)
        assert await count(trust=Trust.TOKEN_ONLY) == 1
        assert (await count(verdict=Verdict.DUPLICATE), await count(verdict=Verdict.UNRECOGNISED)) == (1, 2)
        assert (await count(since=NOW + 2 * SECOND), await count(until=NOW + 2 * SECOND)) == (3, 3)
        assert await count(job_id=job, verdict=Verdict.UNRECOGNISED, since=NOW + 3 * SECOND) == 1

    async def test_a_callback_is_shown_with_what_was_read_in_it_and_whole_by_itself(self, store: Store) -> None:
        body = bytes(range(256)) * 4096
        entry = report(a_job(), failed(code="7"), body=body, headers=(("x-latin", "\xff"), ("x-latin", "2")))
        await store.accept(entry)
        (listed,) = await store.history.callbacks()
        assert (listed.bytes, listed.told) == (len(body), failed(code="7"))
        kept = await store.history.callback(entry.callback_id)
        assert kept is not None
        assert (kept.callback.body, kept.callback.headers) == (body, entry.headers)
        assert (kept.account, kept.told) == ("default", failed(code="7"))
        assert await store.history.callback("cb_unknown") is None

    async def test_events_are_the_facts_each_once_however_often_they_were_told(self, store: Store) -> None:
        job = a_job()
        facts = [running(5), running(9), succeeded(), strange()]
        await all_of(store.accept(report(job, fact)) for fact in facts * 6)
        await store.accept(report(job, None))
        found = await store.history.events(EventFilter(job_id=job))
        assert sorted(repr(entry.told) for entry in found) == sorted(map(repr, facts))
        assert {entry.job_id for entry in found} == {job}
        (end,) = await store.history.events(EventFilter(status=JobStatus.SUCCEEDED))
        assert (end.told.result is not None and end.told.result.url, end.link_dead) == (LINK, False)
        (unread,) = await store.history.events(EventFilter(verdict=Verdict.UNRECOGNISED))
        assert unread.told.word == "PAUSED"
        assert await store.history.events(EventFilter(provider="useapi")) == []
        assert await store.history.events(EventFilter(source=ReportSource.RELAY)) == []

        async def page(before: str | None) -> list[Any]:
            return list(await store.history.events(before=before, limit=1))

        assert [entry.id for entry in await walked(page)] == [entry.id for entry in found]

    async def test_an_orphans_event_has_no_job_until_it_is_bound(self, store: Store) -> None:
        await store.accept(told(running(5)))
        await store.accept(told(running(5)))
        (orphan,) = await store.history.events()
        assert (orphan.job_id, orphan.verdict) == (None, None)
        job = a_job()
        await known_as(store, job)
        (bound,) = await store.history.events()
        assert (bound.id, bound.job_id, bound.verdict) == (orphan.id, job, Verdict.APPLIED)

    async def test_a_story_holds_all_that_happened_to_one_job_and_nothing_of_another(self, store: Store) -> None:
        job, other = a_job(), a_job(1)
        await submitted(store, job)
        await submitted(store, other, provider_job_id="r-2")
        await store.accept(report(job, running(40), received_at=NOW + SECOND))
        await store.accept(report(job, succeeded(), received_at=NOW + 2 * SECOND))
        await store.accept(report(other, failed("r-2"), received_at=NOW + 3 * SECOND))
        while tasks := await store.claim(BUT_OVERDUE, limit=10, lease=LEASE, now=NOW + 5 * SECOND):
            for task in tasks:
                mine = task.kind == "download"
                outcome = Done(video=VIDEO) if mine else Dead(problem="it said no")
                await store.finish(task, outcome, now=NOW + 5 * SECOND)
        story = await store.history.story(job)
        assert story is not None
        assert (story.job.id, story.job.asset.status, story.is_whole) == (job, AssetStatus.STORED, True)
        assert [entry.told for entry in story.callbacks] == [running(40), succeeded()]
        announced = [(str(entry.type), entry.status, entry.progress) for entry in story.announced]
        assert announced == [
            ("job.running", "running", 40),
            ("job.succeeded", "succeeded", 100),
            ("video.stored", "succeeded", 100),
        ]
        assert [(work.kind, work.state, work.attempts) for work in story.work] == [("download", "done", 1)]
        deliveries = [(str(entry.type), entry.status, entry.attempts, entry.problem) for entry in story.deliveries]
        assert deliveries == [("job.succeeded", "dead", 1, "it said no"), ("video.stored", "dead", 1, "it said no")]
        assert await store.history.story(a_job(2)) is None

    async def test_of_too_long_a_story_the_newest_is_told(self, store: Store) -> None:
        job = a_job()
        await all_of(store.accept(report(job, None, received_at=NOW + n * SECOND)) for n in range(1003))
        story = await store.history.story(job)
        assert story is not None
        assert (len(story.callbacks), story.is_whole) == (1000, False)
        assert story.callbacks[-1].received_at == NOW + 1002 * SECOND

    async def test_a_name_is_found_whatever_kind_of_name_it_is(self, store: Store) -> None:
        jobs = [a_job(number) for number in range(3)]
        for number, job in enumerate(jobs):
            await store.register(registration(job, account=f"a{number}"), now=NOW)
            await store.record_submission(job, accepted_as("same"), now=NOW)
        useapi = a_job(4)
        await submitted(store, useapi, provider="useapi", provider_job_id="same")
        accepted = await store.accept(report(jobs[0], failed("same"), account="a0"))
        orphan = await store.accept(told(running(5, "nobody's")))
        story = await store.history.story(jobs[0])
        assert story is not None
        (delivery,) = story.deliveries

        async def found(name: str) -> list[tuple[str, str | None]]:
            return [(each.what, each.job_id) for each in await store.history.find(name)]

        assert await found(jobs[1]) == [("job", jobs[1])]
        assert await found(accepted.callback_id) == [("callback", jobs[0])]
        assert await found(f"evt{accepted.callback_id.removeprefix('cb')}") == [("callback", jobs[0])]
        assert await found(delivery.id) == [("delivery", jobs[0])]
        assert await found(orphan.callback_id) == [("callback", None)]
        (told_of,) = story.announced
        assert await found(told_of.id) == [("notification", jobs[0])]
        assert await found(f"{told_of.id[:-1]}{'1' if told_of.id.endswith('0') else '0'}") == []
        assert [job for _, job in await found("order-42")] == [useapi, *jobs[::-1]]
        assert sorted(job or "" for _, job in await found("same")) == sorted([*jobs, useapi])
        assert await found("x' OR '1'='1") == []
        assert len(await store.history.find("order-42", limit=2)) == 2

    async def test_a_notification_that_nobody_hears_of_is_found_among_many(self, store: Store) -> None:
        jobs = [a_job(number) for number in range(40)]
        for number, job in enumerate(jobs):
            await store.register(registration(job, notify=(), user=f"u_{number}"), now=NOW)
            await store.accept(report(job, running(5, job), received_at=NOW + number * 60 * SECOND))
        for number in (0, 17, 39):
            story = await store.history.story(jobs[number])
            assert story is not None
            assert story.deliveries == []
            (told_of,) = story.announced
            (found,) = await store.history.find(told_of.id)
            assert (found.what, found.id, found.job_id) == ("notification", told_of.id, jobs[number])
            assert await store.history.find(told_of.id, user=f"u_{number}") == [found]
            assert await store.history.find(told_of.id, user="u_somebody") == []

    async def test_a_refused_submit_is_in_the_story(self, store: Store) -> None:
        job = a_job()
        await store.register(registration(job), now=NOW)
        await store.record_submission(job, REFUSED, now=NOW + SECOND)
        story = await store.history.story(job)
        assert story is not None
        assert (story.callbacks, story.job.submission, story.job.finished_at) == ([], "refused", NOW + SECOND)
        assert [str(entry.type) for entry in story.announced] == ["job.failed"]
