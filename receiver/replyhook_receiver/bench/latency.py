"""`replyhook bench latency`: how soon a user hears of a finished video, told by push and found out by polling."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

import msgspec

from replyhook.ids import new_id
from replyhook.jobs import JobStatus
from replyhook.messages import HTTPRequest
from replyhook.providers import make_provider
from replyhook.tokens import TokenKeys
from replyhook_receiver.bench.load import run_load
from replyhook_receiver.bench.provider import BenchProvider, Times
from replyhook_receiver.bench.receiver import BenchReceiver, running_receiver
from replyhook_receiver.bench.traffic import REPLY_KEY, BenchJob
from replyhook_receiver.net import Door
from replyhook_receiver.sandbox.video import make_clip
from replyhook_receiver.serving import free_socket, served

Say = Callable[[str], None]
_LOOPBACK = "127.0.0.0/8"
_WARM_UP = 10
_AT_ONCE = 16
_SETTLE_SECONDS = 20.0
_BURST_SECONDS = 0.1


class Spread(msgspec.Struct, kw_only=True, frozen=True):
    """Milliseconds from the end of a job to the user's knowing."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class LatencyResult(msgspec.Struct, kw_only=True, frozen=True):
    """What it came to. ``steps_p50_ms`` parts the push: callback answered, download begun, user told."""

    jobs: int
    told: int
    polled: int
    jobs_per_s: float
    load_per_s: float
    poll_seconds: float
    video_bytes: int
    push: Spread
    polling: Spread
    polling_status_calls: int
    push_status_calls: int
    steps_p50_ms: dict[str, float]

    @property
    def ok(self) -> bool:
        """Whether every job was heard of both ways."""
        return self.told == self.polled == self.jobs

    def as_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyOptions:
    """``jobs`` end at ``jobs_per_s``, while ``load_per_s`` other callbacks come in."""

    folder: Path
    jobs: int = 300
    jobs_per_s: float = 15.0
    load_per_s: float = 100.0
    poll_seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    options: LatencyOptions
    provider: BenchProvider
    receiver: BenchReceiver
    door: Door
    jobs: list[BenchJob] = field(default_factory=list)


async def run_latency(options: LatencyOptions, *, say: Say) -> LatencyResult:
    """Let the same jobs be pushed to a receiver and polled for by a poller, and note when the user knows."""
    async with _stage(options) as stage:
        say(f"registering {options.jobs:,} jobs")
        warm, jobs = _new_jobs(_WARM_UP), _new_jobs(options.jobs)
        await _register(stage, [*warm, *jobs])
        for job in warm:
            await _end(stage, job)
        await asyncio.sleep(0.5)
        for job in warm:
            del stage.provider.times[job.id]
        seconds = options.jobs / options.jobs_per_s
        say(f"{options.jobs:,} jobs end within {seconds:.0f} s; {options.load_per_s:g} other callbacks a second")
        await _run(stage, jobs)
        return _result(options, stage.provider, await _questions(stage))


@asynccontextmanager
async def _stage(options: LatencyOptions) -> AsyncIterator[_Stage]:
    clip = options.folder / "clip.mp4"
    await asyncio.to_thread(make_clip, clip, seconds=1)
    provider = BenchProvider(video=clip.read_bytes())
    async with AsyncExitStack() as stack:
        provider.url = await stack.enter_async_context(served(provider.app(), free_socket()))
        running = running_receiver(options.folder / "receiver", jwks_url=f"{provider.url}/jwks.json")
        receiver = await stack.enter_async_context(running)
        door = await stack.enter_async_context(Door(allowed_networks=(_LOOPBACK,)))
        yield _Stage(options=options, provider=provider, receiver=receiver, door=door)


def _new_jobs(count: int) -> list[BenchJob]:
    names = ("useapi", "fal")
    made = [(new_id("job"), names[number % len(names)]) for number in range(count)]
    return [BenchJob(id=job, provider=name, provider_job_id=f"ext-{job}") for job, name in made]


async def _register(stage: _Stage, jobs: Sequence[BenchJob]) -> None:
    """Make the jobs known and submitted, as the library does."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def tell(job: BenchJob) -> None:
        async with places:
            url = f"{stage.receiver.url}/v1/jobs/{job.id}"
            content = {"provider": job.provider, "user": "bench", "notify": [{"url": f"{stage.provider.url}/hooks"}]}
            await _asked(stage, HTTPRequest(method="PUT", url=url, headers=stage.receiver.auth, json=content))
            told = {"outcome": "accepted", "provider_job_id": job.provider_job_id}
            request = HTTPRequest(method="POST", url=f"{url}/submission", headers=stage.receiver.auth, json=told)
            await _asked(stage, request)
            stage.provider.times[job.id] = Times()

    await asyncio.gather(*(tell(job) for job in jobs))


async def _asked(stage: _Stage, request: HTTPRequest) -> None:
    answer = await stage.door.send(request)
    if answer.status != 200:
        raise RuntimeError(f"the receiver answered {answer.status}: {answer.body[:200]!r}")


async def _run(stage: _Stage, jobs: list[BenchJob]) -> None:
    options = stage.options
    pollers = [asyncio.create_task(_poll(stage, job)) for job in jobs]
    load = asyncio.create_task(_load(stage))
    ends: list[asyncio.Task[None]] = []
    started = time.perf_counter()
    try:
        for number, job in enumerate(jobs):
            await asyncio.sleep(max(0.0, started + number / options.jobs_per_s - time.perf_counter()))
            ends.append(asyncio.create_task(_end(stage, job)))
        await asyncio.gather(*ends)
        await stage.provider.until_all_told(options.poll_seconds + _SETTLE_SECONDS)
    finally:
        for task in (load, *pollers):
            task.cancel()
        left = await asyncio.gather(load, *pollers, return_exceptions=True)
    for outcome in left:
        if isinstance(outcome, Exception):
            raise outcome


async def _end(stage: _Stage, job: BenchJob) -> None:
    """The provider is done: whoever asks is told so, and the callback goes out, over a connection of its own."""
    times, request = stage.provider.times[job.id], stage.provider.callback(job)
    times.done = time.perf_counter()
    await run_load(stage.receiver.port, [request], connections=1)
    times.answered = time.perf_counter()


async def _poll(stage: _Stage, job: BenchJob) -> None:
    """What is done without callbacks: ask every few seconds, then fetch the video."""
    adapter = make_provider("useapi", {"base_url": f"{stage.provider.url}/pixverse", "api_key": "bench"})
    await asyncio.sleep(random.uniform(0, stage.options.poll_seconds))  # noqa: S311 - it was submitted at some time
    while True:
        started = time.perf_counter()
        event = adapter.parse_status(await stage.door.send(adapter.build_status(job.id)), job.id)
        if event is not None and event.status is JobStatus.SUCCEEDED and event.result is not None:
            request = HTTPRequest(method="GET", url=event.result.url, headers={"user-agent": "poller"})
            await stage.door.send(request, max_bytes=64 * 1024 * 1024)
            stage.provider.times[job.id].polled = time.perf_counter()
            return
        await asyncio.sleep(max(0.0, started + stage.options.poll_seconds - time.perf_counter()))


async def _load(stage: _Stage) -> None:
    """Progress of other jobs, as busy providers report it."""
    tokens = TokenKeys((REPLY_KEY,))
    count = round(stage.options.load_per_s * _BURST_SECONDS)
    while count:
        started = time.perf_counter()
        requests = []
        for _ in range(count):
            job = new_id("job")
            token = tokens.mint(provider="useapi", job_id=job, now=datetime.now(UTC))
            content = {"video_id": f"v-{job}", "video_status_name": "GENERATING", "progress": 50, "replyRef": job}
            body = json.dumps(content)
            head = f"POST /callbacks/useapi/{token} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}"
            requests.append(f"{head}\r\n\r\n{body}".encode())
        await run_load(stage.receiver.port, requests, connections=4)
        await asyncio.sleep(max(0.0, started + _BURST_SECONDS - time.perf_counter()))


async def _questions(stage: _Stage) -> int:
    """How often the receiver asked a provider anything."""
    request = HTTPRequest(method="GET", url=f"{stage.receiver.url}/v1/questions", headers=stage.receiver.auth)
    counted = (await stage.door.send(request)).json()
    return sum(sum(each["asked"].values()) for each in counted.values())


def _result(options: LatencyOptions, provider: BenchProvider, questions: int) -> LatencyResult:
    times = list(provider.times.values())
    return LatencyResult(
        jobs=options.jobs,
        told=sum(each.told is not None for each in times),
        polled=sum(each.polled is not None for each in times),
        jobs_per_s=options.jobs_per_s,
        load_per_s=options.load_per_s,
        poll_seconds=options.poll_seconds,
        video_bytes=len(provider.video),
        push=_spread([_ms(each.done, each.told) for each in times]),
        polling=_spread([_ms(each.done, each.polled) for each in times]),
        polling_status_calls=provider.status_calls,
        push_status_calls=questions,
        steps_p50_ms={
            "callback answered": _median([_ms(each.done, each.answered) for each in times]),
            "download begun": _median([_ms(each.answered, each.fetched) for each in times]),
            "user told": _median([_ms(each.fetched, each.told) for each in times]),
        },
    )


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else (end - start) * 1000


def _spread(values: Sequence[float | None]) -> Spread:
    known = sorted(value for value in values if value is not None)
    if len(known) < 2:
        return Spread(p50_ms=0.0, p99_ms=0.0, max_ms=0.0)
    cuts = quantiles(known, n=100, method="inclusive")
    return Spread(p50_ms=round(cuts[49], 1), p99_ms=round(cuts[98], 1), max_ms=round(known[-1], 1))


def _median(values: Sequence[float | None]) -> float:
    return round(median([value for value in values if value is not None] or [0.0]), 1)
