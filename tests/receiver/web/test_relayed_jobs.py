"""`POST /v1/jobs`: the receiver submits once, takes the answer for the callback, and repeats no doubtful submit."""

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from replyhook import Client
from replyhook.ids import new_id
from replyhook.jobs import JobEvent
from replyhook.messages import Callback
from replyhook.providers.segmind import Segmind
from replyhook_receiver import media_pool
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.stores.replaying import Step
from replyhook_receiver.told import whole_body
from replyhook_receiver.web.app import create_app
from tests.receiver.support import (
    API_KEY,
    AUTH,
    NOW,
    PUBLIC_URL,
    SECRETS,
    Answer,
    Clock,
    Host,
    Receiver,
    a_host,
    a_receiver,
    fal_body,
    pause,
    raw_host,
    says,
    says_json,
    settings_for,
    until,
)

JOB = "job_06gzvyj6038xt427xgy6esgkjx"
SUBMIT = "/segmind/v1/pixverse-5-extend"
SUBMIT_V2 = "/segmind/v2/pixverse-5-extend"
QUESTION = "/segmind/v2/requests/q-1"
VIDEO = "https://a.example/in.mp4?signature=geheim"
CONTENTS = {"provider": "segmind", "video": VIDEO, "request": {"prompt": "on"}, "id": JOB}
KEY = "segmind-geheim"
QUEUED = says_json({"request_id": "q-1", "status": "QUEUED", "poll_url": "https://x.example/"})
RELAY_ENDED = "SELECT count(*) FROM tasks WHERE kind = 'relay' AND state <> 'done'"


def segmind(url: str, **more: Any) -> dict[str, dict[str, Any]]:
    """Segmind's settings, where ``url`` plays it."""
    return {"segmind": {"base_url": url, "api_key": KEY, "media_hosts": ("127.0.0.1",)} | more}


@asynccontextmanager
async def relaying(
    tmp_path: Path,
    host: Host,
    *,
    url: str | None = None,
    at: Clock | None = None,
    mode: str = "v1",
    max_jobs: int = 0,
    **more: Any,
) -> AsyncIterator[Receiver]:
    providers = segmind(url or f"{host.url}/segmind", mode=mode, max_jobs=max_jobs)
    async with a_receiver(tmp_path, host, providers=providers, clock=at, **more) as receiver:
        yield receiver


@pytest.fixture
async def receiver(tmp_path: Path, host: Host) -> AsyncIterator[Receiver]:
    async with relaying(tmp_path, host) as running:
        yield running


async def relay(receiver: Receiver, **contents: Any) -> httpx.Response:
    return await receiver.client.post("/v1/jobs", json=CONTENTS | contents, headers=AUTH)


async def relayed(receiver: Receiver, **contents: Any) -> dict[str, Any]:
    """A relayed job, when its submit has an outcome."""
    answer = await relay(receiver, **contents)
    assert answer.status_code == 202, answer.text
    await until(lambda: receiver.rows(RELAY_ENDED) == [(0,)])
    return await receiver.job(answer.json()["id"])


def announced(receiver: Receiver) -> list[str]:
    return [kind for (kind,) in receiver.rows("SELECT type FROM notifications ORDER BY sequence")]


# What the answer leads to


async def test_a_video_in_the_answer_is_stored_whole_without_another_request(
    receiver: Receiver, host: Host, clip: bytes
) -> None:
    hook = host.will("/hooks", says(204))
    host.will(SUBMIT, says(200, clip, content_type="video/mp4", x_request="7"))
    job = await relayed(receiver, notify=[{"url": hook}], reference="order-42")
    sha256 = hashlib.sha256(clip).hexdigest()
    assert (job["status"], job["trust"], job["reference"]) == ("succeeded", "relayed", "order-42")
    video = job["video"]
    assert (video["status"], video["sha256"], video["bytes"]) == ("stored", sha256, len(clip))
    assert (video["content_type"], video["width"], video["provider_url"]) == ("video/mp4", 64, None)
    assert [path.read_bytes() for path in receiver.files()] == [clip]
    served_back = await receiver.client.get(f"/v1/jobs/{JOB}/video", headers=AUTH)
    assert served_back.content == clip

    (callback,) = await receiver.callbacks(JOB)
    assert (callback["source"], callback["trust"], callback["verdict"]) == ("relay", "relayed", "applied")
    callback = await receiver.callback(callback["id"])
    assert json.loads(callback["body"]) == {"content_type": "video/mp4", "bytes": len(clip), "sha256": sha256}
    assert ["x-request", "7"] in callback["headers"]
    await until(lambda: host.asked("/hooks") == 2)
    told = [json.loads(whole_body(body)) for _, path, _, body in host.seen if path == "/hooks"]
    assert {entry["type"] for entry in told} == {"job.succeeded", "video.stored"}
    assert announced(receiver) == ["job.succeeded", "video.stored"]
    method, _, headers, body = next(seen for seen in host.seen if seen[1] == SUBMIT)
    assert (method, headers["x-api-key"], json.loads(whole_body(body))["video_url"]) == ("POST", KEY, VIDEO)
    assert host.asked(SUBMIT) == 1
    assert len(host.seen) == 3


@pytest.mark.parametrize("name", ["application/octet-stream", "binary/octet-stream", "image/mp4", "\xff/;;", ""])
async def test_a_whole_video_is_taken_whatever_it_is_called(
    receiver: Receiver, host: Host, clip: bytes, name: str
) -> None:
    host.will(SUBMIT, says(200, clip, content_type=name))
    job = await relayed(receiver)
    assert (job["status"], job["video"]["status"]) == ("succeeded", "stored")
    assert [path.read_bytes() for path in receiver.files()] == [clip]


async def test_a_json_answer_becomes_the_callback_and_its_link_is_downloaded(
    receiver: Receiver, host: Host, clip: bytes
) -> None:
    content = {"video": {"url": host.will("/out.mp4", says(200, clip))}, "credits": 0.5}
    host.will(SUBMIT, says_json(content))
    assert (await relay(receiver)).status_code == 202
    job = await receiver.eventually(JOB, lambda job: job["video"]["status"] == "stored")
    assert (job["status"], job["trust"]) == ("succeeded", "relayed")
    assert announced(receiver) == ["job.succeeded", "video.stored"]
    (callback,) = await receiver.callbacks(JOB)
    kept = await receiver.callback(callback["id"])
    assert (kept["source"], json.loads(kept["body"])) == ("relay", content)
    assert (host.asked(SUBMIT), host.asked("/out.mp4")) == (1, 1)


async def test_a_json_answer_that_tells_of_a_failure_fails_the_job_in_the_providers_words(
    receiver: Receiver, host: Host
) -> None:
    host.will(SUBMIT, says_json({"status": "FAILED", "error": "not such a prompt"}))
    job = await relayed(receiver)
    assert (job["status"], job["error"]["message"]) == ("failed", "not such a prompt")
    assert announced(receiver) == ["job.failed"]
    assert host.asked(SUBMIT) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 406, 422])
async def test_a_refusal_fails_the_job_in_the_providers_words_and_is_not_tried_again(
    receiver: Receiver, host: Host, status: int
) -> None:
    host.will(SUBMIT, says_json({"error": "no such luck"}, status))
    job = await relayed(receiver)
    assert (job["status"], job["error"]["code"]) == ("failed", "submission_refused")
    assert "no such luck" in job["error"]["message"]
    assert job["overdue_at"] is None
    assert announced(receiver) == ["job.failed"]
    await assert_never_again(receiver)
    assert host.asked(SUBMIT) == 1


async def test_a_provider_that_cannot_be_reached_refused_the_job(tmp_path: Path, host: Host) -> None:
    with free_socket() as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    async with relaying(tmp_path, host, url=url, relay_patience_seconds=0) as receiver:
        job = await relayed(receiver)
        assert (job["status"], job["error"]["code"]) == ("failed", "submission_refused")
        assert announced(receiver) == ["job.failed"]
        assert receiver.rows("SELECT count(*) FROM callbacks") == [(0,)]


# What cannot be known


async def assert_never_again(receiver: Receiver) -> None:
    """Give a worker that would send it again every occasion to do so."""
    receiver.clock.move(days=2)
    await receiver.register()  # a commit wakes it
    await asyncio.sleep(0.05)


async def assert_unknown(receiver: Receiver, job: dict[str, Any]) -> None:
    assert (job["status"], job["error"], job["video"]["status"]) == ("unknown", None, "none")
    assert job["overdue_at"] is not None
    assert job["overdue_reason"].startswith("submit_unknown: ")
    assert "geheim" not in job["overdue_reason"]
    assert announced(receiver) == ["job.overdue"]
    (body,) = receiver.rows("SELECT body FROM notifications")[0]
    assert json.loads(whole_body(body))["data"]["overdue_reason"] == job["overdue_reason"]
    assert [path for path in receiver.files() if path.suffix != ".rejected"] == []


def endless(media_type: str, chunk: bytes) -> Answer:
    async def answer(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            while not request.scope["host.closing"].is_set():
                yield chunk
                await pause(request, 0)

        return StreamingResponse(body(), media_type=media_type)

    return answer


DOUBTFUL: dict[str, Callable[[bytes], Answer]] = {
    "500": lambda _: says_json({"error": "it broke"}, 500),
    "502": lambda _: says(502, b"<html>Bad gateway</html>"),
    "503": lambda _: says(503),
    "504": lambda _: says(504),
    "408": lambda _: says(408),
    "a redirect": lambda _: says(307, location="https://10.0.0.1/?key=geheim"),
    "half an object": lambda _: says(200, b'{"video": ', content_type="application/json"),
    "a list": lambda _: says_json([1]),
    "an empty object": lambda _: says_json({}),
    "nothing": lambda _: says(200),
    "204": lambda _: says(204),
    "a page": lambda _: says(200, b"<html>", content_type="text/html"),
    "a page called a video": lambda _: says(200, b"<!doctype html>" * 90, content_type="video/mp4"),
    "an object called a video": lambda _: says(200, b'{"error": "x"}', content_type="video/mp4"),
    "no video at all": lambda _: says(200, content_type="video/mp4"),
    "half a video": lambda clip: says(200, clip[: len(clip) // 2], content_type="video/mp4"),
    "a packed video": lambda clip: says(200, b"\x1f\x8b" + clip, content_type="video/mp4", content_encoding="gzip"),
    "a strange type": lambda _: says(200, b"{}", content_type="\xff/;;\x7f"),
    "a page without end": lambda _: endless("application/json", b" " * 65536),
    "a video without end": lambda _: endless("video/mp4", b"\x00\x00\x00\x18ftypmp42" + b"x" * 65536),
}


@pytest.mark.parametrize("name", DOUBTFUL)
async def test_an_answer_that_leaves_it_open_is_announced_and_the_job_never_sent_again(
    tmp_path: Path, host: Host, clip: bytes, name: str
) -> None:
    host.will(SUBMIT, DOUBTFUL[name](clip))
    async with relaying(tmp_path, host, max_video_bytes=256 * 1024) as receiver:
        job = await relayed(receiver)
        await assert_unknown(receiver, job)
        await assert_never_again(receiver)
        again = await relay(receiver)
        assert (again.status_code, again.json()["status"]) == (202, "unknown")
    async with relaying(tmp_path, host, at=Clock(NOW + timedelta(days=9))) as restarted:
        await assert_never_again(restarted)
        assert (await restarted.job(JOB))["status"] == "unknown"
    assert host.asked(SUBMIT) == 1


@pytest.mark.parametrize(
    ("body", "called"),
    [
        (b'{"data": {"video_link": "https://cdn.segmind.com/paid.mp4"}}', "application/json"),
        (b"not what it was" * 9, "text/plain"),
        (b'{"error": "x"}', "video/mp4"),
    ],
)
async def test_a_paid_answer_that_cannot_be_read_is_kept_as_it_came(
    receiver: Receiver, host: Host, body: bytes, called: str
) -> None:
    host.will(SUBMIT, says(200, body, content_type=called, x_request="7"))
    job = await relayed(receiver)
    (callback,) = await receiver.callbacks(JOB)
    assert (callback["source"], callback["trust"], callback["verdict"]) == ("relay", "relayed", "unrecognised")
    assert callback["id"] in job["overdue_reason"]
    kept = await receiver.callback(callback["id"])
    assert kept["body"] == body.decode()
    assert ["x-request", "7"] in kept["headers"]
    await assert_unknown(receiver, job)


async def test_a_video_that_is_none_is_put_aside_and_its_beginning_is_the_callback(
    receiver: Receiver, host: Host, clip: bytes
) -> None:
    host.will(SUBMIT, says(200, clip[: len(clip) // 2], content_type="video/mp4"))
    await relayed(receiver)
    (callback,) = await receiver.callbacks(JOB)
    ((kept,),) = receiver.rows("SELECT body FROM callbacks")
    assert (callback["verdict"], kept) == ("unrecognised", clip[:1024])
    (aside,) = receiver.files()
    assert (aside.name, aside.read_bytes()) == (f"{JOB}.mp4.rejected", clip[: len(clip) // 2])
    assert aside.name in (await receiver.job(JOB))["overdue_reason"]


async def test_a_later_version_that_can_read_it_gets_the_paid_video_from_what_was_kept(
    receiver: Receiver, host: Host, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = host.will("/out.mp4", says(200, clip))
    host.will(SUBMIT, says_json({"odd": {"name": link}}))
    await relayed(receiver)
    (callback,) = await receiver.callbacks(JOB)
    read = Segmind.parse_callback

    def reads_more(self: Segmind, callback: Callback) -> JobEvent:
        found = json.loads(callback.body)["odd"]["name"]
        return read(self, msgspec.structs.replace(callback, body=json.dumps({"video": {"url": found}}).encode()))

    monkeypatch.setattr(Segmind, "parse_callback", reads_more)
    answer = await receiver.client.post(
        f"/v1/callbacks/{callback['id']}/replay", json={"what": list(Step), "dry_run": False}, headers=AUTH
    )
    assert answer.status_code == 200, answer.text
    await receiver.eventually(JOB, lambda job: job["video"]["status"] == "stored")
    assert host.asked(SUBMIT) == 1


@pytest.mark.parametrize("kind", ["before an answer", "in the head", "in the middle", "in the middle of a chunk"])
async def test_a_connection_cut_off_leaves_the_outcome_open(tmp_path: Path, host: Host, clip: bytes, kind: str) -> None:
    posts = 0
    half = clip[: len(clip) // 2]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\n"
    written = {
        "before an answer": b"",
        "in the head": head,
        "in the middle": head + b"content-length: %d\r\n\r\n" % len(clip) + half,
        "in the middle of a chunk": head + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(clip) + half,
    }[kind]

    async def script(writer: asyncio.StreamWriter) -> None:
        nonlocal posts
        posts += 1
        writer.write(written)

    async with raw_host(script) as url, relaying(tmp_path, host, url=url) as receiver:
        await assert_unknown(receiver, await relayed(receiver))
        await assert_never_again(receiver)
        assert posts == 1


async def test_a_video_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(
    tmp_path: Path, host: Host, clip: bytes
) -> None:
    host.will(SUBMIT, says(200, clip, content_type="Video/MP4; codecs=avc1"))
    for limit, status in ((len(clip), "succeeded"), (len(clip) - 1, "unknown")):
        async with relaying(tmp_path / status, host, max_video_bytes=limit) as receiver:
            job = await relayed(receiver)
            assert job["status"] == status
            assert len(receiver.files()) == (status == "succeeded")


async def test_an_id_that_another_job_has_leaves_the_outcome_open_at_once_and_says_why(
    tmp_path: Path, host: Host
) -> None:
    host.will(SUBMIT_V2, QUEUED)
    host.will(QUESTION, QUEUED)
    second = new_id("job", at=NOW.timestamp())
    async with relaying(tmp_path, host, mode="v2") as receiver:
        await relay(receiver)
        await receiver.eventually(JOB, lambda job: job["status"] == "submitted")
        await relay(receiver, id=second)
        job = await receiver.eventually(second, lambda job: job["status"] != "created")
        assert (job["status"], job["provider_job_id"]) == ("unknown", None)
        assert "belongs to another job" in job["overdue_reason"]
        assert "stopped" not in job["overdue_reason"]
        assert receiver.rows(RELAY_ENDED) == [(0,)]
        assert (await receiver.job(JOB))["status"] == "submitted"
    assert host.asked(SUBMIT_V2) == 2


def held(gate: asyncio.Event, answer: Answer) -> Answer:
    """Answer when the gate is opened."""

    async def late(request: Request) -> Response:
        waiting = [asyncio.create_task(event.wait()) for event in (gate, request.scope["host.closing"])]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return await answer(request)

    return late


async def test_a_receiver_stopped_in_the_middle_of_the_submit_does_not_send_it_again(
    tmp_path: Path, host: Host, clip: bytes
) -> None:
    gate = asyncio.Event()
    host.will(SUBMIT, held(gate, says(200, clip, content_type="video/mp4")))
    async with relaying(tmp_path, host, max_jobs=1) as receiver:
        assert (await relay(receiver)).status_code == 202
        await until(lambda: host.asked(SUBMIT) == 1)
    async with relaying(tmp_path, host, max_jobs=1) as restarted:  # it has the place itself
        job = await restarted.eventually(JOB, lambda job: job["status"] != "created")
        await assert_unknown(restarted, job)
        assert "stopped" in job["overdue_reason"]
        await assert_never_again(restarted)
    assert host.asked(SUBMIT) == 1


async def test_a_video_whose_look_inside_a_stop_came_upon_is_looked_into_after_it(
    tmp_path: Path, host: Host, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, goes_on = threading.Event(), threading.Event()

    ask = media_pool._Child.ask

    def slow(self: media_pool._Child, path: Path) -> dict[str, Any]:
        looks.set()
        goes_on.wait(60)
        return ask(self, path)

    host.will(SUBMIT, says(200, clip, content_type="video/mp4"))
    with monkeypatch.context() as patch:
        patch.setattr(media_pool._Child, "ask", slow)
        patch.setattr("replyhook_receiver.work.worker._STOP_SECONDS", 0.1)
        async with relaying(tmp_path, host) as receiver:
            await relay(receiver)
            await until(looks.is_set)
        goes_on.set()
        assert [path.name for path in receiver.files()] == [f".{JOB}.mp4.unchecked"]
    async with relaying(tmp_path, host) as restarted:
        job = await restarted.eventually(JOB, lambda job: job["video"]["status"] == "stored")
        assert (job["status"], job["video"]["sha256"]) == ("succeeded", hashlib.sha256(clip).hexdigest())
        assert [path.read_bytes() for path in restarted.files()] == [clip]
    assert host.asked(SUBMIT) == 1


async def test_a_receiver_killed_in_the_middle_of_the_submit_does_not_send_it_again(
    tmp_path: Path, host: Host, clip: bytes
) -> None:
    """Of one that was killed, a lease is all that remains: another one finds it when it has run out."""
    gate = asyncio.Event()
    host.will(SUBMIT, held(gate, says(200, clip, content_type="video/mp4")))
    async with relaying(tmp_path, host) as receiver:
        assert (await relay(receiver)).status_code == 202
        await until(lambda: host.asked(SUBMIT) == 1)
        async with relaying(tmp_path, host, at=Clock(NOW + timedelta(seconds=31))) as other:
            job = await other.eventually(JOB, lambda job: job["status"] != "created")
            await assert_unknown(other, job)
            await assert_never_again(other)
            assert announced(receiver) == ["job.overdue"]
        gate.set()  # the first one lives after all: what it is answered is paid for, and kept
        await receiver.eventually(JOB, lambda job: job["video"]["status"] == "stored")
    assert host.asked(SUBMIT) == 1


async def test_an_answer_that_comes_after_a_long_stall_is_kept(tmp_path: Path, host: Host, clip: bytes) -> None:
    """A machine that slept finds its lease gone and the paid video arriving all the same."""
    gate = asyncio.Event()
    host.will(SUBMIT, held(gate, says(200, clip, content_type="video/mp4")))
    async with relaying(tmp_path, host) as receiver:
        await relay(receiver)
        await until(lambda: host.asked(SUBMIT) == 1)
        receiver.clock.move(seconds=31)
        await receiver.register()  # wakes the worker, which must not take its own task over
        await asyncio.sleep(0.1)
        assert (await receiver.job(JOB))["status"] == "created"
        gate.set()
        await receiver.eventually(JOB, lambda job: job["video"]["status"] == "stored")
        assert len(receiver.files()) == 1
        assert "job.overdue" not in announced(receiver)
    assert host.asked(SUBMIT) == 1


async def test_no_more_submits_are_held_open_than_may(tmp_path: Path, host: Host, clip: bytes) -> None:
    gate = asyncio.Event()
    host.will(SUBMIT, held(gate, says(200, clip, content_type="video/mp4")))
    async with relaying(tmp_path, host, relay_concurrency=2) as receiver:
        for _ in range(5):
            assert (await relay(receiver, id=new_id("job"))).status_code == 202
        await until(lambda: host.asked(SUBMIT) == 2)
        await asyncio.sleep(0.1)
        assert host.asked(SUBMIT) == 2
        gate.set()
        await until(lambda: receiver.rows(RELAY_ENDED) == [(0,)])
        assert host.asked(SUBMIT) == 5
        assert {path.read_bytes() for path in receiver.files()} == {clip}


# The asynchronous mode


async def test_the_asynchronous_mode_is_asked_for_its_result_once_it_can_be_there(
    tmp_path: Path, host: Host, clip: bytes
) -> None:
    host.will(SUBMIT_V2, QUEUED)
    host.will(f"{QUESTION}/status", says_json({"request_id": "q-1", "status": "COMPLETED"}))
    link = host.will("/out.mp4", says(200, clip))
    host.will(QUESTION, says_json({"request_id": "q-1", "status": "COMPLETED", "output": {"video": {"url": link}}}))
    async with relaying(tmp_path, host, mode="v2") as receiver:
        job = await relayed(receiver)
        assert (job["status"], job["provider_job_id"], job["overdue_at"]) == ("submitted", "q-1", None)
        (due,) = receiver.rows("SELECT due_ms FROM deadlines")
        assert due == (int((NOW + timedelta(seconds=150)).timestamp() * 1000),)
        receiver.clock.move(seconds=149)
        await receiver.register()
        await asyncio.sleep(0.05)
        assert host.asked(f"{QUESTION}/status") == 0
        receiver.clock.move(seconds=2)
        await receiver.register()
        job = await receiver.eventually(JOB, lambda job: job["video"]["status"] == "stored")
        assert (job["status"], job["trust"]) == ("succeeded", "reconciled")
        assert announced(receiver)[-2:] == ["job.succeeded", "video.stored"]
        (callback,) = await receiver.callbacks(JOB)
        assert callback["source"] == "reconcile"
    assert (host.asked(SUBMIT_V2), host.asked(f"{QUESTION}/status"), host.asked(QUESTION)) == (1, 1, 1)


async def test_a_job_of_the_asynchronous_mode_that_failed_is_failed(tmp_path: Path, host: Host) -> None:
    host.will(SUBMIT_V2, QUEUED)
    host.will(f"{QUESTION}/status", says_json({"status": "FAILED", "error": "not such a prompt"}, 422))
    async with relaying(tmp_path, host, mode="v2") as receiver:
        await relayed(receiver)
        receiver.clock.move(seconds=151)
        await receiver.register()
        job = await receiver.eventually(JOB, lambda job: job["status"] == "failed")
        assert job["error"]["message"] == "not such a prompt"
        assert announced(receiver)[-1] == "job.failed"


async def test_an_asynchronous_answer_that_is_done_at_once_is_the_callback(
    tmp_path: Path, host: Host, clip: bytes
) -> None:
    link = host.will("/out.mp4", says(200, clip))
    host.will(SUBMIT_V2, says_json({"request_id": "q-1", "status": "COMPLETED", "output": [link]}))
    async with relaying(tmp_path, host, mode="v2") as receiver:
        await relayed(receiver)
        job = await receiver.eventually(JOB, lambda job: job["video"]["status"] == "stored")
        assert (job["provider_job_id"], job["trust"]) == ("q-1", "relayed")
        assert (await receiver.client.get("/v1/questions", headers=AUTH)).json() == {}


# Providers that call back may be relayed too


async def test_a_provider_that_calls_back_is_given_a_reply_url_that_works(tmp_path: Path, host: Host) -> None:
    reply_urls: list[str] = []

    async def takes(request: Request) -> Response:
        reply_urls.append(request.query_params["fal_webhook"])
        return await says_json({"request_id": "r-1"})(request)

    host.will("/fal/fal-ai/pixverse/v6/extend", takes)
    async with a_receiver(tmp_path, host, providers={"fal": {"api_key": "fal-geheim"}}) as receiver:
        job = await relayed(receiver, provider="fal")
        assert (job["status"], job["provider_job_id"]) == ("submitted", "r-1")
        (path,) = [url.removeprefix(PUBLIC_URL) for url in reply_urls]
        body = fal_body("r-1", "ERROR")
        answer = await receiver.client.post(path, content=body, headers=receiver.fal.headers(body, request_id="r-1"))
        assert answer.status_code == 200
        job = await receiver.job(JOB)
        assert (job["status"], job["trust"]) == ("failed", "signed")


# What is taken


async def test_nobody_else_reports_what_became_of_a_submit_that_the_receiver_makes(
    receiver: Receiver, host: Host, clip: bytes
) -> None:
    gate = asyncio.Event()
    host.will(SUBMIT, held(gate, says(200, clip, content_type="video/mp4")))
    await relay(receiver)
    await until(lambda: host.asked(SUBMIT) == 1)
    content = {"outcome": "refused", "error": "so I say"}
    answer = await receiver.client.post(f"/v1/jobs/{JOB}/submission", json=content, headers=AUTH)
    gate.set()
    assert answer.status_code == 409
    await receiver.eventually(JOB, lambda job: job["video"]["status"] == "stored")


async def test_a_job_is_taken_before_it_is_submitted(receiver: Receiver, host: Host) -> None:
    gate = asyncio.Event()
    host.will(SUBMIT, held(gate, says(500)))
    answer = await relay(receiver, user="u_7")
    shown = answer.json()
    assert (answer.status_code, shown["id"], shown["status"], shown["user"]) == (202, JOB, "created", "u_7")
    assert "reply_url" not in shown
    assert "geheim" not in answer.text
    gate.set()


async def test_an_id_is_made_where_none_is_given(receiver: Receiver, host: Host) -> None:
    host.will(SUBMIT, says(500))
    contents = {name: value for name, value in CONTENTS.items() if name != "id"}
    answers = [await receiver.client.post("/v1/jobs", json=contents, headers=AUTH) for _ in range(2)]
    assert len({answer.json()["id"] for answer in answers}) == 2


async def test_the_same_job_twice_is_submitted_once_and_another_one_of_its_id_is_a_conflict(
    receiver: Receiver, host: Host
) -> None:
    host.will(SUBMIT, says_json({"error": "no"}, 400))
    answers = await asyncio.gather(*(relay(receiver) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    await until(lambda: receiver.rows(RELAY_ENDED) == [(0,)])
    assert (await relay(receiver)).status_code == 202
    # What the provider requires is filled in, so saying it is the same job.
    assert (await relay(receiver, request={"prompt": "on", "duration": 5})).status_code == 202
    for other in ({"video": "https://a.example/other.mp4"}, {"request": {"prompt": "off"}}, {"reference": "x"}):
        assert (await relay(receiver, **other)).status_code == 409, other
    registered = await receiver.client.put(f"/v1/jobs/{JOB}", json={"provider": "segmind"}, headers=AUTH)
    assert registered.status_code == 409
    await assert_never_again(receiver)
    assert host.asked(SUBMIT) == 1


BAD: list[tuple[dict[str, Any], str]] = [
    ({"video": "in.mp4"}, "video"),
    ({"video": "/etc/hostname"}, "video"),
    ({"video": ""}, "video"),
    ({"video": "x" * 5000}, "video"),
    ({"video": "https://"}, "video"),
    ({"video": "ftp://a.example/in.mp4"}, "video"),
    ({"video": "file:///etc/hostname"}, "video"),
    ({"video": 7}, "video"),
    ({"request": {}}, "request"),
    ({"request": {"prompt": 7}}, "request"),
    ({"request": {"prompt": ""}}, "prompt"),
    ({"request": {"prompt": "on", "duration": 6}}, "duration"),
    ({"request": {"prompt": "on", "duration": 8, "quality": "1080p"}}, "duration"),
    ({"request": {"prompt": "on", "duration": 8, "motion_mode": "fast"}}, "duration"),
    ({"request": {"prompt": "on", "style": "anime"}}, "style"),
    ({"request": {"prompt": "on", "seed": 0}}, "seed"),
    ({"request": {"prompt": "on", "options": {"colour": "red"}}}, "options['colour']"),
    ({"request": {"prompt": "on", "colour": "red"}}, "request"),
    ({"colour": "red"}, "body"),
    ({"provider": "nobody"}, "provider"),
    ({"provider": "fal"}, "provider"),
    ({"id": "order-42"}, "id"),
    ({"account": "a b"}, "account"),
    ({"notify": [{"url": "https://10.0.0.1/hook"}]}, "notify"),
]


@pytest.mark.parametrize(("change", "field"), BAD, ids=lambda value: repr(value)[:50])
async def test_what_cannot_be_submitted_is_a_422_that_names_the_field_and_nothing_is_noted(
    receiver: Receiver, host: Host, change: dict[str, Any], field: str
) -> None:
    answer = await relay(receiver, **change)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    assert KEY not in answer.text
    assert receiver.rows("SELECT count(*) FROM jobs") == [(0,)]
    assert host.seen == []


async def test_without_the_providers_key_the_receiver_says_which_variable_to_set(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, providers=segmind(host.url, api_key="")) as receiver:
        answer = await relay(receiver)
        assert (answer.status_code, answer.json()["field"]) == (422, "provider")
        assert "SEGMIND_API_KEY" in answer.json()["allowed"]


async def test_nobody_learns_which_files_the_receiver_has(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "is-there").write_text("x")
    answers = [await relay(receiver, video=str(tmp_path / name)) for name in ("is-there", "not-there")]
    assert len({answer.json()["allowed"] for answer in answers}) == 1


async def test_without_a_valid_key_nothing_is_taken(receiver: Receiver, host: Host) -> None:
    for headers in ({}, {"authorization": f"Bearer {API_KEY}x"}):
        answer = await receiver.client.post("/v1/jobs", json=CONTENTS, headers=headers)
        assert answer.status_code == 401
    assert host.seen == []


# As a program has it


async def with_a_client(tmp_path: Path, host: Host, use: Callable[[Client], Any]) -> Any:
    settings = settings_for(tmp_path, providers=segmind(f"{host.url}/segmind"))
    async with served(create_app(settings, secrets=SECRETS), free_socket()) as url:

        def run() -> Any:
            with Client(receiver_url=url, api_key=API_KEY) as client:
                return use(client)

        return await asyncio.to_thread(run)


async def test_a_client_without_the_providers_key_submits_waits_and_downloads(tmp_path: Path, clip: bytes) -> None:
    async with a_host() as host:
        host.will(SUBMIT, says(200, clip, content_type="video/mp4"))

        def use(client: Client) -> str:
            job = client.submit(provider="segmind", video=VIDEO, prompt="on", reply_ref="order-42")
            ended = job.wait(timeout=60)
            job.download(tmp_path / "out.mp4")
            return str(ended.type)

        assert await with_a_client(tmp_path, host, use) == "video.stored"
        assert (tmp_path / "out.mp4").read_bytes() == clip
        assert [path for _, path, _, _ in host.seen] == [SUBMIT]
