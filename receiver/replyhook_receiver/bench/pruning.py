"""`replyhook bench pruning`: how long callbacks wait to be kept while a round of throwing away is at work, and not."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles

import msgspec

from replyhook.jobs import JobError, JobEvent, JobStatus
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.bench.stored import new_report
from replyhook_receiver.records import Report
from replyhook_receiver.stores.retention import KeepFor
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.work.housekeeping import at_leisure

Say = Callable[[str], None]
_AT_ONCE = 500
_AGE = timedelta(days=400)
_KEEP = KeepFor(bodies=timedelta(days=30), notifications=timedelta(days=30), history=timedelta(days=365))
_SETTLE_SECONDS = 0.5


class Waits(msgspec.Struct, kw_only=True, frozen=True):
    """Milliseconds from a callback's coming to its being on disk."""

    callbacks: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class PruningResult(msgspec.Struct, kw_only=True, frozen=True):
    """What it came to. ``thrown_away`` counts rows by what they are; ``lost`` are callbacks that were not kept."""

    stored: int
    per_s: float
    alone: Waits
    beside: Waits
    p99_ratio: float
    thrown_away: dict[str, int]
    lost: int

    @property
    def ok(self) -> bool:
        """Whether something was thrown away beside callbacks that were all kept."""
        return self.lost == 0 and sum(self.thrown_away.values()) > 0

    def as_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningOptions:
    """``stored`` old callbacks are thrown away; ``windows`` of ``seconds`` with the round at work, as many without."""

    folder: Path
    stored: int = 3_000
    per_s: float = 400.0
    windows: int = 6
    seconds: float = 4.0


async def run_pruning(options: PruningOptions, *, say: Say) -> PruningResult:
    """Keep callbacks at a steady rate, in windows with and without a round at work, in turn."""
    store = SQLiteStore(
        options.folder / "bench.db", describe=Announcer(public_url="http://127.0.0.1:8080", personal=frozenset()).body
    )
    await store.open()
    try:
        say(f"storing {options.stored:,} callbacks of {_AGE.days} days ago")
        await _fill(store, options.stored)
        round_ = _Round(store)
        alone: list[float] = []
        beside: list[float] = []
        try:
            for number in range(options.windows):
                say(f"windows {number + 1} of {options.windows}: {options.per_s:g} callbacks a second")
                await _window(store, options, alone)
                async with round_.at_work():
                    await _window(store, options, beside)
        finally:
            await round_.end()
        kept = (await store.counts()).stored
    finally:
        await store.close()
    thrown = dict(round_.swept)
    taken = len(alone) + len(beside)
    quiet, busy = _waits(alone), _waits(beside)
    return PruningResult(
        stored=options.stored,
        per_s=options.per_s,
        alone=quiet,
        beside=busy,
        p99_ratio=round(busy.p99_ms / quiet.p99_ms, 2) if quiet.p99_ms else 0.0,
        thrown_away=thrown,
        lost=options.stored + taken - thrown.get("callbacks", 0) - kept,
    )


class _Round:
    """One round in steps, which goes on where it was."""

    def __init__(self, store: SQLiteStore) -> None:
        self._steps = store.retention.prune(_KEEP, now=datetime.now(UTC))
        self._may_work = asyncio.Event()
        self.swept: Counter[str] = Counter()
        self._task = asyncio.create_task(self._work(), name="bench-round")

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Go on while the context lasts; raises what the round raised."""
        self._may_work.set()
        try:
            yield
        finally:
            self._may_work.clear()
        if self._task.done():
            await self._task

    async def end(self) -> None:
        """Stop where it is."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        async with contextlib.aclosing(self._steps) as steps:
            await self._may_work.wait()
            async for step in at_leisure(steps):
                self.swept[step.what] += step.count
                await self._may_work.wait()


async def _fill(store: SQLiteStore, count: int) -> None:
    start = datetime.now(UTC) - _AGE
    for done in range(0, count, _AT_ONCE):
        at = start + timedelta(milliseconds=50 * done)
        await asyncio.gather(*(store.accept(_over(new_report(at))) for _ in range(min(_AT_ONCE, count - done))))


def _over(report: Report) -> Report:
    """The same of a job that failed: nothing is left to be done for it, so that it may go."""
    event = JobEvent(
        provider_job_id=report.event.provider_job_id if report.event else None,
        status=JobStatus.FAILED,
        error=JobError(code=None, message="bench"),
    )
    return msgspec.structs.replace(report, event=event)


async def _window(store: SQLiteStore, options: PruningOptions, waits: list[float]) -> None:
    """Callbacks come at their times, however long those before them wait."""
    await asyncio.sleep(_SETTLE_SECONDS)
    count = round(options.per_s * options.seconds)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            due = started + number / options.per_s
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.create_task(_keep(store, waits, due))


async def _keep(store: SQLiteStore, waits: list[float], due: float) -> None:
    await store.accept(new_report(datetime.now(UTC)))
    waits.append((time.perf_counter() - due) * 1000)


def _waits(values: list[float]) -> Waits:
    cuts = quantiles(values, n=100, method="inclusive")
    return Waits(
        callbacks=len(values), p50_ms=round(cuts[49], 1), p99_ms=round(cuts[98], 1), max_ms=round(max(values), 1)
    )
