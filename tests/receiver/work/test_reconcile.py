"""Asking a provider, over real HTTP, for a result that its callback did not bring."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from replyhook.jobs import AssetStatus, JobStatus, Trust
from replyhook_receiver.stores.history import CallbackFilter
from tests.contracts.store.material import failed, succeeded
from tests.receiver.support import Answer, Host, says, says_json
from tests.receiver.work.bench import Bench, a_bench

STATUS = "/fal/fal-ai/pixverse/requests/r-1/status"
RESULT = "/fal/fal-ai/pixverse/requests/r-1"
COMPLETED = says_json({"status": "COMPLETED", "request_id": "r-1"})
IN_PROGRESS = says_json({"status": "IN_PROGRESS", "request_id": "r-1"}, 202)
QUESTIONS = 3


@pytest.fixture
async def bench(tmp_path: Path, host: Host) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, host) as running:
        yield running


@pytest.fixture
def result(host: Host, clip: bytes) -> Answer:
    """The result as fal tells it, of a video that is there."""
    return says_json({"video": {"url": host.will("/one.mp4", says(200, clip)), "content_type": "video/mp4"}})


async def said_done(bench: Bench) -> str:
    """A job whose provider said "done" without the result; when everything that follows has been done."""
    job = await bench.job()
    await bench.hears(job, succeeded(None))
    await bench.at_rest()
    return job


async def assert_overdue(bench: Bench, job: str, reason: str) -> None:
    known = await bench.known(job)
    assert known.status is JobStatus.RUNNING
    assert known.overdue_at is not None
    assert reason in (known.overdue_reason or "")
    assert (await bench.announced(job)).count("job.overdue") == 1


async def test_one_question_each_for_status_and_result_bring_the_video(bench: Bench, result: Answer) -> None:
    bench.host.will(STATUS, COMPLETED)
    bench.host.will(RESULT, result)
    job = await said_done(bench)
    known = await bench.known(job)
    assert (known.status, known.trust, known.asset.status) == (
        JobStatus.SUCCEEDED,
        Trust.RECONCILED,
        AssetStatus.STORED,
    )
    assert (bench.host.asked(STATUS), bench.host.asked(RESULT)) == (1, 1)
    assert bench.host.seen[0][2]["authorization"] == "Key provider-geheim"
    assert await bench.announced(job) == ["job.running", "job.succeeded", "video.stored"]
    newest, _ = await bench.store.history.callbacks(CallbackFilter(job_id=job))
    assert (newest.source, newest.trust) == ("reconcile", "reconciled")


async def test_saying_done_often_asks_no_more_often(bench: Bench, result: Answer) -> None:
    bench.host.will(STATUS, COMPLETED)
    bench.host.will(RESULT, result)
    job = await said_done(bench)
    for _ in range(3):
        await bench.hears(job, succeeded(None))
    await bench.at_rest()
    assert (bench.host.asked(STATUS), bench.host.asked(RESULT)) == (1, 1)


async def test_without_the_providers_key_nothing_is_asked_and_the_job_is_overdue(tmp_path: Path, host: Host) -> None:
    async with a_bench(tmp_path, host, api_key="") as bench:
        job = await said_done(bench)
        await assert_overdue(bench, job, "no_provider_key")
        assert host.seen == []


@pytest.mark.parametrize(
    "answer",
    [says(400, b'{"detail": "still in progress"}'), says(404), says(500), says(429), says(401), says(200, b"<html>")],
    ids=["400", "404", "500", "429", "401", "garbage"],
)
async def test_an_answer_that_says_nothing_is_asked_for_three_times_and_then_the_job_is_overdue(
    bench: Bench, answer: Answer
) -> None:
    bench.host.will(STATUS, answer)
    job = await said_done(bench)
    assert bench.host.asked(STATUS) == QUESTIONS
    await assert_overdue(bench, job, "")


async def test_a_job_still_running_after_all_is_asked_about_again(bench: Bench, result: Answer) -> None:
    bench.host.will(STATUS, IN_PROGRESS, COMPLETED)
    bench.host.will(RESULT, result)
    known = await bench.known(await said_done(bench))
    assert bench.host.asked(STATUS) == 2
    assert known.status is JobStatus.SUCCEEDED


async def test_a_job_that_runs_on_for_ever_is_overdue_after_three_questions(bench: Bench) -> None:
    bench.host.will(STATUS, IN_PROGRESS)
    job = await said_done(bench)
    assert bench.host.asked(STATUS) == QUESTIONS
    await assert_overdue(bench, job, "")


async def test_a_result_not_there_yet_is_asked_for_again(bench: Bench, result: Answer) -> None:
    bench.host.will(STATUS, COMPLETED)
    bench.host.will(RESULT, says_json({"status": "IN_PROGRESS"}, 202), says_json({"images": []}), result)
    assert (await bench.known(await said_done(bench))).status is JobStatus.SUCCEEDED
    assert bench.host.asked(RESULT) == QUESTIONS


async def test_a_job_that_failed_after_all_is_failed(bench: Bench) -> None:
    bench.host.will(STATUS, COMPLETED)
    bench.host.will(RESULT, says(422, b'{"detail": "content policy"}', x_fal_error_type="content_policy_violation"))
    known = await bench.known(await said_done(bench))
    assert known.status is JobStatus.FAILED
    assert known.error is not None
    assert (known.error.code, known.error.message) == ("content_policy_violation", "content policy")


async def test_a_success_reported_after_a_failure_is_asked_for_since_its_video_is_paid(
    bench: Bench, result: Answer
) -> None:
    bench.host.will(STATUS, COMPLETED)
    bench.host.will(RESULT, result)
    job = await bench.job()
    await bench.hears(job, failed())
    await bench.hears(job, succeeded(None))
    await bench.at_rest()
    known = await bench.known(job)
    assert (known.status, known.asset.status) == (JobStatus.SUCCEEDED, AssetStatus.STORED)


async def test_a_job_whose_provider_id_nobody_knows_is_overdue_not_forgotten(bench: Bench) -> None:
    job = await bench.job(provider_job_id=None)
    await bench.hears(job, succeeded(None, None))
    await bench.at_rest()
    await assert_overdue(bench, job, "")
    assert bench.host.seen == []


async def test_where_the_status_holds_the_result_one_question_is_enough(bench: Bench, clip: bytes) -> None:
    link = bench.host.will("/one.mp4", says(200, clip))
    bench.host.will("/useapi/videos/v-1", says_json({"video_id": "v-1", "video_status_name": "COMPLETED", "url": link}))
    job = await bench.job("useapi", provider_job_id="v-1")
    await bench.hears(job, succeeded(None, "v-1"), provider="useapi")
    await bench.at_rest()
    assert (await bench.known(job)).asset.status is AssetStatus.STORED
    assert bench.host.asked("/useapi/videos/v-1") == 1


async def test_no_key_and_no_words_of_the_provider_leak_into_the_problem(bench: Bench) -> None:
    bench.host.will(STATUS, says(302, location="https://10.0.0.1/?key=geheim"))
    job = await said_done(bench)
    known = await bench.known(job)
    assert "geheim" not in (known.overdue_reason or "")
