"""What every store must do to take a callback once more: exactly what was asked for, and in a dry run nothing."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from replyhook.jobs import AssetStatus, JobStatus, Trust
from replyhook_receiver.errors import UnknownCallback
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import Report, ReportSource
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from replyhook_receiver.stores.replaying import Replay, Replayed, Step
from replyhook_receiver.tasks import Dead, Done
from tests.contracts.store.material import (
    BUT_OVERDUE,
    LEASE,
    LINK,
    NOW,
    VIDEO,
    a_job,
    all_of,
    failed,
    kinds_announced,
    known_as,
    one_task,
    report,
    running,
    submitted,
    succeeded,
    the_job,
    told,
)

LATER = NOW + timedelta(days=3)
EVERYTHING = frozenset(Step) - {Step.PARSE}


async def replay(store: Store, callback_id: str, event: Any, *steps: Step, keeps: bool = True) -> Replayed:
    wanted = Replay(callback_id=callback_id, event=event, steps=frozenset(steps), keeps=keeps)
    return await store.replays.replay(wanted, now=LATER)


async def everything(store: Store, job: str) -> Any:
    """All that is known of a job and all callbacks, to be compared."""
    return (
        await store.history.story(job),
        await store.history.callbacks(limit=100),
        await store.history.events(limit=100),
        await store.last_notification(),
        await store.next_due(now=NOW, kinds=BUT_OVERDUE),
    )


async def unread(store: Store, job: str, **more: Any) -> Report:
    """A callback of ``job`` that nobody could read when it came."""
    entry = report(job, None, received_at=NOW + timedelta(seconds=90), **more)
    assert (await store.accept(entry)).verdict is Verdict.UNRECOGNISED
    return entry


async def all_dead(store: Store) -> None:
    """Give up all work there is."""
    while tasks := await store.claim(BUT_OVERDUE, limit=10, lease=LEASE, now=NOW + timedelta(hours=1)):
        for task in tasks:
            await store.finish(task, Dead(problem="gone"), now=NOW)


class ReplayContract:
    """Subclass it, and give it an open ``store``."""

    async def test_what_can_be_read_at_last_is_applied_and_no_endpoint_hears_of_it(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = await unread(store, job, trust=Trust.TOKEN_ONLY)
        done = await replay(store, entry.callback_id, succeeded(), Step.STATE)
        assert (done.verdict, done.announced, done.deliveries, done.withheld) == ("applied", ["job.succeeded"], 0, 1)
        assert (done.tasks, done.download, done.notify) == (["download"], None, None)
        kept = await the_job(store, job)
        assert (kept.status, kept.trust, kept.asset.url) == (JobStatus.SUCCEEDED, Trust.TOKEN_ONLY, LINK)
        assert (await one_task(store, TaskKind.DOWNLOAD, now=LATER)).subject == job
        assert await store.claim([TaskKind.NOTIFY], limit=10, lease=LEASE, now=LATER) == []
        assert await kinds_announced(store, job) == ["job.succeeded"]  # who watches the stream is told
        newest, first = await store.history.callbacks(CallbackFilter(job_id=job))
        assert (newest.id, newest.source, newest.trust, newest.bytes) == (done.callback_id, "replay", "token_only", 0)
        assert (first.id, first.verdict) == (entry.callback_id, Verdict.UNRECOGNISED)

    async def test_the_job_was_called_back_when_the_callback_came_not_when_it_was_replayed(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = await unread(store, job)
        await replay(store, entry.callback_id, succeeded(), Step.STATE)
        kept = await the_job(store, job)
        assert (kept.called_back_at, kept.finished_at) == (entry.received_at, LATER)

    @pytest.mark.parametrize("steps", [(Step.STATE,), tuple(sorted(EVERYTHING))], ids=["state", "everything"])
    async def test_a_dry_run_says_what_comes_and_changes_nothing(self, store: Store, steps: tuple[Step, ...]) -> None:
        job = a_job()
        await submitted(store, job)
        entry = await unread(store, job)
        before = await everything(store, job)
        foreseen = await replay(store, entry.callback_id, succeeded(), *steps, keeps=False)
        assert await everything(store, job) == before
        done = await replay(store, entry.callback_id, succeeded(), *steps)
        assert replace(foreseen, callback_id=None) == replace(done, callback_id=None)
        assert (done.before != done.after, done.after is not None and done.after.status) == (True, "succeeded")

    async def test_the_same_fact_again_is_a_duplicate_and_no_second_event(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = report(job, succeeded())
        await store.accept(entry)
        events = await store.history.events()
        done = await all_of(replay(store, entry.callback_id, succeeded(), Step.STATE) for _ in range(10))
        assert Counter(each.verdict for each in done) == {Verdict.DUPLICATE: 10}
        assert await store.history.events() == events
        assert await kinds_announced(store, job) == ["job.succeeded"]
        assert len(await store.history.callbacks(CallbackFilter(source=ReportSource.REPLAY))) == 10

    async def test_replays_at_once_apply_what_is_new_once(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = await unread(store, job)
        asked = [replay(store, entry.callback_id, succeeded(), Step.STATE) for _ in range(10)]
        neighbours = [store.accept(report(a_job(number), running(number))) for number in range(1, 20)]
        done = (await all_of([*asked, *neighbours]))[:10]
        assert Counter(each.verdict for each in done) == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 9}
        assert await kinds_announced(store, job) == ["job.succeeded"]
        assert len(await store.history.callbacks(limit=100)) == 30

    async def test_a_neighbour_of_a_dry_run_in_the_same_commit_is_kept(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = await unread(store, job)
        dry = [replay(store, entry.callback_id, succeeded(), *EVERYTHING, keeps=False) for _ in range(10)]
        neighbours = [store.accept(report(a_job(number), succeeded())) for number in range(1, 20)]
        assert not [each for each in await all_of([*dry, *neighbours]) if isinstance(each, Exception)]
        assert len(await store.history.callbacks(limit=100)) == 20
        assert await kinds_announced(store, job) == []
        assert await store.last_notification() == len(await store.notifications(after=0))

    async def test_a_failure_that_is_replayed_never_takes_a_success_back(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = await unread(store, job)
        await store.accept(report(job, succeeded()))
        done = await replay(store, entry.callback_id, failed(), Step.STATE)
        assert (done.verdict, (await the_job(store, job)).status) == (Verdict.AFTER_TERMINAL, JobStatus.SUCCEEDED)

    async def test_what_says_nothing_changes_nothing_and_is_not_kept_twice(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = await unread(store, job)
        before = await everything(store, job)
        done = await replay(store, entry.callback_id, None, Step.STATE, Step.DOWNLOAD)
        assert (done.callback_id, done.verdict, done.download) == (None, None, "no: the callback names no video")
        assert await everything(store, job) == before
        with pytest.raises(UnknownCallback):
            await replay(store, "cb_unknown", None, Step.STATE)

    async def test_a_download_that_was_given_up_is_due_again_with_its_budget(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = report(job, succeeded())
        await store.accept(entry)
        await all_dead(store)
        assert (await the_job(store, job)).asset.status is AssetStatus.FAILED
        done = await replay(store, entry.callback_id, succeeded(), Step.STATE)
        assert done.tasks == []  # the state alone is a duplicate: nobody asked for the video
        done = await replay(store, entry.callback_id, succeeded(), Step.DOWNLOAD)
        assert (done.download, done.tasks) == ("yes: the download is due", ["download"])
        task = await one_task(store, TaskKind.DOWNLOAD, now=LATER)
        assert (task.subject, task.attempt, (await the_job(store, job)).asset.url) == (job, 1, LINK)
        await store.finish(task, Done(video=VIDEO), now=LATER)
        done = await replay(store, entry.callback_id, succeeded(), Step.DOWNLOAD)
        assert (done.download, done.tasks) == ("not needed: the video is stored", [])

    async def test_a_link_that_was_told_to_the_wrong_job_is_not_fetched_for_it(self, store: Store) -> None:
        job, other = a_job(), a_job(1)
        await submitted(store, job)
        await submitted(store, other, provider_job_id="r-2")
        await store.accept(report(job, succeeded()))
        await all_dead(store)
        misdirected = report(job, succeeded("https://v3.fal.media/theirs.mp4", "r-2"))
        assert (await store.accept(misdirected)).verdict is Verdict.CONFLICT
        done = await replay(store, misdirected.callback_id, misdirected.event, Step.STATE, Step.DOWNLOAD)
        assert (done.verdict, done.tasks) == (Verdict.DUPLICATE, [])
        assert (done.download or "").startswith("no: ")
        assert (await the_job(store, job)).asset.url == LINK

    async def test_endpoints_are_told_again_only_when_that_is_asked_for_and_under_a_new_id(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = report(job, succeeded())
        await store.accept(entry)
        await store.finish(await one_task(store, TaskKind.DOWNLOAD), Done(video=VIDEO), now=NOW)
        await all_dead(store)
        done = await replay(store, entry.callback_id, succeeded(), Step.STATE, Step.DOWNLOAD)
        assert (done.announced, done.deliveries) == ([], 0)
        done = await replay(store, entry.callback_id, succeeded(), Step.NOTIFY)
        assert (done.announced, done.deliveries) == (["job.succeeded", "video.stored"], 2)
        told_of = await store.notifications(after=0, job_id=job)
        assert [str(entry.type) for entry in told_of] == ["job.succeeded", "video.stored"] * 2
        assert len({entry.id for entry in told_of}) == 4
        due = await store.claim([TaskKind.NOTIFY], limit=10, lease=LEASE, now=LATER)
        records = [await store.deliveries.get(task.subject) for task in due]
        # The other one waits until this one has been brought.
        assert [each.notification.id for each in records if each] == [told_of[2].id]
        assert msgspec.json.decode(told_of[3].body)["data"]["id"] == job

    async def test_what_is_new_and_asked_to_be_told_is_told_once(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        entry = await unread(store, job)
        done = await replay(store, entry.callback_id, succeeded(), Step.STATE, Step.NOTIFY)
        assert (done.announced, done.deliveries, done.withheld) == (["job.succeeded"], 1, 0)

    async def test_an_orphan_stays_one_until_its_job_is_known_and_is_applied_then(self, store: Store) -> None:
        entry = told(None)
        await store.accept(entry)
        done = await replay(store, entry.callback_id, succeeded(), *EVERYTHING)
        assert (done.verdict, done.job_id, done.before, done.announced) == (None, None, None, [])
        job = a_job()
        assert (await known_as(store, job)).status is JobStatus.SUCCEEDED
        again = await replay(store, entry.callback_id, succeeded(), Step.STATE)
        assert (again.verdict, again.job_id) == (Verdict.DUPLICATE, job)
