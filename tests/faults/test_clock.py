"""A clock that jumps (ours, never the machine's): callbacks are taken, work is neither done twice at once nor left."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from replyhook.ids import new_id
from tests.receiver.support import (
    Answer,
    Clock,
    Host,
    Receiver,
    a_receiver,
    callback_path,
    says,
    useapi_body,
)

HOUR_BACK = timedelta(hours=-1)
DAY_FORWARD = timedelta(days=1)
JUMPS = pytest.mark.parametrize("jump", [HOUR_BACK, DAY_FORWARD], ids=["an hour back", "a day forward"])


@JUMPS
async def test_callbacks_are_taken_across_a_jump_and_no_job_moves_backwards(
    jump: timedelta, tmp_path: Path, host: Host
) -> None:
    clock = RunningClock()
    async with a_receiver(tmp_path, host, clock=clock) as receiver:
        jobs = [new_id("job") for _ in range(10)]
        paths = {job: callback_path("useapi", job, at=clock()) for job in jobs}
        for progress in (10, 30, 50, 70, 90):
            await asyncio.gather(*(told(receiver, paths[job], job, progress=progress) for job in jobs))
            if progress == 50:
                clock.at += jump
        for progress in (10, 50):  # late ones
            await asyncio.gather(*(told(receiver, paths[job], job, progress=progress + 1) for job in jobs))
        for job in jobs:
            found = await receiver.job(job)
            assert (found["status"], found["progress"]) == ("running", 90)
        tables = ("callbacks", "events", "notifications")
        ids = receiver.rows(" UNION ALL ".join(f"SELECT id FROM {table}" for table in tables))  # noqa: S608
        assert len(ids) == len(set(ids))
        assert receiver.rows("SELECT count(*) FROM callbacks") == [(70,)]
        # What is listed as newest is what came last, whatever the clock said.
        assert [entry["verdict"] for entry in await receiver.callbacks(jobs[0])][:2] == ["stale", "stale"]


@JUMPS
async def test_work_under_way_at_a_jump_is_not_begun_a_second_time(
    jump: timedelta, tmp_path: Path, host: Host, clip: bytes
) -> None:
    clock, video = RunningClock(), Held(says(200, clip, content_type="video/mp4"))
    link = host.will("/v.mp4", video)
    async with a_receiver(tmp_path, host, clock=clock) as receiver:
        job = await succeeded(receiver, link)
        async with asyncio.timeout(60):
            await video.asked.wait()
        clock.at += jump
        other = await succeeded(receiver, link)  # a commit wakes the worker, which looks for what is due
        await asyncio.sleep(0.5)
        assert host.asked("/v.mp4") == 2
        video.go.set()
        for each in (job, other):
            await receiver.eventually(each, lambda found: found["video"]["status"] == "stored")
        downloads = "SELECT state, attempts FROM tasks WHERE kind = 'download'"
        assert receiver.rows(downloads) == [("done", 1)] * 2
        stored = Counter(receiver.rows("SELECT job_id FROM notifications WHERE type = 'video.stored'"))
        assert set(stored.values()) == {1}


@JUMPS
async def test_a_retry_comes_when_its_wait_is_over_whatever_the_clock_has_done(
    jump: timedelta, tmp_path: Path, host: Host, clip: bytes
) -> None:
    clock = RunningClock()
    link = host.will("/v.mp4", says(503), says(200, clip, content_type="video/mp4"))
    async with a_receiver(tmp_path, host, clock=clock) as receiver:
        job = await succeeded(receiver, link)
        await receiver.eventually(job, lambda found: found["video"]["problem"])  # tried again in about a second
        clock.at += jump
        await receiver.eventually(job, lambda found: found["video"]["status"] == "stored", seconds=30)
        assert host.asked("/v.mp4") == 2


@dataclass
class RunningClock(Clock):
    """A clock that runs as the loop's does, from wherever it is put."""

    started: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def __call__(self) -> datetime:
        return self.at + timedelta(seconds=asyncio.get_running_loop().time() - self.started)


@dataclass
class Held:
    """An answer that waits until it may go."""

    answer: Answer
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: Request) -> Response:
        self.asked.set()
        while not self.go.is_set() and not request.scope["host.closing"].is_set():
            await asyncio.sleep(0.01)
        return await self.answer(request)


async def told(receiver: Receiver, path: str, job: str, **more: object) -> None:
    response = await receiver.client.post(path, content=useapi_body(job, video_id=f"v-{job}", **more))
    assert (response.status_code, response.content) == (200, b"ok")


async def succeeded(receiver: Receiver, link: str) -> str:
    """A job whose video is at ``link``."""
    job = new_id("job")
    path = callback_path("useapi", job, at=receiver.clock())
    await told(receiver, path, job, word="COMPLETED", url=link)
    return job
