"""A link that is refused, a disk that is low, a video that is lost: what is asked, what waits, what is said."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from replyhook.jobs import AssetStatus
from replyhook_receiver.media import HAS_PYAV
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.stores.history import CallbackFilter
from tests.contracts.store.material import succeeded
from tests.receiver.support import PERSONAL_ID, Answer, Host, says, says_json, until
from tests.receiver.work.bench import Bench, a_bench

QUESTION = "/useapi/videos/v-1"


@pytest.fixture
async def bench(tmp_path: Path, host: Host) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, host) as running:
        yield running


def names(url: str | None) -> Answer:
    """What useapi says of a job that is done, with its link."""
    content = {"video_id": "v-1", "video_status_name": "COMPLETED"}
    return says_json(content | ({"url": url} if url else {}))


async def told(bench: Bench, url: str, *, provider_job_id: str | None = "v-1", **more: Any) -> str:
    job = await bench.job("useapi", provider_job_id=provider_job_id, **more)
    await bench.hears(job, succeeded(url, provider_job_id), provider="useapi")
    await bench.at_rest()
    return job


def only_with(query: str, clip: bytes) -> Answer:
    async def answer(request: Any) -> Any:
        return await says(200 if request.url.query == query else 403, clip if request.url.query == query else b"")(
            request
        )

    return answer


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_refused_link_is_asked_for_afresh_and_nobody_hears_of_the_job_twice(
    bench: Bench, clip: bytes, status: int
) -> None:
    link = bench.host.will("/one.mp4", says(status), says(200, clip))
    bench.host.will(QUESTION, names(f"{link}?signature=fresh"))
    job = await told(bench, f"{link}?signature=old")
    asset = (await bench.known(job)).asset
    assert (asset.status, asset.url) == (AssetStatus.STORED, f"{link}?signature=fresh")
    assert (bench.host.asked(QUESTION), bench.host.asked("/one.mp4")) == (1, 2)
    assert await bench.announced(job) == ["job.succeeded", "video.stored"]
    assert {seen[0] for seen in bench.host.seen} == {"GET"}  # nothing was generated again
    newest, _ = await bench.store.history.callbacks(CallbackFilter(job_id=job))
    assert newest.source == "reconcile"


async def test_a_fresh_link_somewhere_else_will_do(bench: Bench, clip: bytes) -> None:
    bench.host.will(QUESTION, names(bench.host.will("/two.mp4", says(200, clip))))
    job = await told(bench, bench.host.will("/one.mp4", says(404)))
    assert (await bench.known(job)).asset.status is AssetStatus.STORED
    assert await bench.announced(job) == ["job.succeeded", "video.stored"]


async def test_a_host_that_has_the_file_a_moment_later_loses_nothing(bench: Bench, clip: bytes) -> None:
    link = bench.host.will("/one.mp4", says(404), says(404), says(200, clip))
    bench.host.will(QUESTION, names(link))
    assert (await bench.known(await told(bench, link))).asset.status is AssetStatus.STORED


async def test_the_provider_is_asked_three_times_at_most_also_if_every_fresh_link_is_refused(bench: Bench) -> None:
    answers = [names(f"{bench.host.url}/{number}.mp4") for number in range(9)]
    for number in range(9):
        bench.host.will(f"/{number}.mp4", says(403))
    bench.host.will(QUESTION, *answers[1:])
    job = await told(bench, f"{bench.host.url}/0.mp4?token=geheim")
    await until(lambda: bench.files() == [])
    asset = (await bench.known(job)).asset
    assert bench.host.asked(QUESTION) == 3
    assert (asset.status, "geheim" in (asset.problem or "")) == (AssetStatus.FAILED, False)
    assert await bench.announced(job) == ["job.succeeded", "video.failed"]


async def test_a_fresh_link_has_its_own_tries_and_a_loss_is_told_once(bench: Bench, clip: bytes) -> None:
    gone = bench.host.will("/gone.mp4", says(404))
    bench.host.will(QUESTION, names(gone))
    job = await told(bench, gone)
    assert (bench.host.asked("/gone.mp4"), bench.host.asked(QUESTION)) == (3, 3)
    for number in range(2):
        await bench.hears(job, succeeded(bench.host.will(f"/gone-{number}.mp4", says(404)), "v-1"), provider="useapi")
        await bench.at_rest()
        assert bench.host.asked(f"/gone-{number}.mp4") == 3
        assert "was asked 3 times" in ((await bench.known(job)).asset.problem or "")
    assert bench.host.asked(QUESTION) == 3
    assert await bench.announced(job) == ["job.succeeded", "video.failed"]
    late = bench.host.will("/late.mp4", says(404), says(404), says(200, clip))
    await bench.hears(job, succeeded(late, "v-1"), provider="useapi")
    await bench.at_rest()
    assert (await bench.known(job)).asset.status is AssetStatus.STORED
    assert await bench.announced(job) == ["job.succeeded", "video.failed", "video.stored"]


async def test_a_question_that_could_not_be_asked_is_not_counted(tmp_path: Path, host: Host) -> None:
    async with a_bench(tmp_path, host, api_key="") as bench:
        job = await told(bench, host.will("/gone.mp4", says(404)))
        assert "could not be asked" in ((await bench.known(job)).asset.problem or "")
        assert bench.rows("SELECT link_questions, dead_answers FROM assets") == [(0, 3)]


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_provider_that_does_not_say_is_asked_again_on_the_ladder(
    bench: Bench, clip: bytes, status: int
) -> None:
    link = bench.host.will("/one.mp4", only_with("signature=fresh", clip))
    bench.host.will(QUESTION, says_json({"error": "no"}, status), names(f"{link}?signature=fresh"))
    assert (await bench.known(await told(bench, f"{link}?signature=old"))).asset.status is AssetStatus.STORED
    assert bench.host.asked(QUESTION) == 2


async def test_a_lost_video_is_told_with_what_was_paid_for(
    tmp_path: Path, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    request = {"prompt": "a", "duration": 5, "quality": "540p"}
    async with a_bench(tmp_path, host, api_key="") as bench:
        job = await bench.job("fal", provider_job_id="r-1", request=request)
        with caplog.at_level(logging.ERROR):
            await bench.hears(job, succeeded(f"{bench.host.will('/gone.mp4', says(410))}?token=geheim", "r-1"))
            await bench.at_rest()
            await until(lambda: caplog.records)
        personal = await bench.job("useapi", provider_job_id=PERSONAL_ID, request=request)
        await bench.hears(personal, succeeded(f"{bench.host.url}/gone.mp4", PERSONAL_ID), provider="useapi")
        await bench.at_rest()
        paid_for, at_useapi = [
            json.loads((await bench.store.notifications(after=0, job_id=each))[-1].body)["data"]["paid_for"]
            for each in (job, personal)
        ]
    assert (paid_for["provider"], paid_for["provider_job_id"]) == ("fal", "r-1")
    assert float(paid_for["price"]["lowest"]) > 0
    assert (at_useapi["provider_job_id"], at_useapi["price"]) == ("(personal)", None)
    assert "jane.doe" not in json.dumps(at_useapi)
    assert f"the video of {job}, which fal was paid for, is lost" in caplog.text
    assert "no_provider_key" in caplog.text
    assert "geheim" not in caplog.text


async def test_on_a_low_disk_downloads_wait_lose_no_try_and_go_on_when_there_is_room(
    tmp_path: Path, host: Host, clip: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free = 500
    monkeypatch.setattr(LocalStorage, "free_bytes", lambda _: free)
    async with a_bench(tmp_path, host, min_free_bytes=1000) as bench:
        job = await bench.job(provider_job_id=None)
        with caplog.at_level(logging.INFO):
            await bench.hears(job, succeeded(host.will("/one.mp4", says(200, clip)), None))
            await until(lambda: bench.queue.state == "low_disk")
            await bench.hears(await bench.job(provider_job_id=None), succeeded(None, None))  # callbacks are taken
            assert host.asked("/one.mp4") == 0
            assert bench.rows("SELECT attempts FROM tasks WHERE kind = 'download'") == [(0,)]
            free = 10_000_000
            await until(lambda: bench.videos())
            assert bench.queue.state == "ok"
        assert caplog.text.count("low disk") == 1
        assert "room on the disk again" in caplog.text


async def test_a_video_for_which_there_is_no_room_waits(
    tmp_path: Path, host: Host, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalStorage, "free_bytes", lambda _: 1000 + len(clip) - 1)
    async with a_bench(tmp_path, host, fetcher_min_free_bytes=1000) as bench:
        job = await bench.job(provider_job_id=None)
        await bench.hears(job, succeeded(host.will("/one.mp4", says(200, clip)), None))
        await until(lambda: "low disk" in str(bench.rows("SELECT problem FROM tasks WHERE kind = 'download'")))
        assert bench.rows("SELECT state, attempts FROM tasks WHERE kind = 'download'") == [("ready", 0)]
        assert (await bench.known(job)).asset.status is AssetStatus.PENDING
        assert bench.files() == []


async def test_the_poster_lies_beside_the_video(bench: Bench, clip: bytes) -> None:
    assert HAS_PYAV
    job = await told(bench, bench.host.will("/one.mp4", says(200, clip)))
    name = await bench.store.links.poster(job)
    assert name == ((await bench.known(job)).asset.name or "").replace(".mp4", ".jpg")
    content = (bench.folder / name).read_bytes()
    assert (content[:2], content[-2:]) == (b"\xff\xd8", b"\xff\xd9")
    assert len(content) < 100_000
