"""The worker: woken, not polling; nothing that happens to one task stops it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from replyhook_receiver.errors import DownloadRefused, LinkDead, ReceiverTrouble, StoreUnavailable
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.retries import RetryPolicy
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.tasks import Done, Task
from replyhook_receiver.work import pulse
from replyhook_receiver.work import worker as worker_module
from replyhook_receiver.work.worker import Handler, Worker
from tests.contracts.store.material import a_job, describe, report, succeeded
from tests.receiver.support import until
from tests.receiver.work.bench import AT_ONCE, now

Run = Callable[[Task], Awaitable[Done]]


class CountingStore(SQLiteStore):
    """Counts what the worker asks of it, and fails on demand."""

    claims = 0
    looks = 0
    failing_claims = 0
    failing_finishes = 0
    at_fault: Exception | None = None
    """What every look for work and every renewal fails with."""
    renewing_meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Done once an end is kept or refused, before the worker knows which."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.hangs = asyncio.Event()  # while it is not set
        self.hangs.set()

    async def claim(self, *arguments: Any, **more: Any) -> list[Task]:
        self.claims += 1
        if self.failing_claims:
            self.failing_claims -= 1
            raise StoreUnavailable("down")
        return await super().claim(*arguments, **more)

    async def next_due(self, **more: Any) -> Any:
        self.looks += 1
        await self.hangs.wait()
        if self.at_fault is not None:
            raise self.at_fault
        return await super().next_due(**more)

    async def renew(self, *arguments: Any, **more: Any) -> Any:
        if self.at_fault is not None:
            raise self.at_fault
        return await super().renew(*arguments, **more)

    async def finish(self, *arguments: Any, **more: Any) -> bool:
        if self.failing_finishes:
            self.failing_finishes -= 1
            raise StoreUnavailable("down")
        kept = await super().finish(*arguments, **more)
        if self.renewing_meanwhile is not None:
            await asyncio.create_task(self.renewing_meanwhile())
        return kept

    async def works(self, *jobs: str) -> None:
        """A download to do for each job."""
        links = {job: f"https://x.example/{job}.mp4" for job in jobs}
        reports = [report(job, succeeded(link, None), received_at=now()) for job, link in links.items()]
        await asyncio.gather(*(self.accept(entry) for entry in reports))

    async def all_are(self, state: str, *jobs: str) -> bool:
        """Whether the tasks of all these jobs are in this state."""
        return {(await self.state(job))[0] for job in jobs} == {state}

    async def state(self, job: str) -> tuple[str, int, str | None]:
        """State, attempts and problem of a job's download."""
        statement = "SELECT state, attempts, problem FROM tasks WHERE subject = ?"
        return tuple(await self.database.read(lambda raw: raw.execute(statement, (job,)).fetchone()))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountingStore]:
    opened = CountingStore(tmp_path / "replyhook.db", describe=describe)
    await opened.open()
    yield opened
    await opened.close()


@asynccontextmanager
async def working(
    store: SQLiteStore,
    run: Run,
    *,
    concurrency: int = 4,
    policy: RetryPolicy = AT_ONCE,
    give_up: Callable[[Task], Awaitable[None]] | None = None,
) -> AsyncIterator[Worker]:
    """A worker with all three kinds of work; downloads are ``run``."""

    async def nothing(_: Task) -> Done:
        return Done()

    others = {kind: Handler(run=nothing, policy=policy, concurrency=4) for kind in TaskKind}
    handlers = others | {TaskKind.DOWNLOAD: Handler(run=run, policy=policy, concurrency=concurrency, give_up=give_up)}
    worker = Worker(store=store, handlers=handlers, now=now)
    store.on_change(tasks=worker.wake, notifications=lambda: None)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


class Recorder:
    """A handler that keeps what it was given; ``fails`` are raised in turn, then it succeeds."""

    def __init__(self, *fails: Exception) -> None:
        self.fails = list(fails)
        self.tasks: list[Task] = []

    async def __call__(self, task: Task) -> Done:
        self.tasks.append(task)
        if self.fails:
            raise self.fails.pop(0)
        return Done()

    @property
    def subjects(self) -> list[str]:
        return [task.subject for task in self.tasks]


class Gate:
    """A handler that holds every task until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside = 0
        self.most = 0
        self.begun: list[str] = []

    async def __call__(self, task: Task) -> Done:
        self.begun.append(task.subject)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.open.wait()
        finally:
            self.inside -= 1
        return Done()


async def test_idle_it_looks_at_nothing_and_a_commit_wakes_it(store: CountingStore) -> None:
    recorder = Recorder()
    async with working(store, recorder) as worker:
        await asyncio.sleep(0.1)
        looks = store.looks
        await asyncio.sleep(0.4)
        assert (store.looks, store.claims) == (looks, 0)
        assert worker.healthy
        job = a_job()
        await store.works(job)
        await until(lambda: recorder.tasks, seconds=60)
    assert await store.state(job) == ("done", 1, None)


async def test_one_that_hangs_is_not_healthy_and_one_that_waits_or_works_long_is(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "LONGEST_SECONDS", 0.1)
    gate = Gate()
    async with working(store, gate) as worker:
        await store.works(a_job())
        await until(lambda: gate.begun)
        await asyncio.sleep(0.3)
        assert worker.healthy, "a task may take long, and so may the wait for one"
        store.hangs.clear()
        await store.works(a_job())
        await until(lambda: not worker.healthy)
        store.hangs.set()
        await until(lambda: len(gate.begun) == 2)
        assert worker.healthy
        gate.open.set()


async def test_with_all_places_taken_it_does_not_ask_again_and_again(store: CountingStore) -> None:
    gate = Gate()
    async with working(store, gate, concurrency=1):
        await store.works(*(a_job(number) for number in range(5)))
        await until(lambda: gate.inside == 1)
        await asyncio.sleep(0.1)
        claims, looks = store.claims, store.looks
        await asyncio.sleep(0.6)
        assert store.claims - claims <= 6, "a busy loop"
        assert store.looks - looks <= 6, "a busy loop"
        gate.open.set()
        await until(lambda: len(gate.begun) == 5)


async def test_no_more_run_at_once_than_may_and_all_are_run(store: CountingStore) -> None:
    jobs = [a_job(number) for number in range(12)]
    gate = Gate()
    async with working(store, gate, concurrency=3):
        await store.works(*jobs)
        await until(lambda: gate.inside == 3)
        await asyncio.sleep(0.05)
        gate.open.set()
        await until(lambda: len(gate.begun) == 12)
    assert gate.most == 3
    assert sorted(gate.begun) == sorted(jobs)


async def test_one_kind_of_work_does_not_hold_up_another(store: CountingStore) -> None:
    gate, stuck, asked = Gate(), a_job(1), a_job(2)
    async with working(store, gate, concurrency=1):
        await store.works(stuck)
        await until(lambda: gate.inside == 1)
        await store.accept(report(asked, succeeded(None, None), received_at=now()))
        await until(lambda: store.all_are("done", asked))
        gate.open.set()


async def test_what_failed_is_tried_again_when_it_is_due_and_counted(store: CountingStore) -> None:
    job, recorder = a_job(), Recorder(DownloadRefused("busy"), DownloadRefused("busy"))
    async with working(store, recorder, policy=RetryPolicy(delays=(0.2, 0.2), jitter=0.0)):
        await store.works(job)
        await until(lambda: len(recorder.tasks) == 1)
        await asyncio.sleep(0.1)
        assert (await store.state(job))[:2] == ("ready", 1)
        await until(lambda: len(recorder.tasks) == 3, seconds=60)
    assert [task.attempt for task in recorder.tasks] == [1, 2, 3]
    assert await store.state(job) == ("done", 3, None)


@pytest.mark.parametrize(
    ("error", "tries", "problem"),
    [
        (DownloadRefused("busy"), 3, "busy"),
        (LinkDead("gone"), 1, "gone"),
        (ValueError("geheim"), 3, "a fault of ours (ValueError)"),
        (KeyError("geheim"), 3, "a fault of ours (KeyError)"),
        (TimeoutError(), 3, "a fault of ours (TimeoutError)"),
    ],
    ids=str,
)
async def test_after_the_last_try_it_is_a_dead_letter_and_work_goes_on(
    store: CountingStore, caplog: pytest.LogCaptureFixture, error: Exception, tries: int, problem: str
) -> None:
    caplog.set_level(logging.INFO)
    bad, good = a_job(1), a_job(2)
    recorder = Recorder(*[error] * tries)
    async with working(store, recorder) as worker:
        await store.works(bad)
        await until(lambda: len(recorder.tasks) == tries)
        await store.works(good)
        await until(lambda: good in recorder.subjects)
        assert worker.healthy
    assert await store.state(bad) == ("dead", tries, problem)
    assert (await store.state(good))[0] == "done"
    assert f"given up after {tries} tries" in caplog.text


async def test_a_store_that_is_down_for_a_moment_stops_nothing(store: CountingStore) -> None:
    job, recorder = a_job(), Recorder()
    store.failing_claims = 1
    async with working(store, recorder) as worker:
        await store.works(job)
        await until(lambda: recorder.tasks, seconds=60)
        assert worker.healthy
    assert (await store.state(job))[0] == "done"


@pytest.mark.parametrize("fault", [OSError("a disk that is away"), KeyError("ours"), OverflowError("a clock")], ids=str)
async def test_a_fault_of_ours_that_passes_leaves_it_at_work_and_is_seen_while_it_lasts(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(worker_module, "_STORE_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(worker_module, "_RENEW_SECONDS", 0.05)
    gate = Gate()
    async with working(store, gate) as worker:
        await store.works(a_job(1))
        await until(lambda: gate.inside == 1)
        store.at_fault = fault
        await store.works(a_job(2))
        await until(lambda: not worker._looking.beats and not worker._renewing.beats)
        assert not worker.healthy
        store.at_fault = None
        await until(lambda: gate.inside == 2)
        await until(lambda: worker.healthy)
        gate.open.set()


async def test_an_end_that_cannot_be_noted_at_once_is_noted_a_moment_later(store: CountingStore) -> None:
    job, recorder = a_job(), Recorder()
    store.failing_finishes = 1
    async with working(store, recorder):
        await store.works(job)
        await until(lambda: store.all_are("done", job), seconds=60)
    assert len(recorder.tasks) == 1


async def test_work_that_could_not_be_noted_is_done_again_when_its_lease_ran_out(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_STORE_PAUSE_SECONDS", 0.01)
    job, other, recorder = a_job(1), a_job(2), Recorder()
    store.failing_finishes = 30
    async with working(store, recorder) as worker:
        await store.works(job)
        await until(lambda: store.failing_finishes == 0)
        await store.works(other)
        await until(lambda: other in recorder.subjects)
        assert worker.healthy
    assert (await store.state(job))[0] == "leased"
    later = now() + timedelta(seconds=31)
    assert len(await store.claim([TaskKind.DOWNLOAD], limit=5, lease=timedelta(seconds=1), now=later)) == 1


@pytest.mark.parametrize("loses", [False, True], ids=["its lease ended with it", "another took it over"])
async def test_a_renewal_does_not_cut_off_what_is_done_about_an_end(
    store: CountingStore, caplog: pytest.LogCaptureFixture, loses: bool
) -> None:
    job, given_up = a_job(), []

    async def fails(_: Task) -> Done:
        if loses:
            later = now() + 2 * worker_module.LEASE
            assert len(await store.claim([TaskKind.DOWNLOAD], limit=1, lease=worker_module.LEASE, now=later)) == 1
        raise LinkDead("gone")

    async def give_up(task: Task) -> None:
        given_up.append(task.subject)

    async with working(store, fails, give_up=give_up) as worker:
        store.renewing_meanwhile = worker._renew_held
        await store.works(job)
        await until(lambda: given_up or "another worker has it" in caplog.text, seconds=10)
        await until(lambda: not worker._running)
        assert worker._ending == set()
    assert given_up == ([] if loses else [job])


async def test_a_stop_does_not_wait_for_a_store_that_is_away(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_STOP_SECONDS", 0.1)
    gate = Gate()
    async with working(store, gate, concurrency=2) as worker:
        await store.works(a_job(1), a_job(2))
        await until(lambda: gate.inside == 2)
        store.failing_finishes = 1_000
        async with asyncio.timeout(15):  # of itself it would be patient for half a minute
            await worker.stop()
    assert store.failing_finishes == 998


async def test_a_stop_does_not_wait_for_a_store_that_does_not_answer(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_STOP_SECONDS", 0.1)
    monkeypatch.setattr(worker_module, "_PUT_BACK_SECONDS", 0.1)
    gate = Gate()

    async def hangs(*_: Any, **__: Any) -> bool:
        await asyncio.Event().wait()
        raise AssertionError

    async with working(store, gate) as worker:
        await store.works(a_job(1))
        await until(lambda: gate.inside == 1)
        monkeypatch.setattr(store, "finish", hangs)
        async with asyncio.timeout(15):
            await worker.stop()


async def test_the_work_of_a_worker_that_was_killed_is_taken_over(store: CountingStore) -> None:
    job, recorder = a_job(), Recorder()
    await store.works(job)
    # The one that was killed left nothing but its claim behind.
    await store.claim([TaskKind.DOWNLOAD], limit=1, lease=timedelta(seconds=2), now=now())
    async with working(store, recorder):
        await asyncio.sleep(0.1)
        assert recorder.tasks == []
        await until(lambda: recorder.tasks, seconds=60)
    assert [task.attempt for task in recorder.tasks] == [2]
    assert (await store.state(job))[0] == "done"


async def test_a_stop_lets_the_quick_end_and_puts_the_slow_back(store: CountingStore) -> None:
    gate, quick, slow, waiting = asyncio.Event(), a_job(1), a_job(2), a_job(3)

    async def run(task: Task) -> Done:
        await (asyncio.sleep(0.3) if task.subject == quick else gate.wait())
        return Done()

    async with working(store, run, concurrency=2) as worker:
        await store.works(quick, slow)
        await until(lambda: store.all_are("leased", quick, slow))
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        await store.works(waiting)
        async with asyncio.timeout(60):
            await stopping
        assert not worker.healthy
    assert (await store.state(quick))[0] == "done"
    assert (await store.state(slow))[:2] == ("ready", 0)  # a stop is no failed try
    assert (await store.state(waiting))[:2] == ("ready", 0)
    tasks = await store.claim([TaskKind.DOWNLOAD], limit=5, lease=timedelta(seconds=9), now=now())
    assert {task.subject for task in tasks} == {slow, waiting}


async def test_an_error_says_itself_whether_it_is_worth_another_try(store: CountingStore) -> None:
    class AskedForPause(ReceiverTrouble):
        retryable = True
        retry_after = timedelta(seconds=90)

    job, recorder = a_job(), Recorder(AskedForPause("later"))
    async with working(store, recorder):
        await store.works(job)
        await until(lambda: recorder.tasks)
        await until(lambda: store.all_are("ready", job))
        due = await store.next_due(now=now())
        assert 85 < (due - now()).total_seconds() <= 90


async def test_what_takes_its_process_down_every_time_is_given_up_in_the_end(
    store: CountingStore, caplog: pytest.LogCaptureFixture
) -> None:
    job, recorder, policy = a_job(), Recorder(), RetryPolicy(delays=(0.01, 0.01))
    await store.works(job)
    for _ in range(policy.attempts):  # each claimed by a process that did not live to say what became of it
        (task,) = await store.claim([TaskKind.DOWNLOAD], limit=1, lease=timedelta(0), now=now())
    assert task.attempt == policy.attempts
    handler = Handler(run=recorder, policy=policy, concurrency=1)
    worker = Worker(store=store, handlers={TaskKind.DOWNLOAD: handler}, now=now)
    await worker.start()
    await until(lambda: store.all_are("dead", job))
    await worker.stop()
    assert recorder.tasks == []
    assert "never came back" in ((await store.state(job))[2] or "")
    assert f"download of {job} is given up after 3 tries that never came back" in caplog.text
