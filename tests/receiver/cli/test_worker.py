"""`replyhook worker` and `serve --no-worker`: processes on one PostgreSQL, and why there are none on SQLite."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from starlette.requests import Request
from starlette.responses import Response

from replyhook.ids import new_id
from tests import program
from tests.program import Program
from tests.receiver.support import (
    API_KEY,
    AUTH,
    LOOPBACK,
    SIGNING_KEY,
    TOKENS,
    WHSEC,
    Host,
    callback_path,
    pause,
    says,
    until,
    useapi_body,
)
from tests.stage import CLEAN, free_port, running, wait_for

_JOBS = 12


@pytest.mark.parametrize(
    ("command", "words"), [(["worker"], "`replyhook serve`"), (["serve", "--no-worker"], "SQLite")]
)
def test_on_sqlite_there_is_no_worker_of_its_own_and_no_receiver_without_one(
    tmp_path: Path, command: list[str], words: str
) -> None:
    ended = program.run(*command, env=CLEAN, cwd=tmp_path)
    assert ended.returncode == 4
    assert words in ended.stderr
    assert "postgresql://" in ended.stderr or "PostgreSQL" in ended.stderr
    assert "Traceback" not in ended.stderr


@dataclass
class Site:
    """A receiver that only receives, and the workers that were started beside it."""

    url: str
    folder: Path
    env: dict[str, str]
    stack: ExitStack = field(default_factory=ExitStack)

    def start(self, *arguments: str, port: int, name: str) -> Program:
        process = self.stack.enter_context(
            running(
                *arguments, env=self.env | {"REPLYHOOK_DATA_DIR": name}, cwd=self.folder, output=self.folder / "log"
            )
        )
        wait_for(f"http://127.0.0.1:{port}/readyz", process)
        return process

    def start_worker(self, name: str) -> tuple[Program, int]:
        port = free_port()
        return self.start("worker", "--health-port", str(port), port=port, name=name), port

    async def ready(self) -> dict[str, Any]:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.url}/readyz")
        assert answer.status_code == 200
        return dict(answer.json())

    async def finish_jobs(self, count: int, video: str) -> list[str]:
        """So many jobs that nobody registered are called back as done."""
        jobs = [new_id("job") for _ in range(count)]
        async with httpx.AsyncClient(base_url=self.url) as client:
            for number, job_id in enumerate(jobs):
                path = callback_path("useapi", job_id, tokens=TOKENS)
                body = useapi_body(job_id, "COMPLETED", f"user:1-useapi:v-{number}", url=f"{video}?{number}")
                answer = await client.post(path, content=body)
                assert answer.status_code == 200
        return jobs


@pytest.fixture
async def site(tmp_path: Path, host: Host, postgres_url: str) -> AsyncIterator[Site]:
    async with a_site(tmp_path, host, postgres_url) as running_site:
        yield running_site


@asynccontextmanager
async def a_site(folder: Path, host: Host, database: str) -> AsyncIterator[Site]:
    port = free_port()
    env = CLEAN | {
        "REPLYHOOK_DATABASE_URL": database,
        "REPLYHOOK_SIGNING_KEYS": SIGNING_KEY,
        "REPLYHOOK_API_KEYS": API_KEY,
        "REPLYHOOK_NOTIFICATION_SECRETS": WHSEC,
        "REPLYHOOK_ALLOWED_NETWORKS": LOOPBACK,
        "REPLYHOOK_STORAGE_URL": (folder / "videos").as_uri(),
        "REPLYHOOK_PROVIDERS__USEAPI__BASE_URL": f"{host.url}/useapi",
        "REPLYHOOK_PROVIDERS__USEAPI__MEDIA_HOSTS": "127.0.0.1",
        "REPLYHOOK_DOWNLOAD_CONCURRENCY": "6",
        "REPLYHOOK_DOWNLOADS_PER_HOST": "3",
        "REPLYHOOK_ENDPOINT_CONCURRENCY": "2",
        "REPLYHOOK_ENDPOINTS": json.dumps([{"name": "app", "url": f"{host.url}/hook"}]),
        "REPLYHOOK_METRICS": "true",
    }
    site = Site(url=f"http://127.0.0.1:{port}", folder=folder, env=env)
    with site.stack:
        await asyncio.to_thread(site.start, "serve", "--no-worker", "--port", str(port), port=port, name="receiver")
        yield site


def counted(answer: Any, *, seconds: float) -> tuple[Any, list[int]]:
    """An answer after so long, and how many were asked for at a time."""
    at_a_time = [0, 0]

    async def answered(request: Request) -> Response:
        at_a_time[0] += 1
        at_a_time[1] = max(at_a_time)
        try:
            await pause(request, seconds)
            return await answer(request)
        finally:
            at_a_time[0] -= 1

    return answered, at_a_time


def rows(database: str, statement: bytes) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as connection:
        return connection.execute(statement).fetchall()


async def test_two_workers_keep_to_the_caps_together_and_bring_everything_once(
    site: Site, host: Host, clip: bytes, postgres_url: str
) -> None:
    slow_video, downloads = counted(says(200, clip, content_type="video/mp4"), seconds=0.3)
    slow_hook, deliveries = counted(says(204), seconds=0.1)
    video, _ = host.will("/v.mp4", slow_video), host.will("/hook", slow_hook)
    ready = await site.ready()
    assert (ready["worker"], ready["workers"]) == (None, 0), "it does no work, and nobody else does"
    jobs = await site.finish_jobs(_JOBS, video)
    await asyncio.to_thread(lambda: [site.start_worker(name) for name in ("one", "two")])
    assert (await site.ready())["workers"] == 2
    left = b"SELECT 1 FROM tasks WHERE state IN ('ready', 'leased', 'held') AND kind IN ('download', 'notify')"
    await until(lambda: asyncio.to_thread(lambda: not rows(postgres_url, left)), seconds=60)
    stored = rows(postgres_url, b"SELECT job_id FROM assets WHERE status = 'stored'")
    assert {row[0] for row in stored} == set(jobs)
    assert host.asked("/v.mp4") == _JOBS
    told = [headers["webhook-id"] for _, path, headers, _ in host.seen if path == "/hook"]
    assert len(told) == len(set(told)) == 2 * _JOBS
    assert downloads[1] == 3
    assert deliveries[1] == 2


async def test_a_worker_that_is_told_to_end_puts_back_what_it_has_and_another_goes_on_at_once(
    site: Site, host: Host, clip: bytes, postgres_url: str
) -> None:
    endless, downloads = counted(says(200, clip, content_type="video/mp4"), seconds=60)
    host.will("/hook", says(204))
    video = host.will("/v.mp4", endless, endless, endless, says(200, clip, content_type="video/mp4"))
    first, _ = await asyncio.to_thread(site.start_worker, "one")
    jobs = await site.finish_jobs(3, video)
    await until(lambda: downloads[0] == 3, seconds=60)
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, 20) == 0
    ready = await site.ready()
    assert (ready["worker"], ready["workers"]) == (None, 0), "it does no work, and nobody else does"
    waiting = rows(postgres_url, b"SELECT state, attempts FROM tasks WHERE kind = 'download'")
    assert waiting == [("ready", 0)] * 3
    _, port = await asyncio.to_thread(site.start_worker, "two")
    stored = b"SELECT job_id FROM assets WHERE status = 'stored'"
    await until(lambda: asyncio.to_thread(lambda: len(rows(postgres_url, stored)) == len(jobs)), seconds=60)
    async with httpx.AsyncClient(headers=AUTH) as client:
        metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        refused = await client.get(f"http://127.0.0.1:{port}/metrics", headers={"authorization": "Bearer other"})
    assert "replyhook_workers 1.0" in metrics
    assert refused.status_code == 401
