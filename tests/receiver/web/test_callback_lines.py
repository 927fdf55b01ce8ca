"""What the log says of callbacks: a line of JSON for each that is refused, and for what is to be looked into."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from replyhook.ids import is_id, new_id
from replyhook.providers.useapi import UseAPI
from replyhook.tokens import ReplyKeys
from replyhook_receiver.callback_lines import MANY, CallbackLines
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import Accepted
from replyhook_receiver.short_way import Answer
from replyhook_receiver.web import callbacks
from tests.receiver.json_log import Log, a_log
from tests.receiver.support import NOW, PERSONAL_ID, Clock, Host, Receiver, a_receiver, fal_body, says, useapi_body

REQUEST_ID = "123e4567-e89b-12d3-a456-426614174000"
DETACHED = "u_7:detached-0123456789-0123456789"
ACCESS = "replyhook.access"
ABOUT = "replyhook_receiver.callback_lines"
OTHER_USER = "signed for another fal user than the pinned one"
Way = Callable[[Receiver, str, bytes, dict[str, str]], Awaitable[int]]


@pytest.fixture
def log() -> Iterator[Log]:
    with a_log() as log:
        yield log


async def as_asgi(receiver: Receiver, path: str, body: bytes, headers: dict[str, str]) -> int:
    return (await receiver.client.post(path, content=body, headers=headers)).status_code


async def the_short_way(receiver: Receiver, path: str, body: bytes, headers: dict[str, str]) -> int:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": raw, "client": ("127.0.0.1", 5)}
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    if not receiver.app.state.callbacks.take(scope, body, answered.set_result):
        return await as_asgi(receiver, path, body, headers)
    return (await asyncio.wait_for(answered, 60)).status


@pytest.fixture(params=[as_asgi, the_short_way])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def assert_is_line(line: dict[str, Any], *, status: int, reason: str, **about: str) -> None:
    """It has the fields of every line of the access log, and of a callback's exactly these."""
    assert is_id("req", line.pop("request_id"))
    assert 0 <= line.pop("ms") < 60_000
    assert reason in line["message"]
    for name in ("time", "message", "logger"):
        line.pop(name)
    fields = {"level": "info", "method": "POST", "route": "/callbacks/{provider}/{token}"}
    assert line == {**fields, "status": status, "reason": reason, **about}


# Refused


async def test_what_has_no_valid_token_is_told_with_its_reason_and_without_a_job(
    receiver: Receiver, log: Log, way: Way
) -> None:
    _, path = await receiver.register("fal")
    assert await way(receiver, "/callbacks/geheim/x", b"{}", {}) == 404
    assert await way(receiver, f"{path}geheim", b"{}", {"x-geheim": "geheim"}) == 401
    unknown, wrong = log.lines(ACCESS, route="/callbacks/{provider}/{token}")
    ((reason, count),) = (await receiver.refusals())["fal"].items()
    assert count == 1
    assert_is_line(unknown, status=404, reason="no such provider")
    assert_is_line(wrong, status=401, reason=reason, provider="fal")
    assert "geheim" not in log.stream.getvalue()


async def test_too_many_wrong_tokens_are_told_with_the_reason_of_each(
    tmp_path: Path, host: Host, log: Log, way: Way
) -> None:
    async with a_receiver(tmp_path, host, refusals_per_minute=1) as receiver:
        assert [await way(receiver, "/callbacks/fal/x", b"{}", {}) for _ in range(2)] == [401, 429]
        ((reason, count),) = (await receiver.refusals())["fal"].items()
    assert count == 2
    for line, status in zip(log.lines(ACCESS, provider="fal"), (401, 429), strict=True):
        assert_is_line(line, status=status, reason=reason, provider="fal")


async def test_every_failed_check_is_told_in_the_words_it_is_counted_by_and_with_its_job(
    tmp_path: Path, host: Host, log: Log, way: Way
) -> None:
    async with a_receiver(tmp_path, host, providers={"fal": {"user_ids": ("us",)}}) as receiver:
        job, path = await receiver.register("fal")
        body = fal_body(REQUEST_ID)
        good = receiver.fal.headers(body, request_id=REQUEST_ID, user_id="us")
        for headers in (
            {},
            good | {"x-fal-webhook-signature": "geheim"},
            receiver.fal.headers(body, request_id=REQUEST_ID, user_id="us", age=400),
            receiver.fal.headers(body, request_id=REQUEST_ID, user_id="geheim-user"),
        ):
            assert await way(receiver, path, body, headers) == 401
        assert await way(receiver, path, body + b" ", good) == 401
        counted = (await receiver.refusals())["fal"]
    found = log.lines(ACCESS, route="/callbacks/{provider}/{token}")
    assert len(counted) == len(found) == 5
    assert OTHER_USER in counted
    assert {line["reason"]: 1 for line in found} == counted
    for line in found:
        assert_is_line(line, status=401, reason=line["reason"], provider="fal", job_id=job)
    assert "geheim" not in log.stream.getvalue()


async def test_what_is_too_large_or_not_a_post_is_told(tmp_path: Path, host: Host, log: Log, way: Way) -> None:
    async with a_receiver(tmp_path, host, max_callback_bytes=2048) as receiver:
        job, path = await receiver.register()
        assert await way(receiver, path, b"x" * 2049, {"content-length": "2049"}) == 413
        assert await way(receiver, path, b"{}", {f"x-{number}": "geheim" for number in range(101)}) == 431
        assert (await receiver.client.put(path)).status_code == 405
    large, headers, put = log.lines(ACCESS, route="/callbacks/{provider}/{token}")
    about = {"provider": "useapi", "job_id": job}
    assert_is_line(large, status=413, reason="the body is larger than any callback", **about)
    assert_is_line(headers, status=431, reason="more headers than any provider sends", **about)
    assert_is_line(put, status=405, reason="only POST", method="PUT")


async def test_bodies_that_do_not_come_or_have_no_room_are_told(
    tmp_path: Path, host: Host, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "BODY_SECONDS", 0.05)
    async with a_receiver(tmp_path, host, max_held_bytes=1024, max_callback_bytes=1024) as receiver:
        job, path = await receiver.register()

        async def never() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        async def hangs_up() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def heard(message: Any) -> None:
            pass

        assert (await receiver.client.post(path, content=never())).status_code == 408
        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "client": ("127.0.0.1", 5)}
        await receiver.app.state.callbacks(scope, hangs_up, heard)
        receiver.app.state.callbacks._held_bytes = 1023
        assert await as_asgi(receiver, path, b"{}", {}) == 503
    slow, gone, held = log.lines(ACCESS, job_id=job, route="/callbacks/{provider}/{token}")
    about = {"provider": "useapi", "job_id": job}
    assert_is_line(slow, status=408, reason="the body did not come in time", **about)
    assert_is_line(gone, status=400, reason="the sender hung up before the body was whole", **about)
    assert_is_line(held, status=503, reason="more bodies wait than may be held", **about)


async def test_our_own_trouble_is_told_as_such_with_its_job(receiver: Receiver, host: Host, log: Log, way: Way) -> None:
    signed, signed_path = await receiver.register("fal")
    host.will(receiver.fal.PATH, says(500))
    body = fal_body(REQUEST_ID)
    assert await way(receiver, signed_path, body, receiver.fal.headers(body, request_id=REQUEST_ID)) == 503
    job, path = await receiver.register()
    with closing(sqlite3.connect(receiver.settings.database_path)) as raw:
        raw.execute("DROP TABLE callbacks")
    assert await way(receiver, path, useapi_body(job), {}) == 503
    keys, store = (log.lines(ACCESS, job_id=each, status=503)[0] for each in (signed, job))
    (counted,) = (await receiver.refusals())["fal"]
    assert_is_line(keys, status=503, reason=counted, provider="fal", job_id=signed)
    assert_is_line(store, status=503, reason="the store takes nothing now", provider="useapi", job_id=job)


async def test_a_fault_of_ours_is_an_error_with_its_traceback_and_the_same_fields(
    receiver: Receiver, log: Log, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, path = await receiver.register()

    def broken(*_: Any) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(UseAPI, "parse_callback", broken)
    assert await way(receiver, path, useapi_body(job), {}) == 503
    (line,) = log.lines(ACCESS, level="error")
    assert "LookupError: a bug" in line.pop("exception")
    about = {"provider": "useapi", "job_id": job, "level": "error"}
    assert_is_line(line, status=503, reason="a fault of ours while taking a callback", **about)


async def test_what_was_taken_has_its_line_at_debug_alone(receiver: Receiver, log: Log, way: Way) -> None:
    job, path = await receiver.register()
    assert await way(receiver, path, useapi_body(job, progress=1), {}) == 200
    assert log.lines(ACCESS, status=200, route="/callbacks/{provider}/{token}") == []
    logging.getLogger("replyhook").setLevel(logging.DEBUG)
    assert await way(receiver, path, useapi_body(job, progress=2), {}) == 200
    (line,) = log.lines(ACCESS, status=200, route="/callbacks/{provider}/{token}")
    assert (line["level"], line["provider"], line["job_id"]) == ("debug", "useapi", job)
    assert is_id("req", line["request_id"])
    assert "reason" not in line


# To look into


async def test_a_conflict_and_what_cannot_be_read_are_told_with_job_and_callback(
    receiver: Receiver, log: Log, way: Way
) -> None:
    job, path = await receiver.register()
    for body in (useapi_body(job, "FAILED"), useapi_body(new_id("job")), b"geheim"):
        assert await way(receiver, path, body, {}) == 200
    kept = {each["verdict"]: each["id"] for each in await receiver.callbacks()}
    (conflict,) = log.lines(ABOUT, level="warning")
    (unread,) = log.lines(ABOUT, level="info")
    for line, verdict in ((conflict, "conflict"), (unread, "unrecognised")):
        assert (line["provider"], line["job_id"], line["callback_id"]) == ("useapi", job, kept[verdict])
        assert f"replyhook callbacks get {kept[verdict]}" in line["message"]
    assert PERSONAL_ID not in log.stream.getvalue()
    assert "geheim" not in log.stream.getvalue()


async def test_another_fal_user_is_warned_of_with_what_to_do_and_once_a_minute(
    tmp_path: Path, host: Host, log: Log, way: Way
) -> None:
    async with a_receiver(tmp_path, host, providers={"fal": {"user_ids": ("us",)}}) as receiver:
        job, path = await receiver.register("fal")
        body = fal_body(REQUEST_ID)
        theirs = receiver.fal.headers(body, request_id=REQUEST_ID, user_id="geheim-user")
        assert [await way(receiver, path, body, theirs) for _ in range(5)] == [401] * 5
    (line,) = log.lines(ABOUT, level="warning")
    assert (line["provider"], line["job_id"]) == ("fal", job)
    assert "REPLYHOOK_PROVIDERS__FAL__USER_IDS" in line["message"]
    assert "replyhook doctor" in line["message"]
    assert len(log.lines(ACCESS, reason=OTHER_USER)) == 5
    assert "geheim" not in log.stream.getvalue()


async def test_a_users_limit_of_detached_jobs_is_warned_of_once_a_minute(
    tmp_path: Path, host: Host, log: Log, way: Way
) -> None:
    more: dict[str, Any] = {"reply_keys": DETACHED, "allow_detached": True, "max_detached_jobs": 1}
    async with a_receiver(tmp_path, host, **more) as receiver:
        statuses = []
        for job in (new_id("job") for _ in range(4)):
            token = ReplyKeys([DETACHED]).mint(provider="useapi", job_id=job, reference=None, now=NOW)
            statuses.append(await way(receiver, f"/callbacks/useapi/{token}", useapi_body(job, video_id=job), {}))
    assert statuses == [200, 503, 503, 503]
    (line,) = log.lines(ABOUT, level="warning")
    assert (line["provider"], is_id("job", line["job_id"])) == ("useapi", True)
    assert "REPLYHOOK_MAX_DETACHED_JOBS" in line["message"]
    reasons = {line["reason"] for line in log.lines(ACCESS, status=503)}
    assert reasons == {"1 detached jobs of one user have appeared within a day"}


def test_lines_of_a_kind_are_few_a_minute_and_the_next_one_counts_those_left_out(log: Log) -> None:
    clock = Clock()
    written = CallbackLines(clock=clock.monotonic)
    for _ in range(MANY + 5):
        written.kept("fal", Accepted(callback_id="cb_1", job_id="job_1", verdict=Verdict.CONFLICT))
    written.kept("fal", Accepted(callback_id="cb_1", job_id="job_1", verdict=Verdict.DUPLICATE))
    written.kept("fal", Accepted(callback_id="cb_1", job_id=None, verdict=Verdict.UNRECOGNISED))
    written.kept("useapi", Accepted(callback_id="cb_1", job_id="job_1", verdict=Verdict.CONFLICT))
    assert len(log.lines(ABOUT, level="warning", provider="fal")) == MANY
    assert len(log.lines(ABOUT, level="warning", provider="useapi")) == 1
    (unread,) = log.lines(ABOUT, level="info")
    assert "job_id" not in unread
    for _ in range(3):
        written.other_sender("fal", "job_1")
    clock.move(seconds=60)
    written.other_sender("fal", "job_1")
    written.kept("fal", Accepted(callback_id="cb_1", job_id="job_1", verdict=Verdict.CONFLICT))
    user, conflict = (line["message"] for line in log.lines(ABOUT, provider="fal")[-2:])
    assert user.endswith("(2 more like it since the last such line)")
    assert conflict.endswith("(5 more like it since the last such line)")
