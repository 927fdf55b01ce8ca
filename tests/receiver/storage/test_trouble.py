"""An object store that is away: callbacks are taken, videos wait on this machine, and nothing is asked for twice."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from replyhook.ids import new_id
from replyhook_receiver.storage.base import poster_name, video_name
from tests.receiver.object_store import BUCKET, SECRET_KEY, ObjectServer
from tests.receiver.support import AUTH, NOW, Clock, Host, Receiver, a_receiver, says, until, useapi_body, waits

NOBODY = "http://127.0.0.1:9"
SUBMIT = "/segmind/v1/pixverse-5-extend"
JOB = "job_06gzvyj6038xt427xgy6esgkjx"


@asynccontextmanager
async def receiving(
    folder: Path, host: Host, endpoint: str, prefix: str, *, settings: dict[str, Any] | None = None, **moved: float
) -> AsyncIterator[Receiver]:
    """A receiver whose videos go to an object store; its clock stands, ``moved`` ahead."""
    segmind = {"base_url": f"{host.url}/segmind", "api_key": "k", "media_hosts": ("127.0.0.1",)}
    more: dict[str, Any] = {"storage_url": f"s3://{BUCKET}/{prefix}", "storage_endpoint": endpoint} | (settings or {})
    clock = Clock(NOW + timedelta(**moved))
    async with a_receiver(folder, host, providers={"segmind": segmind}, clock=clock, **more) as running:
        yield running


@pytest.fixture
def prefix() -> str:
    return new_id("job")


def waiting(receiver: Receiver) -> list[int]:
    """The sizes of what waits here."""
    return [path.stat().st_size for path in receiver.files() if not path.name.startswith(".")]


async def fetched(receiver: Receiver, job: str) -> bytes:
    """The video, as somebody without a key gets it."""
    shown = await receiver.job(job)
    path = shown["video"]["url"].removeprefix("https://hooks.example.com")
    answer = await receiver.client.get(path)
    assert answer.status_code == 302, answer.text
    async with httpx.AsyncClient() as anybody:
        return (await anybody.get(answer.headers["location"])).content


async def test_a_video_waits_here_until_the_object_store_is_back_though_its_link_is_dead_by_then(
    tmp_path: Path, host: Host, object_server: ObjectServer, prefix: str, clip: bytes
) -> None:
    link = host.will("/one.mp4", says(200, clip), says(410))
    async with receiving(tmp_path, host, NOBODY, prefix) as receiver:
        job, path = await receiver.register("useapi")
        answer = await receiver.client.post(path, content=useapi_body(job, "COMPLETED", url=link))
        assert (answer.status_code, answer.text) == (200, "ok")
        shown = await receiver.eventually(job, lambda job: job["video"]["problem"], seconds=30)
        assert "no connection" in shown["video"]["problem"]
        assert SECRET_KEY not in str(shown)
        assert waiting(receiver) == [len(clip)]
    async with receiving(tmp_path, host, object_server.endpoint, prefix, minutes=5) as restarted:
        shown = await restarted.eventually(job, lambda job: job["video"]["status"] == "stored")
        assert shown["video"]["sha256"] == hashlib.sha256(clip).hexdigest()
        assert waiting(restarted) == []
        assert await fetched(restarted, job) == clip
    assert host.asked("/one.mp4") == 1


async def test_an_object_store_that_is_away_is_seen_until_it_is_back(
    tmp_path: Path, host: Host, object_server: ObjectServer, prefix: str, clip: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    links = [host.will(f"/{number}.mp4", says(200, clip)) for number in range(2)]

    async def downloads(receiver: Receiver) -> tuple[int, str, dict[str, Any]]:
        ready = await receiver.client.get("/readyz")
        shown = (await receiver.client.get("/v1/downloads", headers=AUTH)).json()
        return ready.status_code, ready.json()["downloads"], shown

    async with receiving(tmp_path, host, host.url, prefix) as receiver:  # which has no bucket: 404
        assert (await downloads(receiver))[1] == "ok"
        for link in links:
            job, path = await receiver.register("useapi")
            await receiver.client.post(path, content=useapi_body(job, "COMPLETED", url=link))
            await receiver.eventually(job, lambda job: job["video"]["problem"], seconds=30)
        status, ready, shown = await downloads(receiver)
        assert (status, ready, shown["state"], shown["waiting"]) == (200, "storage_trouble", "storage_trouble", 2)
        assert "the object store could not" in shown["problem"]
        assert not [text for text in (SECRET_KEY, prefix, host.url) if text in str(shown)]
        said = [record for record in caplog.records if "storage trouble" in record.message]
        assert [record.levelname for record in said] == ["ERROR"]
    async with receiving(tmp_path, host, object_server.endpoint, prefix, minutes=5) as restarted:
        await restarted.eventually(job, lambda job: job["video"]["status"] == "stored")
        assert (await downloads(restarted))[1] == "ok"


async def test_a_video_that_came_in_the_answer_to_a_submit_waits_here_too(
    tmp_path: Path, host: Host, object_server: ObjectServer, prefix: str, clip: bytes
) -> None:
    host.will(SUBMIT, says(200, clip, content_type="video/mp4"))
    contents = {"provider": "segmind", "video": "https://a.example/in.mp4", "request": {"prompt": "on"}, "id": JOB}
    async with receiving(tmp_path, host, NOBODY, prefix) as receiver:
        assert (await receiver.client.post("/v1/jobs", json=contents, headers=AUTH)).status_code == 202
        shown = await receiver.eventually(JOB, lambda job: job["video"]["problem"], seconds=30)
        assert shown["status"] == "succeeded"
        assert waiting(receiver) == [len(clip)]
    async with receiving(tmp_path, host, object_server.endpoint, prefix, minutes=5) as restarted:
        await restarted.eventually(JOB, lambda job: job["video"]["status"] == "stored")
        assert await fetched(restarted, JOB) == clip
    assert host.asked(SUBMIT) == 1


async def test_stopped_while_a_paid_answer_is_uploaded_it_is_neither_lost_nor_paid_again(
    tmp_path: Path, host: Host, object_server: ObjectServer, prefix: str, clip: bytes
) -> None:
    host.will(SUBMIT, says(200, clip, content_type="video/mp4"))
    contents = {"provider": "segmind", "video": "https://a.example/in.mp4", "request": {"prompt": "on"}, "id": JOB}
    upload = f"/{BUCKET}/{prefix}/{poster_name(video_name(JOB, NOW))}"  # which comes first
    host.will(upload, waits(1000, says(200)))
    async with receiving(tmp_path, host, host.url, prefix) as receiver:
        await receiver.client.post("/v1/jobs", json=contents, headers=AUTH)
        await until(lambda: host.asked(upload))
        assert waiting(receiver) == [len(clip)]
    async with receiving(tmp_path, host, object_server.endpoint, prefix, minutes=5) as restarted:
        shown = await restarted.eventually(JOB, lambda job: job["video"]["status"] == "stored")
        assert shown["status"] == "succeeded"
        assert await fetched(restarted, JOB) == clip
    assert host.asked(SUBMIT) == 1


async def test_a_low_disk_does_not_hold_up_the_upload_that_would_make_room(
    tmp_path: Path, host: Host, object_server: ObjectServer, prefix: str, clip: bytes
) -> None:
    link = host.will("/one.mp4", says(200, clip), says(410))
    async with receiving(tmp_path, host, NOBODY, prefix) as receiver:
        job, path = await receiver.register("useapi")
        await receiver.client.post(path, content=useapi_body(job, "COMPLETED", url=link))
        await receiver.eventually(job, lambda job: job["video"]["problem"], seconds=30)
    more = {"min_free_disk_bytes": 2**62}
    async with receiving(tmp_path, host, object_server.endpoint, prefix, settings=more, minutes=5) as restarted:
        await restarted.eventually(job, lambda job: job["video"]["status"] == "stored")
