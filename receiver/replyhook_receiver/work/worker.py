"""The worker: claim, run, finish. Woken by a commit or by the earliest due task; nothing is looked up on a timer."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from replyhook.errors import ReplyhookError
from replyhook_receiver import logs
from replyhook_receiver.errors import ReceiverTrouble, StoreUnavailable
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.measures import Measures
from replyhook_receiver.retries import RetryPolicy
from replyhook_receiver.stores.base import Store
from replyhook_receiver.tasks import Dead, Done, NotNow, Outcome, Retry, Task
from replyhook_receiver.tracing import Tracing
from replyhook_receiver.work.pulse import Pulse

_log = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
LONGEST_WAIT = timedelta(days=2)  # a day is the longest that any policy waits or obeys
_RENEW_SECONDS = 10.0
_STOP_SECONDS = 5.0
_PUT_BACK_SECONDS = 3.0
_STORE_PAUSE_SECONDS = 1.0
_FINISH_TRIES = 30
_CLOCK_SLACK = timedelta(seconds=5)
_HELD_BACK_SECONDS = 1.0
_LOOK_AROUND_SECONDS = 0.1  # how long other kinds may wait while one keeps all its places taken


class Claims(Protocol):
    """A kind of task that is not simply claimed in the order of its duty."""

    async def claim(self, *, limit: int, lease: timedelta, now: datetime) -> list[Task]:
        """Take up to ``limit`` tasks; fewer than are due where something keeps them back. Also asked for none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """How one kind of task is run, how many at a time, and when it is tried again.

    ``claims`` chooses which is next, where that is not the oldest; ``give_up`` is told of a task that is given up.
    """

    run: Callable[[Task], Awaitable[Done | NotNow]]
    policy: RetryPolicy
    concurrency: int
    claims: Claims | None = None
    give_up: Callable[[Task], Awaitable[None]] | None = None


class Worker:
    """The embedded engine: runs what the store's task table holds."""

    def __init__(
        self,
        *,
        store: Store,
        handlers: Mapping[TaskKind, Handler],
        now: Callable[[], datetime],
        measures: Measures | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._measures = measures or Measures()
        self._tracing = tracing
        self._store = store
        self._handlers = handlers
        self._now = now
        self._wake = asyncio.Event()
        self._stopping = False
        self._looking, self._renewing = Pulse(), Pulse()
        self._running: dict[asyncio.Task[None], Task] = {}
        self._ending: set[str] = set()  # the leases of those whose work is over, and whose end is being noted
        self._loops: list[asyncio.Task[None]] = []
        self._renewed_at = now()
        self._looked_at = (now(), time.monotonic())
        self._hungry: set[TaskKind] = set()  # the kinds that filled all their places when they were claimed last
        self._looked_around_at = float("-inf")

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    @property
    def healthy(self) -> bool:
        """Whether it is at work: neither has a loop ended, nor does one hang, or fail by a fault of ours."""
        has_ended = not self._loops or any(loop.done() for loop in self._loops)
        return not has_ended and self._looking.beats and self._renewing.beats

    async def broken(self) -> None:
        """Wait until it is not at work any more, which happens by a fault of ours alone."""
        await asyncio.wait(self._loops, return_when=asyncio.FIRST_COMPLETED)
        if not self._stopping:
            _log.error("the worker stands still: %s", [loop.get_name() for loop in self._loops if loop.done()])

    async def start(self) -> None:
        """Begin. What would wait longer than anything may was noted while the clock was ahead: it is due now."""
        now = self._now()
        # Another machine's clock may be a little ahead of ours, and what its worker holds is not to be taken from it.
        settled = await self._store.settle_times(latest_due=now + LONGEST_WAIT, latest_lease=now + 2 * LEASE, now=now)
        if settled:
            _log.warning("%d tasks would have waited for a clock that was once ahead: they are due now", settled)
        self._loops = [
            asyncio.create_task(self._work(), name="replyhook-worker"),
            asyncio.create_task(self._renew(), name="replyhook-leases"),
        ]

    async def stop(self) -> None:
        """Take nothing new, give what runs a moment to end, put the rest back."""
        self._stopping = True
        self.wake()
        if self._loops:  # what is being claimed at this moment is begun, and put back with the rest
            await asyncio.wait(self._loops[:1], timeout=_STORE_PAUSE_SECONDS)
        if self._running:
            await asyncio.wait(self._running, timeout=_STOP_SECONDS)
        left = [*self._running, *self._loops]
        for _ in range(2):  # a store that does not even answer is not waited for either: then nothing is put back
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=_PUT_BACK_SECONDS)

    async def _work(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                with self._looking.round():
                    pause = await self._claim_and_start()
            except StoreUnavailable as error:
                _log.warning("the worker cannot reach the store: %s", error)
                await asyncio.sleep(_STORE_PAUSE_SECONDS)
                continue
            except Exception:
                await self._after_stumbling(self._looking, "looking for work")
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=pause)
            except TimeoutError:
                continue

    async def _claim_and_start(self) -> float | None:
        """Start what is due and fits; seconds until it is worth looking again, None for "when woken"."""
        now = self._now()
        await self._follow_clock(now)
        if self._running and now - self._renewed_at > LEASE / 2:
            await self._renew_held()  # after a stall our own leases may have run out: they are ours before anybody's
        free = self._free_places()
        await self._look_without_places(free, now)
        if not free:
            return None  # all places are taken: an end wakes us
        hungry = {kind: free[kind] for kind in self._hungry if kind in free}
        if not hungry or time.monotonic() - self._looked_around_at > _LOOK_AROUND_SECONDS:
            due = await self._store.next_due(now=now, kinds=list(free))
            if due is None:
                return None  # nothing waits: a commit wakes us
            if due > now:
                return (due - now).total_seconds()
            self._looked_around_at = time.monotonic()
            hungry = free
        started = await self._claim_all(hungry, now)
        return 0.0 if started else await self._pause_of_the_held_back(free, now)

    async def _claim_all(self, places: Mapping[TaskKind, int], now: datetime) -> int:
        """Claim of each kind what it has places for, all in one commit; how many were started.

        Of what filled all its places there is more, most likely: it is claimed again without being asked about first.
        """
        kinds = list(places)
        found = await asyncio.gather(*(self._claim(kind, places[kind], now) for kind in kinds), return_exceptions=True)
        for kind, tasks in zip(kinds, found, strict=True):
            self._hungry.discard(kind)
            if not isinstance(tasks, BaseException):
                if len(tasks) >= places[kind]:
                    self._hungry.add(kind)
                for task in tasks:
                    self._start(task)
        for tasks in found:
            if isinstance(tasks, BaseException):  # what others have claimed is under way nevertheless
                raise tasks
        return sum(len(tasks) for tasks in found if not isinstance(tasks, BaseException))

    async def _claim(self, kind: TaskKind, places: int, now: datetime) -> list[Task]:
        claims = self._handlers[kind].claims
        if claims is not None:
            return await claims.claim(limit=places, lease=LEASE, now=now)
        return await self._store.claim([kind], limit=places, lease=LEASE, now=now)

    async def _look_without_places(self, free: Mapping[TaskKind, int], now: datetime) -> None:
        for kind, handler in self._handlers.items():
            if kind not in free and handler.claims is not None:
                await handler.claims.claim(limit=0, lease=LEASE, now=now)

    async def _pause_of_the_held_back(self, free: Mapping[TaskKind, int], now: datetime) -> float:
        """How long to wait where due work is kept back (its host is busy, the disk is full), which may end unheard."""
        if all(self._handlers[kind].claims is None for kind in free):
            return 0.0
        others = [kind for kind in free if self._handlers[kind].claims is None]
        self._wake.clear()  # our own claims were commits, too, and woke us; what else there is the next line sees
        due = await self._store.next_due(now=now, kinds=others) if others else None
        return min(_HELD_BACK_SECONDS, max((due - now).total_seconds(), 0.0)) if due else _HELD_BACK_SECONDS

    async def _follow_clock(self, now: datetime) -> None:
        """Where the clock was set back since the last look, let what waits not wait that much longer."""
        ticks = time.monotonic()
        looked_at, ticks_then = self._looked_at
        set_back = timedelta(seconds=ticks - ticks_then) - (now - looked_at)
        if set_back > _CLOCK_SLACK:
            _log.warning("the clock was set back by %.0f s: waiting tasks are moved with it", set_back.total_seconds())
            await self._store.bring_forward(set_back)
            await self._renew_held()
        self._looked_at = (now, ticks)

    def _free_places(self) -> dict[TaskKind, int]:
        taken = Counter(task.kind for task in self._running.values())
        places = {kind: handler.concurrency - taken[kind] for kind, handler in self._handlers.items()}
        return {kind: count for kind, count in places.items() if count > 0}

    def _start(self, task: Task) -> None:
        subject = "delivery_id" if task.kind is TaskKind.NOTIFY else "job_id"
        with logs.about(task=task.kind.value, **{subject: task.subject}):
            running = asyncio.create_task(self._run(task), name=f"replyhook-{task.kind}")
        self._running[running] = task
        running.add_done_callback(self._ended)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._ending.discard(self._running.pop(running).lease)
        self.wake()

    async def _run(self, task: Task) -> None:
        handler = self._handlers[task.kind]
        if task.attempt > handler.policy.attempts:
            # Its tries were used up by processes that did not live to say what became of them.
            problem = f"given up after {task.attempt - 1} tries that never came back"
            _log.warning("%s of %s is %s", task.kind, task.subject, problem)
            await self._finish(task, Dead(problem=problem))
            return
        begun, begun_at = time.monotonic(), time.time_ns()
        try:
            outcome: Outcome = await handler.run(task)
            _log.info("%s of %s is %s", task.kind, task.subject, "done" if isinstance(outcome, Done) else "put off")
        except (ReceiverTrouble, ReplyhookError) as error:
            outcome = self._after_failure(task, handler.policy, error)
        except asyncio.CancelledError:
            # No stop waits for a store that is away: what cannot be put back is free when its lease has run out.
            stopped = Retry(due_at=self._now(), problem="the worker was stopped", counts=False)
            await self._finish(task, stopped, tries=1)
            raise
        except Exception as error:
            _log.exception("a %s task failed by a fault of ours", task.kind)
            outcome = self._after_failure(task, handler.policy, error)
        self._measure(task, outcome, time.monotonic() - begun)
        if self._tracing is not None:
            self._tracing.tried(task, outcome, begun_at)
        await self._finish(task, outcome)

    def _measure(self, task: Task, outcome: Outcome, seconds: float) -> None:
        words = {Done: "done", Retry: "retry", Dead: "dead", NotNow: "not_now"}
        self._measures.tries[task.kind.value, words[type(outcome)]] += 1
        self._measures.seconds[task.kind.value] += seconds
        if isinstance(outcome, Done) and outcome.video is not None:
            self._measures.downloaded_bytes += outcome.video.bytes

    def _after_failure(self, task: Task, policy: RetryPolicy, error: Exception) -> Outcome:
        known = isinstance(error, ReceiverTrouble | ReplyhookError)
        if isinstance(error, ReceiverTrouble) and not error.counts:
            _log.info("%s of %s waits: %s", task.kind, task.subject, error)
            return Retry(due_at=self._now() + (error.retry_after or LEASE), problem=str(error), counts=False)
        delay = policy.next_delay(
            attempt=task.attempt,
            retryable=error.retryable if isinstance(error, ReceiverTrouble | ReplyhookError) else True,
            luck=random.random(),  # noqa: S311 - spreads retries, guards nothing
            retry_after=error.retry_after if isinstance(error, ReceiverTrouble) else None,
        )
        problem = str(error) if known else f"a fault of ours ({type(error).__name__})"
        answer = error.answer if isinstance(error, ReceiverTrouble) else None
        if delay is None:
            _log.warning("%s of %s is given up after %d tries: %s", task.kind, task.subject, task.attempt, problem)
            return Dead(problem=problem, answer=answer)
        _log.info("%s of %s is tried again in %.0f s: %s", task.kind, task.subject, delay, problem)
        return Retry(due_at=self._now() + timedelta(seconds=delay), problem=problem, answer=answer)

    async def _finish(self, task: Task, outcome: Outcome, *, tries: int = _FINISH_TRIES) -> None:
        self._ending.add(task.lease)
        try:
            kept = await self._finish_patiently(task, outcome, tries)
        except ReceiverTrouble as error:
            _log.warning(
                "%s of %s was done but could not be noted; it will be done again: %s", task.kind, task.subject, error
            )
            return
        give_up = self._handlers[task.kind].give_up
        if not kept:
            _log.warning("%s of %s took too long: another worker has it", task.kind, task.subject)
        elif isinstance(outcome, Dead) and give_up is not None:
            await self._give_up(task, give_up)

    async def _give_up(self, task: Task, give_up: Callable[[Task], Awaitable[None]]) -> None:
        try:
            await give_up(task)
        except Exception:
            _log.exception("what %s of %s left behind could not be cleared away", task.kind, task.subject)

    async def _finish_patiently(self, task: Task, outcome: Outcome, tries: int) -> bool:
        for _ in range(tries - 1):
            try:
                return await self._store.finish(task, outcome, now=self._now())
            except StoreUnavailable:
                await asyncio.sleep(_STORE_PAUSE_SECONDS)
        return await self._store.finish(task, outcome, now=self._now())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                with self._renewing.round():
                    await self._renew_held()
            except StoreUnavailable:
                continue
            except Exception:
                await self._after_stumbling(self._renewing, "keeping hold of what is under way")

    async def _after_stumbling(self, pulse: Pulse, what: str) -> None:
        """A loop that ended by one fault would let all work lie until the next start, and the fault may pass."""
        pulse.stumble()
        _log.exception("%s failed by a fault of ours; it is tried again", what)
        await asyncio.sleep(_STORE_PAUSE_SECONDS)

    async def _renew_held(self) -> None:
        held = dict(self._running)
        if held:
            kept = await self._store.renew(list(held.values()), lease=LEASE, now=self._now())
            for running, task in held.items():
                # A relayed submit is paid for whoever holds the lease: its answer is always worth having.
                # Where the work is over, its end itself tells of a lease that was lost, or is what the lease ended by.
                # Once: a second one would come upon what it does about the first.
                is_worth_having = task.kind is TaskKind.RELAY or task.lease in self._ending
                if task.lease not in kept and not is_worth_having and not running.cancelling():
                    running.cancel()
        self._renewed_at = self._now()
