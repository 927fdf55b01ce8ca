"""A link to a host on nobody's list: fetched only when the provider itself, asked once, names this very link."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from replyhook.jobs import AssetStatus
from replyhook_receiver.retries import DOWNLOADS, RetryPolicy
from tests.contracts.store.material import succeeded
from tests.receiver.support import Answer, Host, a_host, raw_host, says, says_json
from tests.receiver.work.bench import TRIES, Bench, a_bench

QUESTION = "/useapi/videos/v-1"


@pytest.fixture
async def bench(tmp_path: Path, host: Host) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, host) as running:
        yield running


@pytest.fixture
async def stranger() -> AsyncIterator[Host]:
    async with a_host("127.0.0.5") as running:
        yield running


def names(url: str | None) -> Answer:
    """What useapi says of a job that is done, with its link."""
    content = {"video_id": "v-1", "video_status_name": "COMPLETED"}
    return says_json(content | ({"url": url} if url else {}))


async def told(bench: Bench, url: str, *, provider_job_id: str | None = "v-1") -> str:
    """The job of a video at ``url``, when there is nothing more to do about it."""
    job = await bench.job("useapi", provider_job_id=provider_job_id)
    await bench.hears(job, succeeded(url, provider_job_id), provider="useapi")
    await bench.at_rest()
    return job


async def assert_failed(bench: Bench, job: str, *words: str) -> None:
    asset = (await bench.known(job)).asset
    assert asset.status is AssetStatus.FAILED
    assert [word for word in words if word not in (asset.problem or "")] == [], asset.problem
    assert "geheim" not in (asset.problem or "")
    assert (await bench.announced(job))[-1] == "video.failed"
    assert bench.files() == []


@pytest.mark.parametrize("query", ["", "?signature=fresh"])
async def test_a_link_that_the_provider_names_itself_is_fetched(
    bench: Bench, stranger: Host, clip: bytes, query: str
) -> None:
    link = stranger.will("/one.mp4", says(200, clip))
    bench.host.will(QUESTION, names(link + query))
    job = await told(bench, link)
    assert (await bench.known(job)).asset.status is AssetStatus.STORED
    assert (bench.host.asked(QUESTION), stranger.asked("/one.mp4")) == (1, 1)
    assert bench.host.seen[0][2]["authorization"] == "Bearer provider-geheim"
    assert "authorization" not in stranger.seen[0][2]


async def test_the_question_is_asked_once_however_often_the_download_is_tried(
    bench: Bench, stranger: Host, clip: bytes
) -> None:
    link = stranger.will("/one.mp4", says(503), says(503), says(200, clip))
    bench.host.will(QUESTION, names(link))
    job = await told(bench, link)
    assert (await bench.known(job)).asset.status is AssetStatus.STORED
    assert (bench.host.asked(QUESTION), stranger.asked("/one.mp4")) == (1, 3)


async def test_a_question_that_is_never_answered_is_asked_three_times_at_most(tmp_path: Path, stranger: Host) -> None:
    questions = 0

    async def hangs_up(_: asyncio.StreamWriter) -> None:
        nonlocal questions
        questions += 1

    as_often_as_downloads = RetryPolicy(delays=(0.01,) * len(DOWNLOADS.delays), jitter=0.0)
    async with raw_host(hangs_up) as url, a_bench(tmp_path, Host(url=url), policy=as_often_as_downloads) as bench:
        await assert_failed(bench, await told(bench, stranger.will("/one.mp4", says(200))))
    assert 1 <= questions <= 3
    assert stranger.seen == []


async def test_a_link_that_the_provider_does_not_name_is_never_fetched(bench: Bench, stranger: Host) -> None:
    link = stranger.will("/one.mp4", says(200))
    others = ["https://media.example/one.mp4", stranger.url + "/two.mp4", stranger.url + "/one.mp4/", None]
    for number, named in enumerate(others):
        bench.host.will(f"/useapi/videos/v-{number}", names(named))
        job = await told(bench, f"{link}?token=geheim", provider_job_id=f"v-{number}")
        await assert_failed(bench, job, "127.0.0.5", "does not name this link")
        assert bench.host.asked(f"/useapi/videos/v-{number}") == 1
    assert stranger.seen == []


@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_a_provider_that_does_not_say_leaves_it_unfetched(bench: Bench, stranger: Host, status: int) -> None:
    bench.host.will(QUESTION, says_json({"error": "no"}, status))
    await assert_failed(bench, await told(bench, stranger.will("/one.mp4", says(200))), "127.0.0.5")
    assert bench.host.asked(QUESTION) == 1
    assert stranger.seen == []


async def test_without_the_providers_key_the_reason_says_what_to_do(tmp_path: Path, host: Host, stranger: Host) -> None:
    async with a_bench(tmp_path, host, api_key="") as bench:
        job = await told(bench, stranger.will("/one.mp4", says(200)) + "?token=geheim")
        await assert_failed(bench, job, "no_provider_key", "media_hosts", "127.0.0.5")
    assert (host.seen, stranger.seen) == ([], [])


async def test_without_the_providers_id_the_reason_says_what_to_do(bench: Bench, stranger: Host) -> None:
    job = await told(bench, stranger.will("/one.mp4", says(200)), provider_job_id=None)
    await assert_failed(bench, job, "no_provider_job_id", "media_hosts", "127.0.0.5")
    assert (bench.host.seen, stranger.seen) == ([], [])


async def test_a_confirmed_host_sends_us_nowhere_else(bench: Bench, stranger: Host, clip: bytes) -> None:
    async with a_host("127.0.0.6") as third:
        elsewhere = third.will("/one.mp4", says(200, clip))
        link = stranger.will("/one.mp4", says(302, location=elsewhere))
        bench.host.will(QUESTION, names(link))
        await assert_failed(bench, await told(bench, link), "127.0.0.6", "media hosts")
        assert third.seen == []
    assert bench.host.asked(QUESTION) == 1


async def test_a_link_that_is_confirmed_confirms_no_other_link(bench: Bench, stranger: Host, clip: bytes) -> None:
    """Whoever learned a token may send a second link while the first one cannot be had."""
    async with a_host("127.0.0.6") as third:
        link = stranger.will("/one.mp4", says(404))
        bench.host.will(QUESTION, names(link))
        job = await told(bench, link)
        assert bench.host.asked(QUESTION) == 1 + TRIES  # whether it is the provider's, and three times for another
        await bench.hears(job, succeeded(third.will("/bad.mp4", says(200, clip)), "v-1"), provider="useapi")
        await bench.at_rest()
        assert third.seen == []
        assert bench.files() == []
