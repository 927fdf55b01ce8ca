"""The jobs of every imitation: the record, and the one runner (generate, finish, call back)."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio import CapacityLimiter, from_thread, to_thread
from anyio.abc import TaskGroup

from replyhook_receiver.sandbox.callbacks import Attempt, Delivery, Message, Seal, deliver
from replyhook_receiver.sandbox.faults import Fault
from replyhook_receiver.sandbox.ledger import Call, Ledger
from replyhook_receiver.sandbox.media import Media
from replyhook_receiver.sandbox.outbound import Outbound, OutboundError
from replyhook_receiver.sandbox.video import Clip, UnusableVideo, extend_clip

ENCODERS = 2
REMEMBERED_JOBS = 10_000
QUEUED_SHARE, HALFWAY_SHARE = 0.1, 0.6
DUPLICATE_AFTER_SECONDS = 2.0

logger = logging.getLogger(__name__)


class State(StrEnum):
    """Where a job stands, in the sandbox's own words."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


ACTIVE = frozenset({State.QUEUED, State.RUNNING})


class Problem(StrEnum):
    """Why a job failed; every provider has its own words for it."""

    UNREACHABLE_SOURCE = "unreachable_source"
    UNUSABLE_SOURCE = "unusable_source"
    GENERATION = "generation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be generated. ``obtain`` gives the source, at the scratch path it is handed or elsewhere."""

    seconds: int
    height: int
    audio: bool
    obtain: Callable[[Path], Awaitable[Path]]


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One extend job. ``fields`` is the accepted request in the provider's own words."""

    provider: str
    id: str
    fault: Fault
    order: Order
    fields: Mapping[str, Any]
    reply_url: str | None
    result: str  # the name that the resulting file will have
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    state: State = State.QUEUED
    progress: int = 0
    clip: Clip | None = None
    problem: Problem | None = None
    problem_text: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    finished: anyio.Event = field(default_factory=anyio.Event)
    called_back: anyio.Event = field(default_factory=anyio.Event)
    generation: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Voice(Protocol):
    """How a provider talks back about a job: the genuine callback for where it stands now, and false ones.

    A ``callback`` of ``None`` means that nobody asked to be called.
    """

    name: str
    delivery: Delivery
    tells_progress: bool

    def callback(self, job: Job) -> Seal | None: ...
    def garbage(self, job: Job) -> Seal: ...
    def forgeries(self, job: Job) -> Sequence[Seal]: ...


def last_words(job: Job, voice: Voice) -> list[Message]:
    """The callbacks that end a finished job, in order, with the job's fault in them."""
    genuine = voice.callback(job)
    if genuine is None:
        return []
    final = Message(kind="final", seal=genuine)
    match job.fault:
        case Fault.NEVER:
            return []
        case Fault.DUPLICATE:
            # A moment apart: what is sent again is signed again, with another time.
            return [final, Message(kind="duplicate", seal=genuine, wait_seconds=DUPLICATE_AFTER_SECONDS)]
        case Fault.GARBAGE:
            return [Message(kind="garbage", seal=voice.garbage(job))]
        case Fault.FORGED:
            return [Message(kind="forged", seal=seal, is_retried=False) for seal in voice.forgeries(job)]
        case _:
            return [final]


class Jobs:
    """Every job of every provider, and the tasks that work on them."""

    def __init__(
        self, *, speed: float, generation_seconds: float, outbound: Outbound, media: Media, ledger: Ledger
    ) -> None:
        self._speed = speed
        self._generation_seconds = generation_seconds
        self._outbound = outbound
        self._media = media
        self._ledger = ledger
        self._jobs: dict[tuple[str, str], Job] = {}
        self._tasks: TaskGroup | None = None
        self._encoders = CapacityLimiter(ENCODERS)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Jobs can be started until this ends; then what is left of them is stopped."""
        async with anyio.create_task_group() as self._tasks:
            try:
                yield
            finally:
                self._tasks.cancel_scope.cancel("the sandbox is closing")
                self._tasks = None

    def all(self, provider: str | None = None) -> list[Job]:
        """The jobs, oldest first."""
        return [job for job in self._jobs.values() if provider in (None, job.provider)]

    def get(self, provider: str, job_id: str) -> Job | None:
        return self._jobs.get((provider, job_id))

    def active(self, provider: str) -> list[Job]:
        """The jobs that are queued or running, oldest first."""
        return [job for job in self.all(provider) if job.state in ACTIVE]

    async def start(self, job: Job, voice: Voice) -> None:
        """Work on ``job`` in the background; an ``EARLY`` one has called back when this returns."""
        if self._tasks is None:
            raise RuntimeError("the sandbox is not running: its lifespan was not entered")
        self._forget_old()
        self._jobs[job.provider, job.id] = job
        self._tasks.start_soon(self._run, job, voice)
        if job.fault is Fault.EARLY:
            await job.called_back.wait()

    def cancel(self, job: Job) -> bool:
        """Stop generating; false when there is nothing left to stop."""
        if job.state not in ACTIVE:
            return False
        job.generation.cancel("canceled by its customer")
        return True

    def _forget_old(self) -> None:
        if len(self._jobs) >= REMEMBERED_JOBS:
            for key in [key for key, job in self._jobs.items() if job.called_back.is_set()][: REMEMBERED_JOBS // 10]:
                del self._jobs[key]

    async def _run(self, job: Job, voice: Voice) -> None:
        try:
            await self._generate(job, voice)
            for message in last_words(job, voice):
                await self._deliver(message, job, voice)
        except Exception:  # one broken job must not take the others with it
            logger.exception("the sandbox could not finish a job of %s", job.provider)
            job.state, job.problem = State.FAILED, Problem.GENERATION
        finally:
            job.finished.set()
            job.called_back.set()

    async def _generate(self, job: Job, voice: Voice) -> None:
        scratch = self._media.scratch()
        try:
            with job.generation:
                await self._work(job, voice, scratch)
        except OutboundError as error:
            self._fail(job, Problem.UNREACHABLE_SOURCE, str(error))
        except UnusableVideo as error:
            self._fail(job, Problem.UNUSABLE_SOURCE, str(error))
        finally:
            scratch.unlink(missing_ok=True)
        if job.generation.cancelled_caught:
            job.state = State.CANCELED
        elif job.problem is None:
            job.state, job.progress = State.SUCCEEDED, 100
            self._ledger.count(job.provider, Call.BILLED)
        job.finished_at = datetime.now(UTC)
        job.finished.set()

    async def _work(self, job: Job, voice: Voice, scratch: Path) -> None:
        begun = anyio.current_time()
        # A held submit call must end before its caller gives up, so an early job takes only what the work takes.
        wait_seconds = 0.0 if job.fault is Fault.EARLY else self._generation_seconds / self._speed
        await self._tell_progress(job, voice)
        await anyio.sleep_until(begun + wait_seconds * QUEUED_SHARE)
        job.state, job.progress = State.RUNNING, 10
        await self._tell_progress(job, voice)
        if job.fault is not Fault.FAILED:
            job.clip = await self._extend(job, scratch)
        await anyio.sleep_until(begun + wait_seconds * HALFWAY_SHARE)
        job.progress = 60
        await self._tell_progress(job, voice)
        await anyio.sleep_until(begun + wait_seconds)
        if job.fault is Fault.FAILED:
            self._fail(job, Problem.GENERATION, "The generation failed.")

    async def _extend(self, job: Job, scratch: Path) -> Clip:
        source = await job.order.obtain(scratch)
        work = partial(
            extend_clip,
            source,
            self._media.path(job.provider, job.result),
            seconds=job.order.seconds,
            height=job.order.height,
            audio=job.order.audio,
            checkpoint=from_thread.check_cancelled,
        )
        return await to_thread.run_sync(work, limiter=self._encoders)

    @staticmethod
    def _fail(job: Job, problem: Problem, text: str) -> None:
        job.state, job.problem, job.problem_text = State.FAILED, problem, text

    async def _tell_progress(self, job: Job, voice: Voice) -> None:
        if not voice.tells_progress or job.fault in (Fault.NEVER, Fault.FORGED):
            return
        if (seal := voice.callback(job)) is not None:
            # In line with the work, so that the order is kept.
            await self._deliver(Message(kind="progress", seal=seal, is_retried=False), job, voice)

    async def _deliver(self, message: Message, job: Job, voice: Voice) -> None:
        def record(attempt: Attempt) -> None:
            job.attempts.append(attempt)
            if message.kind != "progress":
                job.called_back.set()

        await deliver(message, voice.delivery, speed=self._speed, outbound=self._outbound, record=record)
