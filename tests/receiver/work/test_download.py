"""Fetching videos from a real media host that does what media hosts do."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from replyhook.jobs import AssetStatus
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.tasks import Task
from tests.contracts.store.material import succeeded
from tests.receiver.support import Answer, Host, a_host, drips, pause, raw_host, says, until
from tests.receiver.work.bench import SOON, TRIES, Bench, a_bench, now

HTML = b"<!doctype html><title>Please log in</title>" * 50


@pytest.fixture
async def bench(tmp_path: Path, host: Host) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, host) as running:
        yield running


async def downloaded(bench: Bench, url: str) -> str:
    """The job of a video at ``url``, when there is nothing more to do about it."""
    job = await bench.job(provider_job_id=None)
    await bench.hears(job, succeeded(url, None))
    await bench.at_rest()
    return job


async def assert_given_up(bench: Bench, job: str, word: str) -> None:
    asset = (await bench.known(job)).asset
    assert asset.status is AssetStatus.FAILED
    assert word in (asset.problem or "")
    assert "geheim" not in (asset.problem or "")
    assert await bench.announced(job) == ["job.succeeded", "video.failed"]
    assert bench.files() == []


async def test_a_whole_video_is_stored_once_with_all_that_is_known_of_it(bench: Bench, clip: bytes) -> None:
    url = bench.host.will("/one.mp4", says(200, clip, content_type="application/octet-stream"))
    job = await downloaded(bench, url)
    asset = (await bench.known(job)).asset
    assert (asset.status, asset.bytes, asset.problem) == (AssetStatus.STORED, len(clip), None)
    assert asset.sha256 == hashlib.sha256(clip).hexdigest()
    assert (asset.content_type, asset.width, asset.height) == ("video/mp4", 64, 36)
    assert asset.duration_seconds == pytest.approx(1.0, abs=0.15)
    (file,) = bench.videos()
    assert file.relative_to(bench.folder).as_posix() == asset.name
    assert file.read_bytes() == clip
    assert file.name == f"{job}.mp4"
    assert await bench.announced(job) == ["job.succeeded", "video.stored"]
    assert bench.host.asked("/one.mp4") == 1
    assert bench.host.seen[0][2]["accept-encoding"] == "identity"


async def test_a_stored_video_is_not_fetched_again(bench: Bench, clip: bytes) -> None:
    url = bench.host.will("/one.mp4", says(200, clip))
    job = await downloaded(bench, url)
    task = Task(kind=TaskKind.DOWNLOAD, subject=job, attempt=2, lease="x", lease_until=now() + SOON)
    done = await bench.handlers[TaskKind.DOWNLOAD].run(task)
    assert done.video is None
    assert bench.host.asked("/one.mp4") == 1


async def test_many_at_once_are_all_stored(bench: Bench, clip: bytes) -> None:
    url = bench.host.will("/one.mp4", says(200, clip))
    jobs = await asyncio.gather(*(downloaded(bench, f"{url}?{number}") for number in range(20)))
    assert {path.stem for path in bench.videos()} == set(jobs)
    assert {path.read_bytes() for path in bench.videos()} == {clip}


async def test_a_video_without_a_length_is_stored_too(bench: Bench, clip: bytes) -> None:
    half = len(clip) // 2
    url = bench.host.will("/one.mp4", _in_parts(clip[:half], clip[half:]))
    asset = (await bench.known(await downloaded(bench, url))).asset
    assert (asset.status, asset.sha256) == (AssetStatus.STORED, hashlib.sha256(clip).hexdigest())


def _in_parts(*chunks: bytes) -> Answer:
    async def answer(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk
                await pause(request, 0.01)

        return StreamingResponse(body())

    return answer


async def test_a_busy_host_is_asked_again(bench: Bench, clip: bytes) -> None:
    url = bench.host.will("/one.mp4", says(503), says(429), says(200, clip))
    asset = (await bench.known(await downloaded(bench, url))).asset
    assert (asset.status, asset.problem) == (AssetStatus.STORED, None)
    assert bench.host.asked("/one.mp4") == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_link_that_is_refused_is_tried_again_a_few_times_and_then_given_up(bench: Bench, status: int) -> None:
    job = await downloaded(bench, bench.host.will("/gone.mp4", says(status)) + "?token=geheim")
    await assert_given_up(bench, job, str(status))
    assert bench.host.asked("/gone.mp4") == TRIES


@pytest.mark.parametrize("status", [204, 206, 304, 400, 500, 503])
async def test_any_other_answer_is_tried_again_and_then_given_up(bench: Bench, status: int) -> None:
    job = await downloaded(bench, bench.host.will("/x.mp4", says(status)))
    await assert_given_up(bench, job, str(status))
    assert bench.host.asked("/x.mp4") == TRIES


async def test_what_is_not_a_whole_video_is_never_stored(bench: Bench, clip: bytes) -> None:
    answers = {
        "html": says(200, HTML, content_type="video/mp4"),
        "empty": says(200, b""),
        "cut in the middle": says(200, clip[: len(clip) // 2]),
        "cut at the end": says(200, clip[:-200]),
        "only a head": says(200, clip[:32]),
        "noise behind a head": says(200, clip[:32] + b"\x00" * 5000),
        "gzip": says(200, gzip.compress(clip), content_encoding="gzip"),
        "json": says(200, b'{"detail": "not yet"}', content_type="application/json"),
    }
    for number, (name, answer) in enumerate(answers.items()):
        job = await downloaded(bench, bench.host.will(f"/{number}.mp4", answer))
        await assert_given_up(bench, job, "video")
        assert bench.host.asked(f"/{number}.mp4") == TRIES, name


@pytest.mark.parametrize(("length", "word"), [(1_000, ""), (-100, "video")])
async def test_a_length_that_is_not_the_bodys_is_noticed(bench: Bench, clip: bytes, length: int, word: str) -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(clip) + length) + clip)

    async with raw_host(script) as url:
        job = await downloaded(bench, f"{url}/one.mp4?token=geheim")
    await assert_given_up(bench, job, word)


async def test_a_cut_connection_is_tried_again(bench: Bench, clip: bytes) -> None:
    tries = 0

    async def script(writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        end = len(clip) // 2 if tries == 1 else len(clip)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(clip) + clip[:end])

    async with raw_host(script) as url:
        job = await downloaded(bench, f"{url}/one.mp4")
    assert (await bench.known(job)).asset.status is AssetStatus.STORED
    assert tries == 2
    assert [path.read_bytes() for path in bench.videos()] == [clip]


@pytest.mark.parametrize("kind", ["with a length", "without one", "endless"])
async def test_a_video_over_the_limit_is_cut_off_and_given_up(
    tmp_path: Path, host: Host, clip: bytes, kind: str
) -> None:
    answer = {
        "with a length": says(200, clip),
        "without one": _in_parts(clip[:500], clip[500:]),
        "endless": drips(0, b"\x00\x00\x00\x18ftypmp42" + b"x" * 4096),
    }[kind]
    async with a_bench(tmp_path, host, max_bytes=len(clip) - 1) as bench:
        job = await downloaded(bench, host.will("/big.mp4", answer))
        await assert_given_up(bench, job, "larger")
        assert host.asked("/big.mp4") == 1


async def test_a_video_of_exactly_the_limit_is_taken(tmp_path: Path, host: Host, clip: bytes) -> None:
    async with a_bench(tmp_path, host, max_bytes=len(clip)) as bench:
        job = await downloaded(bench, host.will("/fits.mp4", says(200, clip)))
        assert (await bench.known(job)).asset.status is AssetStatus.STORED


async def test_only_the_providers_media_hosts_are_asked(tmp_path: Path, host: Host, clip: bytes) -> None:
    async with a_host("127.0.0.5") as stranger, a_bench(tmp_path, host) as bench:
        link = stranger.will("/one.mp4", says(200, clip))
        for url in (link, host.will("/redirect", says(302, location=link))):
            job = await downloaded(bench, f"{url}?token=geheim")
            await assert_given_up(bench, job, "media hosts")
        assert stranger.seen == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "https://[", "x", "javascript:alert(1)", "http://[::1]:9/x", "https://10.0.0.1/"]
)
async def test_a_link_we_would_never_follow_is_given_up_at_once(bench: Bench, url: str) -> None:
    job = await bench.job(provider_job_id=None)
    await bench.hears(job, succeeded(url, None))
    await bench.at_rest()
    await assert_given_up(bench, job, "")


async def test_while_it_comes_nothing_stands_under_its_name_and_an_end_in_the_middle_leaves_nothing(
    bench: Bench, clip: bytes
) -> None:
    url = bench.host.will("/slow.mp4", drips(0.02, clip[:300]))
    await bench.worker.stop()
    job = await bench.job(provider_job_id=None)
    await bench.hears(job, succeeded(url, None))
    task = Task(kind=TaskKind.DOWNLOAD, subject=job, attempt=1, lease="x", lease_until=now() + SOON)
    run = bench.handlers[TaskKind.DOWNLOAD].run
    running = asyncio.create_task(run(task))  # type: ignore[arg-type] # it is a coroutine
    await until(lambda: any(path.stat().st_size > 0 for path in bench.files()) or bench.host.asked("/slow.mp4"))
    await asyncio.sleep(0.1)
    assert all(path.name.startswith(".") and path.name.endswith(".part") for path in bench.files())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.files() == []
