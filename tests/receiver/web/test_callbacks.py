"""`POST /callbacks/{provider}/{token}`: who is believed, what is kept, what is answered."""

import asyncio
import base64
import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from nacl.signing import SigningKey

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from tests.receiver.support import (
    API_KEY,
    NOW,
    PERSONAL_ID,
    SIGNING_KEY,
    TOKENS,
    WHSEC,
    Host,
    Receiver,
    a_receiver,
    callback_path,
    fal_body,
    jwks,
    says,
    says_json,
    useapi_body,
    waits,
)

REQUEST_ID = "123e4567-e89b-12d3-a456-426614174000"
FAL_HEADERS = [f"x-fal-webhook-{name}" for name in ("request-id", "user-id", "timestamp", "signature")]
GARBAGE_VALUES = [
    "", " ", "=", "0", "-1", "1.5", "v1,", "\xe9", "\xff" * 64, "9" * 12, "9" * 400, "zz" * 64, "a" * 128, "ab " * 43,
    "t=1,v1=\xe9", "1e3", "nan", "0x10", "\xb2", "None", "[]", "true",
]  # fmt: skip
GARBAGE_BODIES = [
    b"", b"null", b"[]", b'"text"', b"1", b"{", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":"\\ud800"}',
    b"9" * 5000, b"<html>Bad gateway</html>",
]  # fmt: skip


async def send(receiver: Receiver, path: str, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return await receiver.client.post(path, content=body, headers=headers or {"content-type": "application/json"})


async def send_fal(receiver: Receiver, path: str, body: bytes, **signed: Any) -> httpx.Response:
    signed.setdefault("request_id", REQUEST_ID)
    return await send(receiver, path, body, receiver.fal.headers(body, **signed))


def is_ok(response: httpx.Response) -> bool:
    media_type = response.headers["content-type"].partition(";")[0]
    return (response.status_code, response.content, media_type) == (200, b"ok", "text/plain")


async def assert_nothing_kept(receiver: Receiver, refused: int, *, provider: str = "fal") -> None:
    for table in ("callbacks", "events", "notifications", "tasks"):
        assert receiver.rows(f"SELECT count(*) FROM {table}") == [(0,)], table  # noqa: S608 - names of ours
    assert sum((await receiver.refusals()).get(provider, {}).values()) == refused


# Kept


async def test_a_token_alone_is_enough_where_the_provider_signs_nothing(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    assert is_ok(await send(receiver, path, useapi_body(job)))
    kept = await receiver.job(job)
    assert (kept["status"], kept["trust"]) == ("running", "token_only")


async def test_a_signed_callback_is_trusted_as_signed(receiver: Receiver, host: Host) -> None:
    job, path = await receiver.register("fal")
    await receiver.submitted(job, REQUEST_ID)
    assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID, "ERROR")))
    kept = await receiver.job(job)
    assert (kept["status"], kept["trust"]) == ("failed", "signed")
    assert host.asked(receiver.fal.PATH) == 1


async def test_all_of_it_is_on_disk_before_the_answer(receiver: Receiver) -> None:
    job, path = await receiver.register(
        "useapi", notify=[{"url": "http://127.0.0.1:9/hooks", "types": ["job.running"]}]
    )
    body = useapi_body(job, note="\u00e4")
    response = await send(receiver, path, body, {"x-one": "1", "authorization": "Bearer proxy-geheim"})
    # Read as another process would, before anything else has a turn.
    (kept,) = receiver.rows("SELECT job_id, body, verdict, headers FROM callbacks")
    assert is_ok(response)
    assert kept[:3] == (job, body, "applied")
    assert ["x-one", "1"] in json.loads(kept[3])
    assert "proxy-geheim" not in kept[3]
    assert receiver.rows("SELECT status, verdict FROM events") == [("running", "applied")]
    assert receiver.rows("SELECT status FROM jobs") == [("running",)]
    assert receiver.rows("SELECT type FROM notifications") == [("job.running",)]
    assert receiver.rows("SELECT kind FROM tasks") == [("notify",)]


async def test_a_job_nobody_registered_is_made_from_its_token_and_filled_in_later(receiver: Receiver) -> None:
    job = new_id("job")
    assert is_ok(await send(receiver, callback_path("useapi", job), useapi_body(job)))
    assert (await receiver.job(job))["status"] == "running"
    await receiver.register("useapi", job, reference="order-42")
    kept = await receiver.job(job)
    assert (kept["status"], kept["reference"]) == ("running", "order-42")


async def test_the_same_callback_again_is_answered_the_same_and_changes_nothing(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    responses = await asyncio.gather(*(send(receiver, path, useapi_body(job)) for _ in range(20)))
    assert all(is_ok(response) for response in responses)
    verdicts = sorted(callback["verdict"] for callback in await receiver.callbacks(job))
    assert verdicts == ["applied"] + ["duplicate"] * 19
    assert receiver.rows("SELECT count(*) FROM notifications") == [(1,)]


@pytest.mark.parametrize("body", GARBAGE_BODIES, ids=lambda body: repr(body[:12]))
async def test_a_verified_body_that_cannot_be_read_is_kept_and_visible(receiver: Receiver, body: bytes) -> None:
    job, path = await receiver.register("useapi")
    fal_job, fal_path = await receiver.register("fal")
    assert is_ok(await send(receiver, path, body))
    assert is_ok(await send_fal(receiver, fal_path, body))
    for name in (job, fal_job):
        (kept,) = await receiver.callbacks(name)
        whole = await receiver.callback(kept["id"])
        told = base64.b64decode(whole["body"]) if whole["body_encoding"] == "base64" else whole["body"].encode()
        assert (kept["verdict"], told) == ("unrecognised", body)
        assert (await receiver.job(name))["status"] == "created"
    assert receiver.rows("SELECT DISTINCT body FROM callbacks") == [(body,)]


@pytest.mark.parametrize(
    "more",
    [
        {"word": "PAUSED"}, {"video_status_name": None}, {"video_status_name": {"a": 1}}, {"word": "\x00" * 100},
        {"progress": 10**40}, {"progress": "half"}, {"errCode": {"a": [1]}}, {"errCode": "x" * 9999}, {"replyRef": 7},
        {"video_id": {"a": 1}}, {"word": "COMPLETED", "url": "https://["}, {"word": "COMPLETED", "url": "javascript:0"},
        {"word": "COMPLETED", "url": "http://exa\u2100mple.com/"}, {"word": "COMPLETED", "url": {"a": 1}},
    ],
    ids=lambda more: repr(more)[:60],
)  # fmt: skip
async def test_whatever_a_verified_body_says_it_is_kept_and_answered_ok(
    receiver: Receiver, more: dict[str, Any]
) -> None:
    job, path = await receiver.register("useapi")
    assert is_ok(await send(receiver, path, useapi_body(job, **more)))
    assert len(await receiver.callbacks(job)) == 1


async def test_a_report_about_another_job_is_kept_and_applies_nothing(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    assert is_ok(await send(receiver, path, useapi_body(new_id("job"))))
    assert (await receiver.job(job))["status"] == "created"
    assert (await receiver.callbacks(job))[0]["verdict"] == "conflict"


# Not believed


@pytest.mark.parametrize("provider", ["fal", "useapi"])
async def test_no_token_but_ours_for_this_provider_is_believed(receiver: Receiver, provider: str) -> None:
    job = new_id("job")
    other = {"fal": "useapi", "useapi": "fal"}[provider]
    good = callback_path(provider, job).rpartition("/")[2]
    foreign = callback_path(provider, job, tokens=TokenKeys(("another-key-0123456789-0123456789",))).rpartition("/")[2]
    bad = [
        foreign, callback_path(other, job).rpartition("/")[2], good[:-1], good + "A",
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        "A" + good, good.partition(".")[0], good.rpartition(".")[2], "x", "%00", "%20", "%E9", "%FF%FE", "A" * 5000,
        good.swapcase(), "eyJ2IjoxfQ." + good.rpartition(".")[2], good.replace(".", "%2E%2E"), "None", "null",
        "", good + "/", good + "/more", "/" + good, "%2F" + good, good + "%3F",
    ]  # fmt: skip
    for token in bad:
        body = fal_body(REQUEST_ID) if provider == "fal" else useapi_body(job)
        response = await send_fal(receiver, f"/callbacks/{provider}/{token}", body)
        assert (response.status_code, response.content) == (401, b"not verified"), token
    response = await receiver.client.post(f"/callbacks/{provider}", content=b"{}")
    assert response.status_code == 401
    await assert_nothing_kept(receiver, len(bad) + 1, provider=provider)
    assert (await send(receiver, "/callbacks/", b"{}")).status_code == 404


async def test_a_token_of_a_rotated_key_is_still_believed(receiver: Receiver) -> None:
    older = TokenKeys((SIGNING_KEY, "older-key-0123456789-0123456789"))
    job = new_id("job")
    assert is_ok(await send(receiver, callback_path("useapi", job, tokens=older), useapi_body(job)))


async def test_an_unknown_provider_is_not_found_with_any_token(receiver: Receiver) -> None:
    token = callback_path("fal", new_id("job")).rpartition("/")[2]
    for provider in ("nobody", "FAL", "fal%20", "%00"):
        assert (await send(receiver, f"/callbacks/{provider}/{token}", b"{}")).status_code == 404
    await assert_nothing_kept(receiver, 0)


async def test_an_old_token_makes_no_job_but_still_tells_of_a_known_one(receiver: Receiver) -> None:
    unknown, known = new_id("job"), new_id("job")
    await receiver.register("useapi", known)
    long_ago = NOW - timedelta(days=31)
    assert (
        await send(receiver, callback_path("useapi", unknown, at=long_ago), useapi_body(unknown))
    ).status_code == 401
    await assert_nothing_kept(receiver, 1, provider="useapi")
    assert is_ok(await send(receiver, callback_path("useapi", known, at=long_ago), useapi_body(known)))


async def test_a_job_of_another_provider_is_not_told_of(receiver: Receiver) -> None:
    job, _ = await receiver.register("fal")
    assert (await send(receiver, callback_path("useapi", job), useapi_body(job))).status_code == 401
    await assert_nothing_kept(receiver, 1, provider="useapi")


@pytest.mark.parametrize("name", FAL_HEADERS)
async def test_every_missing_repeated_or_malformed_header_is_401(receiver: Receiver, name: str) -> None:
    _, path = await receiver.register("fal")
    body = fal_body(REQUEST_ID)
    genuine = receiver.fal.headers(body, request_id=REQUEST_ID)
    variants: list[list[tuple[str, str]]] = [
        [(key, value) for key, value in genuine.items() if key != name],
        [*genuine.items(), (name, genuine[name])],
        [*genuine.items(), (name.upper(), "x")],
    ]
    variants += [[*(genuine | {name: value}).items()] for value in GARBAGE_VALUES]
    for headers in variants:
        raw = [(key.encode(), value.encode("latin-1")) for key, value in headers]
        response = await receiver.client.post(path, content=body, headers=raw)
        assert (response.status_code, response.content) == (401, b"not verified"), headers
    await assert_nothing_kept(receiver, len(variants))


async def test_more_headers_than_any_provider_sends_are_431(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    response = await receiver.client.post(path, content=useapi_body(job), headers=[("x-many", "1")] * 200)
    assert response.status_code == 431


async def test_no_changed_body_and_no_other_key_is_believed(receiver: Receiver) -> None:
    _, path = await receiver.register("fal")
    body = fal_body(REQUEST_ID)
    genuine = receiver.fal.headers(body, request_id=REQUEST_ID)
    changed = body.replace(b"one.mp4", b"two.mp4")
    for other in (changed, body + b" ", b""):
        assert (await send(receiver, path, other, genuine)).status_code == 401
    forged = receiver.fal.headers(body, request_id=REQUEST_ID, key=SigningKey.generate())
    assert (await send(receiver, path, body, forged)).status_code == 401
    renamed = genuine | {"x-fal-webhook-request-id": "another"}
    assert (await send(receiver, path, body, renamed)).status_code == 401
    mismatched = receiver.fal.headers(body, request_id="another")
    assert (await send(receiver, path, body, mismatched)).status_code == 401
    await assert_nothing_kept(receiver, 6)


@pytest.mark.parametrize("age", [301, 86_400, -301])
async def test_a_replay_is_refused_before_any_key_is_fetched(receiver: Receiver, host: Host, age: float) -> None:
    _, path = await receiver.register("fal")
    assert (await send_fal(receiver, path, fal_body(REQUEST_ID), age=age)).status_code == 401
    await assert_nothing_kept(receiver, 1)
    assert host.asked(receiver.fal.PATH) == 0
    assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID), age=max(-300, min(300, age))))


async def test_another_customers_callback_is_refused_where_ours_is_pinned(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, providers={"fal": {"user_ids": ("us", "us-too")}}) as receiver:
        _, path = await receiver.register("fal")
        assert (await send_fal(receiver, path, fal_body(REQUEST_ID), user_id="them")).status_code == 401
        assert host.asked(receiver.fal.PATH) == 0
        await assert_nothing_kept(receiver, 1)
        assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID), user_id="us-too"))


async def test_a_sender_is_learned_from_the_answer_to_our_own_submit_and_then_enforced(
    tmp_path: Path, host: Host
) -> None:
    async with a_receiver(tmp_path, host) as receiver:
        job, path = await receiver.register("fal")
        assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID, "IN_QUEUE"), user_id="them"))
        await receiver.submitted(job, REQUEST_ID)
        assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID, "IN_PROGRESS"), user_id="us"))
        assert (await send_fal(receiver, path, fal_body(REQUEST_ID), user_id="them")).status_code == 401
        assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID, "IN_PROGRESS"), user_id="us"))
    async with a_receiver(tmp_path, host) as restarted:
        assert (await send_fal(restarted, path, fal_body(REQUEST_ID), user_id="them")).status_code == 401
        assert list((await restarted.refusals())["fal"].values()) == [1]


# Our own trouble


async def test_keys_that_cannot_be_had_are_our_trouble_and_nothing_is_kept(receiver: Receiver, host: Host) -> None:
    _, path = await receiver.register("fal")
    host.will(receiver.fal.PATH, says(500))
    responses = [await send_fal(receiver, path, fal_body(REQUEST_ID)) for _ in range(3)]
    for response in responses:
        assert response.status_code == 503
        assert 0 < int(response.headers["retry-after"]) <= 60
    await assert_nothing_kept(receiver, 3)
    assert host.asked(receiver.fal.PATH) == 1
    receiver.fal.publish()
    receiver.clock.move(seconds=30)
    assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID)))


async def test_many_at_once_with_a_cold_key_set_share_one_fetch(receiver: Receiver, host: Host) -> None:
    host.will(receiver.fal.PATH, waits(0.1, says_json(jwks(receiver.fal.key))))
    jobs = [await receiver.register("fal") for _ in range(30)]
    bodies = [fal_body(f"r-{number}", "ERROR") for number in range(30)]
    sent = [
        send_fal(receiver, path, body, request_id=f"r-{number}")
        for number, ((_, path), body) in enumerate(zip(jobs, bodies, strict=True))
    ]
    assert all(is_ok(response) for response in await asyncio.gather(*sent))
    assert host.asked(receiver.fal.PATH) == 1


async def test_a_rotated_key_is_fetched_and_the_old_ones_callbacks_need_none(receiver: Receiver, host: Host) -> None:
    _, path = await receiver.register("fal")
    assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID, "IN_QUEUE")))
    new = SigningKey.generate()
    receiver.fal.publish(receiver.fal.key, new)
    receiver.clock.move(minutes=1)
    assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID, "IN_PROGRESS")))
    assert host.asked(receiver.fal.PATH) == 1
    assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID, "ERROR"), key=new))
    assert host.asked(receiver.fal.PATH) == 2


async def test_a_forgery_within_the_cool_down_is_401_without_a_fetch(receiver: Receiver, host: Host) -> None:
    _, path = await receiver.register("fal")
    assert is_ok(await send_fal(receiver, path, fal_body(REQUEST_ID)))
    host.will(receiver.fal.PATH, says(500))
    for _ in range(5):
        response = await send_fal(receiver, path, fal_body(REQUEST_ID), key=SigningKey.generate())
        assert response.status_code == 401
    assert host.asked(receiver.fal.PATH) == 1


async def test_a_store_that_cannot_commit_is_our_trouble(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    with closing(sqlite3.connect(receiver.settings.database_path)) as raw:
        raw.execute("DROP TABLE callbacks")
    response = await send(receiver, path, useapi_body(job))
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert receiver.rows("SELECT status FROM jobs") == [("created",)]
    assert receiver.rows("SELECT count(*) FROM events") == [(0,)]


# Bounds


@pytest.mark.parametrize("with_length", [True, False])
async def test_a_body_over_the_limit_is_413_and_not_read_to_its_end(
    tmp_path: Path, host: Host, with_length: bool
) -> None:
    async with a_receiver(tmp_path, host, max_callback_bytes=2048) as receiver:
        job, path = await receiver.register("useapi")
        chunks_taken = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal chunks_taken
            for _ in range(1000):
                chunks_taken += 1
                yield b"x" * 1024

        content: Any = b"x" * 2049 if with_length else body()
        response = await receiver.client.post(path, content=content)
        assert response.status_code == 413
        assert chunks_taken < 10
        await assert_nothing_kept(receiver, 0, provider="useapi")
        padded = useapi_body(job, pad="x" * (2048 - len(useapi_body(job, pad=""))))
        assert len(padded) == 2048
        assert is_ok(await send(receiver, path, padded))


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_only_post_is_taken(receiver: Receiver, method: str) -> None:
    job, path = await receiver.register("useapi")
    response = await receiver.client.request(method, path, content=useapi_body(job))
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.text.startswith("only POST")
    assert path.rpartition("/")[2] not in response.text
    await assert_nothing_kept(receiver, 0, provider="useapi")


@pytest.mark.parametrize("path", ["/callbacks/cb_06gzvyj6038xt427xgy6esgkjx", "/callbacks/", "/callbacks/useapi/<b>"])
async def test_who_looks_at_an_address_for_callbacks_is_told_what_it_is_for(receiver: Receiver, path: str) -> None:
    response = await receiver.client.get(path, headers={"accept": "text/html"})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.headers["content-type"].startswith("text/plain")
    assert "providers call back at this address" in response.text
    assert "/callback/" in response.text
    assert not any(said in response.text for said in ("cb_06", "<b>"))


# Silence


async def test_no_secret_is_in_any_log_line_or_answer(
    receiver: Receiver, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    job, path = await receiver.register("fal", notify=[{"url": f"{host.url}/hooks?key=geheim", "secret": WHSEC}])
    personal, personal_path = await receiver.register("useapi")
    link = f"{host.url}/one.mp4?signature=geheim"
    body = fal_body(REQUEST_ID, url=link)
    signature = receiver.fal.headers(body, request_id=REQUEST_ID)["x-fal-webhook-signature"]
    answers = [
        await send_fal(receiver, path, body),
        await send_fal(receiver, path, body, user_id="geheimer-user", key=SigningKey.generate()),
        await send_fal(receiver, path + "x", body),
        await send(receiver, personal_path, useapi_body(personal)),
        await send(receiver, personal_path + "/x", b""),
        await receiver.client.get(path),
        await receiver.client.get(f"/v1/jobs/{job}", headers={"authorization": f"Bearer {API_KEY}x"}),
    ]
    await receiver.eventually(job, lambda shown: shown["video"]["problem"])
    tokens = [path.rpartition("/")[2], personal_path.rpartition("/")[2]]
    secrets = [*tokens, signature, "geheim", "jane.doe", PERSONAL_ID, API_KEY, SIGNING_KEY, WHSEC]
    ours = [
        record for record in caplog.records if record.name.partition(".")[0] not in ("aiosqlite", "httpcore", "asyncio")
    ]
    said = "\n".join(f"{record.getMessage()} {record.exc_text or ''}" for record in ours)
    said += "\n".join(f"{answer.text} {answer.headers}" for answer in answers)
    for secret in secrets:
        assert secret not in said
    assert "/callbacks/{provider}/{token}" in said
    assert TOKENS.keys[0] not in repr(TOKENS)
