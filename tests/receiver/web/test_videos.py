"""Stored videos over HTTP: with a key, by signed links, in parts, and from an object store."""

import base64
import hashlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio import to_thread
from itsdangerous import Signer

from replyhook import Client
from replyhook.ids import new_id
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.told import whole_body
from replyhook_receiver.video_links import VideoLinks
from replyhook_receiver.web.app import create_app
from replyhook_receiver.web.videos import span_of
from tests.receiver.object_store import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectServer
from tests.receiver.support import (
    API_KEY,
    AUTH,
    NOW,
    PUBLIC_URL,
    SECRETS,
    SIGNING_KEY,
    TOKENS,
    Host,
    Receiver,
    a_receiver,
    says,
    settings_for,
    useapi_body,
)

OTHER_JOB = "job_06gzv450ms5sr0bq1v26sekk1e"
WEEK = 7 * 24 * 3600
LIKE_OURS: dict[str, Any] = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
OTHER_PURPOSES = ("replyhook.reply-url.job", "replyhook.reply-url.account", "replyhook.reply-url.detached", "")
WEEK_LONG = timedelta(seconds=WEEK)

SAME = {"x-request-id": "the-same-request"}


async def stored(receiver: Receiver, host: Host, clip: bytes) -> tuple[str, str]:
    """A job whose video is stored, and the path of its signed link."""
    link = host.will("/one.mp4", says(200, clip))
    job, path = await receiver.register("useapi")
    await receiver.client.post(path, content=useapi_body(job, "COMPLETED", url=link))
    shown = await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")
    assert shown["video"]["url"].startswith(f"{PUBLIC_URL}/videos/{job}.")
    return job, shown["video"]["url"].removeprefix(PUBLIC_URL)


SAME_ID = {"x-request-id": "the-same-for-all"}


def is_problem(answer: httpx.Response, status: int) -> bool:
    assert answer.status_code == status, answer.text
    return answer.headers["content-type"] == "application/problem+json" and answer.json()["status"] == status


@pytest.fixture(params=["with a key", "by a signed link"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def offered(receiver: Receiver, host: Host, clip: bytes, how: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
    job, link = await stored(receiver, host, clip)
    yield (f"/v1/jobs/{job}/video", AUTH) if how == "with a key" else (link, {})


# What is answered


async def test_a_video_is_served_whole_and_in_parts(receiver: Receiver, host: Host, clip: bytes, how: str) -> None:
    async with offered(receiver, host, clip, how) as (path, auth):
        whole = await receiver.client.get(path, headers=auth)
        assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, clip, "video/mp4")
        digest = hashlib.sha256(clip)
        assert whole.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        assert whole.headers["etag"] == f'"{digest.hexdigest()}"'
        assert whole.headers["content-length"] == str(len(clip))
        assert whole.headers["accept-ranges"] == "bytes"
        assert whole.headers["x-content-type-options"] == "nosniff"
        assert whole.headers["content-disposition"].startswith('inline; filename="job_')
        part = await receiver.client.get(path, headers=auth | {"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, clip[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(clip)}"
        tail = await receiver.client.get(path, headers=auth | {"range": "bytes=-5"})
        assert (tail.status_code, tail.content) == (206, clip[-5:])
        beyond = await receiver.client.get(path, headers=auth | {"range": f"bytes={len(clip)}-"})
        assert is_problem(beyond, 416)
        assert beyond.headers["content-range"] == f"bytes */{len(clip)}"


async def test_a_head_tells_all_and_sends_nothing(receiver: Receiver, host: Host, clip: bytes, how: str) -> None:
    async with offered(receiver, host, clip, how) as (path, auth):
        whole = await receiver.client.get(path, headers=auth | SAME)
        head = await receiver.client.head(path, headers=auth | SAME | {"range": "bytes=0-1"})
        assert (head.status_code, head.content) == (200, b"")
        assert dict(head.headers) == dict(whole.headers)


async def test_who_has_it_already_is_told_so(receiver: Receiver, host: Host, clip: bytes, how: str) -> None:
    async with offered(receiver, host, clip, how) as (path, auth):
        etag = (await receiver.client.get(path, headers=auth)).headers["etag"]
        for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
            answer = await receiver.client.get(path, headers=auth | {"if-none-match": known, "range": "bytes=0-1"})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        changed = await receiver.client.get(path, headers=auth | {"if-none-match": '"x"'})
        assert changed.status_code == 200
        for header, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200)):
            answer = await receiver.client.get(path, headers=auth | {"range": "bytes=0-1", "if-range": header})
            assert answer.status_code == status


async def test_many_ranges_are_answered_with_the_whole_once(receiver: Receiver, host: Host, clip: bytes) -> None:
    _, link = await stored(receiver, host, clip)
    for ranges in ("bytes=0-1,3-4", "bytes=" + ",".join("0-" for _ in range(2000)), "bytes=0-1" + " " * 5000 + ",2-"):
        answer = await receiver.client.get(link, headers={"range": ranges})
        assert (answer.status_code, answer.content) == (200, clip)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", (0, 100)), ("bytes=0-0", (0, 1)), ("BYTES=5-9", (5, 10)), ("bytes=90-1000", (90, 100)),
        ("bytes=-1", (99, 100)), ("bytes=-1000", (0, 100)), ("bytes=99-", (99, 100)), ("bytes=100-", (100, 100)),
        ("bytes=500-600", (100, 100)), ("bytes=-0", (100, 100)), ("bytes=" + "9" * 18 + "-", (100, 100)),
        ("bytes=9-5", None), ("bytes=-", None), ("bytes=", None), ("", None), ("items=0-1", None),
        ("bytes=0-1,2-3", None), ("bytes=a-b", None), ("bytes=0x1-2", None), ("bytes=1e3-", None),
        ("bytes=+1-2", None), ("bytes=--1", None), ("bytes=\u0663-", None), ("bytes=" + "9" * 19 + "-", None),
        ("bytes=1-2-3", None), ("bytes=1 -2", None),
    ],
)  # fmt: skip
def test_what_a_range_means(header: str, span: tuple[int, int] | None) -> None:
    assert span_of(header, 100) == span


async def test_a_video_that_is_not_stored_yet_is_told_from_one_that_never_will_be(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    link = VideoLinks((SIGNING_KEY,), public_url="", lifetime=WEEK_LONG).url(job, NOW)
    for answer in (
        await receiver.client.get(f"/v1/jobs/{job}/video", headers=AUTH),
        await receiver.client.get(f"/v1/jobs/{job}/poster", headers=AUTH),
        await receiver.client.get(link),
    ):
        assert is_problem(answer, 409)
        assert int(answer.headers["retry-after"]) > 0
        assert (answer.json()["video_status"], "not stored yet" in answer.json()["detail"]) == ("none", True)
    assert (await receiver.client.post(path, content=useapi_body(job, "FAILED"))).status_code == 200
    for answer in (
        await receiver.client.get(f"/v1/jobs/{job}/video", headers=AUTH),
        await receiver.client.get(link),
    ):
        assert is_problem(answer, 410)
        assert "the job failed" in answer.json()["detail"]
        assert "retry-after" not in answer.headers


async def test_a_lost_video_is_gone(receiver: Receiver, host: Host) -> None:
    job, path = await receiver.register("useapi")
    link = host.will("/one.mp4", says(200, b"<html>"))
    await receiver.client.post(path, content=useapi_body(job, "COMPLETED", url=link))
    await receiver.eventually(job, lambda job: job["video"]["status"] not in ("none",))
    answer = await receiver.client.get(f"/v1/jobs/{job}/video", headers=AUTH)
    assert answer.status_code in (409, 410)
    with sqlite3.connect(receiver.settings.database_path) as raw:
        raw.execute("UPDATE assets SET status = 'expired', problem = 'its link ended' WHERE job_id = ?", (job,))
    raw.close()
    answer = await receiver.client.get(f"/v1/jobs/{job}/video", headers=AUTH)
    assert is_problem(answer, 410)
    assert "its link ended" in answer.json()["detail"]


@pytest.mark.parametrize("damage", ["gone", "shorter", "a link out of the folder"])
async def test_a_video_that_is_not_as_it_was_stored_is_our_fault_and_not_served(
    receiver: Receiver, host: Host, clip: bytes, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, link = await stored(receiver, host, clip)
    (file,) = receiver.files()
    if damage == "shorter":
        file.write_bytes(clip[:-1])
    else:
        file.unlink()
        if damage != "gone":
            (tmp_path / "secret").write_bytes(b"s" * len(clip))
            file.symlink_to(tmp_path / "secret")
    answer = await receiver.client.get(link)
    assert is_problem(answer, 500)
    assert b"sss" not in answer.content
    assert ("no file" in caplog.text) is (damage == "gone")
    assert "None bytes" not in caplog.text


async def test_a_video_in_another_receivers_folder_is_told_as_that(
    tmp_path: Path, host: Host, clip: bytes, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_receiver(tmp_path, host, database_url=postgres_url) as receiver:
        _, link = await stored(receiver, host, clip)
        next(iter(receiver.files())).rename(tmp_path / "another")
        answer = await receiver.client.get(link)
    assert is_problem(answer, 500)
    assert "another folder?" in answer.json()["detail"]
    assert str(tmp_path) not in answer.text
    assert "no file in" in caplog.text


# Signed links


async def test_a_link_lives_from_the_moment_it_was_told_and_then_says_that_it_is_over(
    receiver: Receiver, host: Host, clip: bytes
) -> None:
    job, link = await stored(receiver, host, clip)
    receiver.clock.move(seconds=WEEK - 1)
    assert (await receiver.client.get(link)).status_code == 200
    fresh = (await receiver.job(job))["video"]["url"].removeprefix(PUBLIC_URL)
    assert fresh != link
    receiver.clock.move(seconds=1)
    over = await receiver.client.get(link)
    assert is_problem(over, 410)
    assert "run out" in over.json()["detail"]
    assert over.headers["cache-control"] == "no-store"
    assert (await receiver.client.get(fresh)).status_code == 200


async def test_a_notification_carries_the_link_from_its_own_time_and_always_the_same(
    receiver: Receiver, host: Host, clip: bytes
) -> None:
    job, link = await stored(receiver, host, clip)
    (body,) = (row[0] for row in receiver.rows("SELECT body FROM notifications WHERE type = 'video.stored'"))
    links = VideoLinks((SIGNING_KEY,), public_url=PUBLIC_URL, lifetime=WEEK_LONG)
    assert f'"url":"{links.url(job, receiver.clock())}"'.encode() in whole_body(body)
    assert links.url(job, receiver.clock()) == PUBLIC_URL + link


def hostile_links(job: str, link: str) -> dict[str, str]:
    """What is none of ours, though it looks like it."""
    token = link.removeprefix("/videos/")
    name, until, signature = token.split(".")
    signers = {salt: Signer(SIGNING_KEY, salt=salt, **LIKE_OURS) for salt in OTHER_PURPOSES}
    stranger = VideoLinks(("somebody-elses-key-0123456789",), public_url="", lifetime=WEEK_LONG)
    return {salt: signer.sign(f"{job}.{until}").decode() for salt, signer in signers.items()} | {
        "another job": f"{OTHER_JOB}.{until}.{signature}",
        "another time": f"{name}.{int(until) + 1}.{signature}",
        "another signature": f"{name}.{until}.{signature[::-1]}",
        "no signature": f"{name}.{until}.",
        "less": f"{name}.{signature}",
        "somebody else's": stranger.url(job, NOW).removeprefix("/videos/"),
        "a reply token": TOKENS.mint(provider="useapi", job_id=job, now=NOW),
        "an account's token": TOKENS.mint_account(provider="pixverse", account="default"),
        "a job": job,
        "long": token + "A" * 5000,
        "letters": "%C3%A4" * 30,
        "zeroes": "%00" * 30,
        "nothing": "%20",
        "dots": "." * 50,
    }


async def test_what_we_did_not_sign_is_not_there_and_all_of_it_is_answered_alike(
    receiver: Receiver, host: Host, clip: bytes
) -> None:
    job, link = await stored(receiver, host, clip)
    answers = {}
    for name, token in hostile_links(job, link).items():
        for method in ("GET", "HEAD"):
            answer = await receiver.client.request(method, f"/videos/{token}")
            assert answer.status_code == 404, name
        answers[name] = (await receiver.client.get(f"/videos/{token}", headers=SAME_ID)).content
    assert len(set(answers.values())) == 1
    for path in ("/videos/", "/videos/..%2f..%2fetc%2fpasswd", f"{link}/", f"{link}%2f..%2fx"):
        assert (await receiver.client.get(path)).status_code == 404
    assert (await receiver.client.post(link)).status_code == 405


async def test_a_link_is_no_reply_url_and_no_api_key(receiver: Receiver, host: Host, clip: bytes) -> None:
    job, link = await stored(receiver, host, clip)
    token = link.removeprefix("/videos/")
    assert (await receiver.client.post(f"/callbacks/useapi/{token}", content=useapi_body(job))).status_code == 401
    answer = await receiver.client.get(f"/v1/jobs/{job}", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_a_key_that_is_taken_off_takes_its_links_with_it() -> None:
    new, old = "new-0123456789-0123456789", "old-0123456789-0123456789"
    made = VideoLinks((old,), public_url="", lifetime=WEEK_LONG).url(OTHER_JOB, NOW).removeprefix("/videos/")
    both = VideoLinks((new, old), public_url="", lifetime=WEEK_LONG)
    assert both.job_id(made, NOW) == OTHER_JOB
    fresh = both.url(OTHER_JOB, NOW)
    assert fresh == VideoLinks((new,), public_url="", lifetime=WEEK_LONG).url(OTHER_JOB, NOW)
    assert fresh.removeprefix("/videos/") != made


async def test_no_log_line_holds_a_link(
    receiver: Receiver, host: Host, clip: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _, link = await stored(receiver, host, clip)
    await receiver.client.get(link)
    await receiver.client.get(f"{link}/poster")
    next(iter(receiver.files())).unlink()
    await receiver.client.get(link)
    assert "/videos/{token} 200" in caplog.text
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("replyhook")]
    assert not any(link.rpartition(".")[2] in line for line in ours)


# From an object store


@asynccontextmanager
async def cloudy(folder: Path, host: Host, server: ObjectServer, **more: Any) -> AsyncIterator[Receiver]:
    values = {"storage_url": f"s3://{BUCKET}/{new_id('job')}", "storage_endpoint": server.endpoint} | more
    async with a_receiver(folder, host, **values) as running:
        yield running


async def test_an_object_store_serves_its_videos_itself_by_a_link_that_nobody_keeps(
    tmp_path: Path, host: Host, object_server: ObjectServer, clip: bytes, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        cloudy(tmp_path, host, object_server) as receiver,
        offered(receiver, host, clip, how) as (path, auth),
        httpx.AsyncClient() as anybody,
    ):
        answer = await receiver.client.get(path, headers=auth | {"range": "bytes=10-19"})
        assert (answer.status_code, answer.content) == (302, b"")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        location = answer.headers["location"]
        assert "X-Amz-Expires=300" in location
        part = await anybody.get(location, headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, clip[10:20])
        head = await receiver.client.head(path, headers=auth)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(clip)))
        known = await receiver.client.get(path, headers=auth | {"if-none-match": head.headers["etag"]})
        assert known.status_code == 304
        ours = " ".join(record.getMessage() for record in caplog.records if record.name.startswith("replyhook"))
        for secret in ("X-Amz", ACCESS_KEY, SECRET_KEY, object_server.endpoint):
            assert secret not in ours


async def test_an_object_stores_videos_may_be_passed_through(
    tmp_path: Path, host: Host, object_server: ObjectServer, clip: bytes, how: str
) -> None:
    async with (
        cloudy(tmp_path, host, object_server, storage_redirects=False) as receiver,
        offered(receiver, host, clip, how) as (path, auth),
    ):
        whole = await receiver.client.get(path, headers=auth)
        assert (whole.status_code, whole.content) == (200, clip)
        part = await receiver.client.get(path, headers=auth | {"range": "bytes=-7"})
        assert (part.status_code, part.content) == (206, clip[-7:])
        assert is_problem(await receiver.client.get(path, headers=auth | {"range": f"bytes={len(clip)}-"}), 416)


async def test_while_the_object_store_is_away_the_video_is_asked_for_again_later(
    tmp_path: Path, host: Host, object_server: ObjectServer, clip: bytes
) -> None:
    storage_url = f"s3://{BUCKET}/{new_id('job')}"
    async with cloudy(tmp_path, host, object_server, storage_url=storage_url) as receiver:
        _, link = await stored(receiver, host, clip)
    more = {"storage_url": storage_url, "storage_endpoint": "http://127.0.0.1:9", "storage_redirects": False}
    async with cloudy(tmp_path, host, object_server, **more) as receiver:
        answer = await receiver.client.get(link)
        assert is_problem(answer, 503)
        assert "retry-after" in answer.headers
        assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize("redirects", [True, False])
async def test_a_poster_goes_where_its_video_goes_and_is_served_like_it(
    tmp_path: Path, host: Host, object_server: ObjectServer, clip: bytes, redirects: bool
) -> None:
    async with (
        cloudy(tmp_path, host, object_server, storage_redirects=redirects) as receiver,
        httpx.AsyncClient() as out,
    ):
        job, link = await stored(receiver, host, clip)
        assert list(receiver.settings.storage_path.rglob("*.*")) == []
        for path, auth in ((f"/v1/jobs/{job}/poster", AUTH), (f"{link}/poster", {})):
            answer = await receiver.client.get(path, headers=auth)
            assert answer.status_code == (302 if redirects else 200)
            picture = await out.get(answer.headers["location"]) if redirects else answer
            assert picture.content[:2] == b"\xff\xd8"
            assert picture.headers["content-type"] == "image/jpeg"
            head = await receiver.client.head(path, headers=auth)
            assert head.headers["content-length"] == str(len(picture.content))
        assert is_problem(await receiver.client.get(f"/v1/jobs/{job}/poster"), 401)
        assert is_problem(await receiver.client.get(f"{link}x/poster"), 404)


@pytest.mark.parametrize("redirects", [True, False])
async def test_the_clients_download_comes_from_wherever_the_video_is(
    tmp_path: Path, host: Host, object_server: ObjectServer, clip: bytes, redirects: bool
) -> None:
    values: dict[str, Any] = {
        "storage_url": f"s3://{BUCKET}/{new_id('job')}",
        "storage_endpoint": object_server.endpoint,
        "storage_redirects": redirects,
        "providers": {"useapi": {"base_url": host.url, "media_hosts": ("127.0.0.1",)}},
    }
    app = create_app(settings_for(tmp_path, **values), secrets=SECRETS)
    link = host.will("/one.mp4", says(200, clip))
    with free_socket() as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with served(app, bound), httpx.AsyncClient(base_url=url) as http:
            job = new_id("job")
            registered = await http.put(f"/v1/jobs/{job}", json={"provider": "useapi"}, headers=AUTH)
            path = registered.json()["reply_url"].removeprefix(PUBLIC_URL)
            await http.post(path, content=useapi_body(job, "COMPLETED", url=link))

            def take() -> Path:
                with Client(receiver_url=url, api_key=API_KEY) as client:
                    handle = client.job(job)
                    handle.wait(timeout=20)
                    return handle.download(tmp_path / "out.mp4")

            saved = await to_thread.run_sync(take)
    assert saved.read_bytes() == clip
