"""Downloads in parallel: so many from one host, so many in all; and a worker that waits without turning in circles."""

import asyncio
import errno
import os
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from replyhook.jobs import AssetStatus
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.storage import local
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.tasks import Task
from replyhook_receiver.work.worker import Handler, Worker
from tests.contracts.store.material import a_job, describe, report, succeeded
from tests.receiver.sqlite_file import lay
from tests.receiver.support import Answer, Host, a_host, pause, until
from tests.receiver.work.bench import AT_ONCE, Bench, a_bench, now


class Crowd:
    """How many requests each host had at a time, at most."""

    def __init__(self, clip: bytes) -> None:
        self.clip = clip
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def serves(self, name: str) -> Answer:
        async def answer(request: Request) -> Response:
            for each in (name, "all"):
                self.now[each] += 1
                self.most[each] = max(self.most[each], self.now[each])
            await pause(request, 0.3)
            for each in (name, "all"):
                self.now[each] -= 1
            return Response(self.clip)

        return answer


async def told(bench: Bench, url: str) -> str:
    job = await bench.job(provider_job_id=None)
    await bench.hears(job, succeeded(url, None))
    return job


async def test_one_host_has_so_many_at_a_time_and_all_of_them_so_many(tmp_path: Path, host: Host, clip: bytes) -> None:
    crowd = Crowd(clip)
    async with (
        a_host("127.0.0.5") as other,
        a_bench(tmp_path, host, per_host=2, media_hosts=("127.0.0.1", "127.0.0.5")) as bench,
    ):
        urls = [host.will("/one.mp4", crowd.serves("one")), other.will("/two.mp4", crowd.serves("two"))]
        jobs = [await told(bench, f"{url}?{number}") for number in range(6) for url in urls]
        await bench.at_rest()
        assert [(await bench.known(job)).asset.status for job in jobs] == [AssetStatus.STORED] * 12
    assert crowd.most == {"one": 2, "two": 2, "all": 4}


class HoldsBack:
    """A queue that gives nothing away."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def claim(self, *, limit: int, lease: timedelta, now: datetime) -> list[Task]:  # noqa: ARG002
        self.asked.append(limit)
        return []


async def test_what_is_held_back_is_looked_at_now_and_then_and_holds_up_nothing_else(tmp_path: Path) -> None:
    store, queue, heard = SQLiteStore(lay(tmp_path / "replyhook.db"), describe=describe), HoldsBack(), asyncio.Event()

    async def run(task: Task):  # type: ignore[no-untyped-def]
        heard.set()
        raise AssertionError(task)

    handlers = {
        TaskKind.DOWNLOAD: Handler(run=run, policy=AT_ONCE, concurrency=4, claims=queue),
        TaskKind.FETCH_RESULT: Handler(run=run, policy=AT_ONCE, concurrency=4),
    }
    worker = Worker(store=store, handlers=handlers, now=now)
    store.on_change(tasks=worker.wake, notifications=lambda: None)
    await store.open()
    try:
        await worker.start()
        await store.accept(report(a_job(1), succeeded(provider_job_id=None), received_at=now()))
        await until(lambda: queue.asked)
        before = len(queue.asked)
        await asyncio.sleep(0.4)
        assert len(queue.asked) - before <= 3
        await store.accept(report(a_job(2), succeeded(None, None), received_at=now()))
        async with asyncio.timeout(60):
            await heard.wait()
    finally:
        await worker.stop()
        await store.close()


async def test_a_folder_that_cannot_be_looked_at_holds_up_downloads_alone_and_only_so_long(
    tmp_path: Path, host: Host, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_away(_: Path) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    async with a_bench(tmp_path, host) as bench:
        with monkeypatch.context() as away:
            away.setattr(local.shutil, "disk_usage", is_away)
            job = await told(bench, host.will("/one.mp4", Crowd(clip).serves("one")))
            await until(lambda: bench.queue.state == "storage_trouble")
            assert "Stale file handle" in (bench.queue.problem or "")
            assert bench.worker.healthy
        await bench.at_rest()
        assert (await bench.known(job)).asset.status is AssetStatus.STORED
        assert bench.queue.state == "ok"
