"""What every store must end in, whatever the order: the same reports, registration and submit, told in many orders.

A job's state is what ``lifecycle`` says it is. Of its links only what becomes of them all is compared.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from replyhook.jobs import Asset, AssetStatus, JobError, JobEvent, JobStatus
from replyhook_receiver.lifecycle import TaskKind, Verdict, fact_key
from replyhook_receiver.records import Submission
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import CallbackFilter
from replyhook_receiver.tasks import Dead
from tests.contracts.store.material import (
    LEASE,
    LINK,
    NOW,
    REFUSED,
    UNKNOWN,
    a_job,
    accepted_as,
    canceled,
    failed,
    kinds_announced,
    queued,
    registration,
    report,
    running,
    strange,
    succeeded,
    the_job,
)

OTHER_LINK = "https://v3.fal.media/files/two.mp4"
IN_ANY_ORDER = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])

USUAL = st.sampled_from(
    [
        queued(),
        running(),
        running(10),
        running(60),
        strange(),
        strange("HALTED"),
        succeeded(None),
        succeeded(),
        succeeded(f"{LINK}?signature=fresh"),
        succeeded(OTHER_LINK),
        failed(),
        structs.replace(failed(), error=JobError(code="422", message="broken")),
        failed(code="500"),
        structs.replace(failed(), error=JobError(code=None, message="who knows")),
        canceled(),
    ]
)
ODD = st.builds(
    JobEvent,
    provider_job_id=st.just("r-1"),
    status=st.none() | st.sampled_from(JobStatus),
    progress=st.none() | st.integers(0, 100),
    result=st.none() | st.sampled_from([Asset(url=LINK), Asset(url=OTHER_LINK)]),
    error=st.none() | st.builds(JobError, code=st.sampled_from([None, "1", "2"]), message=st.sampled_from(["a", "b"])),
)


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that is ever told of one job; ``orders`` is the seed of the orders in which it is."""

    told: list[JobEvent]
    submissions: list[Submission]
    orders: int


def stories(submissions: list[list[Submission]]) -> st.SearchStrategy[Story]:
    facts = st.lists(USUAL | ODD, min_size=1, max_size=6)
    return st.builds(
        Story,
        # Some of it more than once, as providers do.
        told=facts.flatmap(lambda told: st.lists(st.sampled_from(told), max_size=3).map(lambda again: told + again)),
        submissions=st.sampled_from(submissions),
        orders=st.integers(0, 2**32),
    )


FAILURES = [
    failed(),
    structs.replace(failed(), error=JobError(code="422", message="broken")),
    structs.replace(failed(), error=JobError(code="422", message="burnt"), progress=40),
    structs.replace(failed(), error=JobError(code="422", message="burnt"), progress=60),
    structs.replace(failed(), error=JobError(code=None, message="a word")),
    canceled(),
    running(50),
    succeeded(None),
]
LINKS = [succeeded(), succeeded(f"{LINK}?signature=fresh"), succeeded(OTHER_LINK), succeeded(None), failed(), strange()]


def always(told: list[JobEvent], submission: Submission) -> Any:
    """A story that is told in every run."""
    return example(Story(told=[*told, told[0], told[2]], submissions=[submission], orders=7))


@dataclass(frozen=True, kw_only=True)
class End:
    """What is compared: all of a job that its reports decide, what was announced for good, and what is to be done."""

    state: tuple[Any, ...]
    is_known_by_its_id: bool
    ends_announced: Counter[str]
    links_tried: frozenset[str]
    is_asked_for: bool


class OrderContract:
    """Subclass with ``opened``: a new and empty store, made with ``describe``, closed at the end."""

    ORDERS = 8
    """In so many each story is told."""

    def opened(self) -> AbstractAsyncContextManager[Store]:
        raise NotImplementedError

    @IN_ANY_ORDER
    @given(stories([[accepted_as("r-1")], [UNKNOWN, accepted_as("r-1")], [UNKNOWN], [REFUSED]]))
    @always(FAILURES, REFUSED)
    @always(LINKS, UNKNOWN)
    def test_a_job_ends_the_same_wherever_its_registration_and_submit_come_in(self, story: Story) -> None:
        asyncio.run(self._ends_the_same(story, provider="fal", by_account=False))

    @IN_ANY_ORDER
    @given(stories([[accepted_as("r-1")], [UNKNOWN, accepted_as("r-1")]]))
    @always(FAILURES, accepted_as("r-1"))
    @always(LINKS, accepted_as("r-1"))
    def test_a_job_of_an_account_ends_the_same_whether_its_callbacks_were_orphans_or_not(self, story: Story) -> None:
        asyncio.run(self._ends_the_same(story, provider="pixverse", by_account=True))

    async def _ends_the_same(self, story: Story, *, provider: str, by_account: bool) -> None:
        chance = random.Random(story.orders)
        async with self.opened() as store:
            ends = [
                await _tell(store, story, chance, number, provider=provider, by_account=by_account)
                for number in range(self.ORDERS)
            ]
        assert all(end == ends[0] for end in ends), "\n".join(map(str, ends))


async def _tell(
    store: Store, story: Story, chance: random.Random, number: int, *, provider: str, by_account: bool
) -> End:
    """Tell the story of a new job in some order, check that all of it is kept, and say what it ended in."""
    job, name = a_job(number), f"r-{number}"
    told = [structs.replace(event, provider_job_id=name) for event in story.told]
    by = None if by_account else job
    callbacks = [
        partial(store.accept, report(by, event, provider=provider, body=str(mark).encode()))
        for mark, event in enumerate(told)
    ]
    chance.shuffle(callbacks)
    submissions = [replace(said, provider_job_id=said.provider_job_id and name) for said in story.submissions]
    ours: list[Callable[[], Awaitable[Any]]] = [
        partial(store.register, registration(job, provider=provider), now=NOW),
        *(partial(store.record_submission, job, said, now=NOW) for said in submissions),
    ]
    cuts = sorted(chance.choices(range(len(callbacks) + 1), k=len(ours)))
    for start, cut, ours_next in zip([0, *cuts], [*cuts, len(callbacks)], [*ours, None], strict=True):
        if number % 2:
            await asyncio.gather(*(step() for step in callbacks[start:cut]))
        else:
            for step in callbacks[start:cut]:
                await step()
        if ours_next is not None:
            await ours_next()
    await _check_kept(store, job, told, provider)
    return await _end(store, job, name)


async def _check_kept(store: Store, job: str, told: list[JobEvent], provider: str) -> None:
    """Every report is kept with its verdict, and of each fact all but one are duplicates."""
    kept = await store.history.callbacks(CallbackFilter(job_id=job), limit=100)
    whole = {callback.id: await store.history.callback(callback.id) for callback in kept}
    bodies = {callback_id: int(each.callback.body) for callback_id, each in whole.items() if each}
    assert sorted(bodies.values()) == list(range(len(told)))
    assert all(callback.verdict for callback in kept)
    facts = [fact_key(provider=provider, account="default", job_id=job, event=event) for event in told]
    news = [facts[bodies[callback.id]] for callback in kept if callback.verdict is not Verdict.DUPLICATE]
    assert sorted(news) == sorted(set(facts))


async def _end(store: Store, job: str, name: str) -> End:
    kept = await the_job(store, job)
    announced = Counter(kind for kind in await kinds_announced(store, job) if kind == f"job.{kept.status}")
    questions = await store.claim([TaskKind.FETCH_RESULT], limit=9, lease=LEASE, now=NOW)
    return End(
        state=(kept.status, kept.progress, kept.error, kept.submission, kept.asset.status),
        is_known_by_its_id=kept.provider_job_id == name,
        ends_announced=announced if kept.status.is_terminal else Counter(),
        links_tried=await _links_tried(store, job),
        is_asked_for=not kept.status.is_terminal and [task.subject for task in questions] == [job],
    )


async def _links_tried(store: Store, job: str) -> frozenset[str]:
    """The links that are tried while none of them works: each once, one task at a time."""
    tried: list[str] = []
    while tasks := await store.claim([TaskKind.DOWNLOAD], limit=9, lease=LEASE, now=NOW):
        (task,) = tasks
        asset = (await the_job(store, job)).asset
        assert (task.subject, asset.status) == (job, AssetStatus.PENDING)
        tried.append((asset.url or "").partition("?")[0])
        assert len(tried) == len(set(tried))
        await store.finish(task, Dead(problem="the link is dead"), now=NOW)
    assert (await kinds_announced(store, job)).count("video.failed") == bool(tried)
    return frozenset(tried)
