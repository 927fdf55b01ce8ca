"""One OpenTelemetry trace a job, from its submit to the last notification, however many hours and processes between.

A span is made when what it tells of is over, and beside it: nothing waits for it but a registration, which keeps the
trace that the job belongs to. Spans hold our own ids and words alone, nothing that came from outside.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec

from replyhook.errors import ConfigurationError
from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.extras import how_to_install
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import Accepted
from replyhook_receiver.stores.traces import JobTrace, Traces
from replyhook_receiver.tasks import Dead, Done, NotNow, Outcome, Retry, Task

MAX_WAITING = 10_000
_STOP_SECONDS = 5.0
_WORDS = {Done: "done", Retry: "retry", Dead: "dead", NotNow: "not_now"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a span is to tell of a job. Times are nanoseconds; ``caller`` is a program's own ``traceparent``."""

    name: str
    side: str
    find: Callable[[], Awaitable[JobTrace | None]]
    begun: int
    ended: int = field(default_factory=time.time_ns)
    attributes: dict[str, str | int] = field(default_factory=dict)
    is_failure: bool = False
    caller: str | None = None


class Tracing:
    """Makes the spans, and keeps which trace each job belongs to.

    Raises ``ConfigurationError`` where what it needs is not installed.
    """

    def __init__(self, traces: Traces) -> None:
        if find_spec("opentelemetry") is None:
            raise ConfigurationError(f"tracing = true needs more packages: {how_to_install('otel')}")
        from replyhook_receiver.spans import Side, Spans

        self._traces = traces
        self._spans = Spans()
        self._sides = {side.name: side for side in Side}
        self._waiting: asyncio.Queue[Told] = asyncio.Queue(MAX_WAITING)
        self._maker: asyncio.Task[None] | None = None
        self._left_out = 0

    def start(self) -> None:
        """Begin to make what is told."""
        self._maker = asyncio.create_task(self._make_all(), name="replyhook-traces")

    async def stop(self) -> None:
        """Make what waits, for a moment at most."""
        if self._maker is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), _STOP_SECONDS)
        self._maker.cancel()
        await asyncio.gather(self._maker, return_exceptions=True)
        self._maker = None

    async def asked(self, name: str, job_id: str, caller: str | None, begun: int, **attributes: str) -> None:
        """A program told us something of a job, which belongs to its trace from now on, unless it has one already."""
        find = self._of_job(job_id)
        told = Told(name=name, side="ASKED_US", find=find, begun=begun, attributes={**attributes}, caller=caller)
        await self._make_one(told)

    def called_back(self, accepted: Accepted, trust: str, begun: int) -> None:
        """A callback is kept. One of no known job belongs to no trace."""
        if accepted.job_id is None:
            return
        attributes = {"callback_id": accepted.callback_id, "trust": trust, "verdict": accepted.verdict or "orphan"}
        find = self._of_job(accepted.job_id)
        self._later(Told(name="callback", side="ASKED_US", find=find, begun=begun, attributes={**attributes}))

    def tried(self, task: Task, outcome: Outcome, begun: int) -> None:
        """A task was tried."""
        attributes: dict[str, str | int] = {"attempt": task.attempt, "outcome": _WORDS[type(outcome)]}
        if task.kind is TaskKind.NOTIFY:
            attributes["delivery_id"] = task.subject
        answer = None if isinstance(outcome, NotNow) else outcome.answer
        if answer is not None and answer.status is not None:
            attributes["answer"] = answer.status
        if isinstance(outcome, Done) and outcome.video is not None:
            attributes["bytes"] = outcome.video.bytes
        told = Told(
            name=task.kind.value,
            side="NOBODY" if task.kind is TaskKind.EXPIRING else "WE_ASKED",
            find=lambda: self._traces.of_task(task),
            begun=begun,
            attributes=attributes,
            is_failure=isinstance(outcome, Retry | Dead),
        )
        self._later(told)

    def _of_job(self, job_id: str) -> Callable[[], Awaitable[JobTrace | None]]:
        return lambda: self._traces.of_job(job_id)

    def _later(self, told: Told) -> None:
        try:
            self._waiting.put_nowait(told)
        except asyncio.QueueFull:
            self._left_out += 1
            if self._left_out.bit_count() == 1:  # the first, the second, the fourth, ...
                _log.warning("%d spans were left out so far: more happens than can be told of", self._left_out)

    async def _make_all(self) -> None:
        while True:
            await self._make_one(await self._waiting.get())
            self._waiting.task_done()

    async def _make_one(self, told: Told) -> None:
        """A trace that cannot be told is no reason for anything else to fail."""
        try:
            await self._make(told)
        except StoreUnavailable as error:
            _log.debug("a span is left out: %s", error)
        except Exception:
            _log.exception("a span could not be made by a fault of ours")

    async def _make(self, told: Told) -> None:
        job = await told.find()
        if job is None:
            return
        made = self._spans.make(
            told.name,
            side=self._sides[told.side],
            begun=told.begun,
            ended=told.ended,
            attributes={**told.attributes, "job_id": job.job_id, "provider": job.provider},
            is_failure=told.is_failure,
            job=job.traceparent,
            caller=told.caller,
        )
        if job.traceparent is None and made is not None:
            await self._traces.keep(job.job_id, made)
