"""The jobs of every imitation and their one runner: generate, finish, call back."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
from anyio import CapacityLimiter, from_thread, to_thread
from anyio.abc import TaskGroup

from replyhook_receiver.sandbox.callbacks import Attempt, Message, deliver
from replyhook_receiver.sandbox.endings import last_words
from replyhook_receiver.sandbox.faults import FAILING, Fault
from replyhook_receiver.sandbox.job import ACTIVE, Job, Problem, State, Voice
from replyhook_receiver.sandbox.ledger import Call, Ledger
from replyhook_receiver.sandbox.media import Media
from replyhook_receiver.sandbox.outbound import Outbound, OutboundError
from replyhook_receiver.sandbox.video import Clip, UnusableVideo, extend_clip

ENCODERS = 2
REMEMBERED_JOBS = 10_000
QUEUED_SHARE, HALFWAY_SHARE = 0.1, 0.6

logger = logging.getLogger(__name__)


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
        if job.fault is Fault.EARLY and not job.is_stuck:
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
                async with job.slot or nullcontext():
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
        usual_seconds = 0.0 if job.fault is Fault.EARLY else self._generation_seconds
        wait_seconds = (usual_seconds + job.extra_seconds) / self._speed
        await self._tell_progress(job, voice)
        await anyio.sleep_until(begun + wait_seconds * QUEUED_SHARE)
        job.state, job.progress = State.RUNNING, 10
        await self._tell_progress(job, voice)
        if job.is_stuck:
            await anyio.sleep_forever()
        if job.fault not in FAILING:
            job.clip = await self._extend(job, scratch)
        await anyio.sleep_until(begun + wait_seconds * HALFWAY_SHARE)
        job.progress = 60
        await self._tell_progress(job, voice)
        await anyio.sleep_until(begun + wait_seconds)
        if job.fault is Fault.FAILED:
            self._fail(job, Problem.GENERATION, "The generation failed.")
        elif job.fault is Fault.MODERATED:
            self._fail(job, Problem.MODERATED, "The content was refused by moderation.")

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
