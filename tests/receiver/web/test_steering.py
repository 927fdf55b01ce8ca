"""What an operator has done about a job before its time comes."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from replyhook.ids import new_id
from tests.receiver.support import AUTH, Host, Receiver, a_host, a_receiver, says, says_json, until, useapi_body

STATUS = "/useapi/videos/video-1"


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with a_host() as host:
        yield host


@pytest.fixture
async def receiver(tmp_path: Path, host: Host) -> AsyncIterator[Receiver]:
    async with a_receiver(
        tmp_path, host, providers={"useapi": {"api_key": "key"}, "fal": {"api_key": "key"}}
    ) as receiver:
        yield receiver


async def ask(receiver: Receiver, job: str, word: str, content: bytes = b"") -> tuple[int, str]:
    answer = await receiver.client.post(f"/v1/jobs/{job}/{word}", content=content, headers=AUTH)
    return answer.status_code, answer.text


async def test_asking_now_is_a_question_and_its_answer_ends_the_job(host: Host, receiver: Receiver) -> None:
    host.will(STATUS, says_json({"video_id": "video-1", "video_status_name": "FAILED"}))
    job, _ = await receiver.register()
    await receiver.submitted(job, "video-1")
    assert (await ask(receiver, job, "reconcile"))[0] == 202

    async def has_ended() -> bool:
        return (await receiver.job(job))["status"] == "failed"

    await until(has_ended)
    assert host.asked(STATUS) == 1
    status, text = await ask(receiver, job, "reconcile")
    assert status == 409
    assert "has ended: it is failed" in text


@pytest.mark.parametrize("word", ["retry", "reconcile"])
async def test_what_cannot_be_done_is_said_and_not_done(receiver: Receiver, word: str) -> None:
    assert (await ask(receiver, new_id("job"), word))[0] == 404
    job, _ = await receiver.register()
    assert (await ask(receiver, job, word))[0] == 409
    assert (await ask(receiver, job, word, b'{"force": true}'))[0] == 422
    assert receiver.rows("SELECT kind FROM tasks") == []


async def test_a_video_that_waits_for_its_next_try_is_fetched_now(host: Host, receiver: Receiver, clip: bytes) -> None:
    link = host.will("/video.mp4", says(503), says(200, clip, content_type="video/mp4"))
    job, path = await receiver.register()
    await receiver.submitted(job, "video-1")
    told = useapi_body(job, "COMPLETED", video_id="video-1", url=link)
    assert (await receiver.client.post(path, content=told)).status_code == 200
    await until(lambda: receiver.rows("SELECT state, attempts FROM tasks WHERE kind = 'download'") == [("ready", 1)])
    assert (await ask(receiver, job, "retry"))[0] == 202

    async def is_stored() -> bool:
        return (await receiver.job(job))["video"]["status"] == "stored"

    await until(is_stored)
    assert (await ask(receiver, job, "retry"))[0] == 409
    assert timedelta(0) == receiver.clock.passed  # nothing had to be waited for


async def test_a_submit_is_never_sent_again(host: Host, receiver: Receiver) -> None:
    body = {"provider": "fal", "video": f"{host.url}/in.mp4", "request": {"prompt": "on", "duration": 5}}
    made = await receiver.client.post("/v1/jobs", json=body, headers=AUTH)
    assert made.status_code == 202, made.text
    job = made.json()["id"]
    await until(lambda: receiver.rows("SELECT state FROM tasks WHERE kind = 'relay'") == [("done",)])
    before = len(host.seen)
    for word in ("retry", "reconcile"):
        await ask(receiver, job, word)
    submits = [path for method, path, _, _ in host.seen[before:] if method == "POST"]
    assert submits == []
