"""What every store must do for relayed submits and for idempotency keys: subclass, and say how a store is opened."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from replyhook.ids import new_id
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import Registration, Submission, SubmissionOutcome
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.idempotency import KeptAnswer
from replyhook_receiver.tasks import Done, NotNow, Retry, Task

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)


async def relayed(store: Store, provider: str = "fal", *, at: datetime = NOW) -> str:
    """A job that the receiver is to submit."""
    video = "https://a.example/in.mp4"
    job_id = new_id("job", at=at.timestamp())
    await store.register(
        Registration(
            job_id=job_id, provider=provider, reference=None, user=None, notify=(), request={}, relay_video=video
        ),
        now=at,
    )
    return job_id


async def claimed(store: Store, *, limit: int = 100, at: datetime = NOW) -> list[Task]:
    return await store.claim([TaskKind.RELAY], limit=limit, lease=LEASE, now=at)


class RelaysContract:
    """Places, and submits that are begun again."""

    def opened(self, **max_jobs: int) -> AbstractAsyncContextManager[Store]:
        """A store with these limits; the same one each time."""
        raise NotImplementedError

    async def test_however_many_claim_at_once_no_more_get_a_place_than_there_are(self) -> None:
        async with self.opened(fal=3) as store:
            jobs = [await relayed(store, at=NOW + number * SECOND) for number in range(10)]
            at = NOW + 60 * SECOND
            found = await asyncio.gather(*(claimed(store, limit=2, at=at) for _ in range(8)))
            assert sorted(task.subject for tasks in found for task in tasks) == sorted(jobs[:3])
            assert await store.next_due(now=at, kinds=[TaskKind.RELAY]) == at + LEASE  # nothing to do until then

    async def test_each_end_of_a_job_lets_in_the_one_that_came_first(self) -> None:
        async with self.opened(fal=1) as store:
            jobs = [await relayed(store, at=NOW + number * SECOND) for number in range(3)]
            at = NOW + 60 * SECOND
            for number, job_id in enumerate(jobs):
                (task,) = await claimed(store, at=at)
                assert (task.subject, task.attempt) == (job_id, 1)
                assert await store.begin_submit(job_id, now=at)
                assert await store.finish(task, NotNow(due_at=at, problem="not now"), now=at)
                (task,) = await claimed(store, at=at)  # who was refused is before those who wait
                assert task.subject == job_id
                told = [await store.relays.waiting_for(each) for each in jobs[number + 1 :]]
                assert [words is None for words in told] == [False] * len(told)
                refused = Submission(outcome=SubmissionOutcome.REFUSED, error="no")
                await store.finish(task, Done(submission=refused), now=at)

    async def test_only_a_certain_refusal_lets_a_submit_be_begun_again(self) -> None:
        async with self.opened() as store:
            job_id = await relayed(store)
            (task,) = await claimed(store)
            assert await store.begin_submit(job_id, now=NOW)
            assert not await store.begin_submit(job_id, now=NOW)
            await store.finish(task, Retry(due_at=NOW, problem="stopped"), now=NOW)
            assert not await store.begin_submit(job_id, now=NOW)
            (task,) = await claimed(store)
            stale = replace(task, lease="another")
            assert not await store.finish(stale, NotNow(due_at=NOW, problem="too many"), now=NOW)
            assert not await store.begin_submit(job_id, now=NOW)
            assert await store.relays.refused_since(job_id) is None
            for number in range(2):
                at = NOW + number * SECOND
                assert await store.finish(task, NotNow(due_at=at, problem="too many"), now=at)
                assert await store.relays.refused_since(job_id) == NOW
                assert await store.begin_submit(job_id, now=at)
                (task,) = await claimed(store, at=at)
                assert task.attempt == 1

    async def test_a_lifted_limit_lets_all_in_who_wait(self) -> None:
        async with self.opened(fal=1) as store:
            jobs = {await relayed(store) for _ in range(4)}
            (first,) = await claimed(store)
        async with self.opened() as store:
            assert await store.next_due(now=NOW, kinds=[TaskKind.RELAY]) == NOW
            assert {task.subject for task in await claimed(store)} == jobs - {first.subject}


class IdempotencyContract:
    """Keys and their answers."""

    def opened(self) -> AbstractAsyncContextManager[Store]:
        """A store; the same one each time."""
        raise NotImplementedError

    async def test_of_many_requests_at_once_one_is_what_the_key_is_for(self) -> None:
        async with self.opened() as store:
            requests = [f"request-{number}" for number in range(20)]
            found = await asyncio.gather(*(store.idempotency.begin("me", "k", each, now=NOW) for each in requests))
            assert len({(each.request, each.made_id) for each in found}) == 1
            assert (await store.idempotency.begin("you", "k", "x", now=NOW)).made_id != found[0].made_id

    async def test_an_answer_is_kept_byte_for_byte_across_a_restart(self) -> None:
        answer = KeptAnswer(status=202, content_type="application/json", body=b'{"\x00\xff')
        async with self.opened() as store:
            first = await store.idempotency.begin("me", "k", "r", now=NOW)
            assert first.answer is None
            await store.idempotency.keep_answer("me", "k", answer)
        async with self.opened() as store:
            again = await store.idempotency.begin("me", "k", "r", now=NOW + timedelta(hours=23))
            assert (again.made_id, again.answer) == (first.made_id, answer)
            anew = await store.idempotency.begin("me", "k", "another", now=NOW + timedelta(hours=24))
            assert (anew.request, anew.answer) == ("another", None)
            assert anew.made_id != first.made_id
