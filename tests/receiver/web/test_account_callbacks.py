"""`POST /callbacks/pixverse/{account token}`: one URL for a whole account, jobs found by the provider's id alone."""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from replyhook.tokens import TokenKeys
from tests.receiver.support import (
    AUTH,
    NOW,
    PUBLIC_URL,
    SIGNING_KEY,
    TOKENS,
    Host,
    Receiver,
    a_receiver,
    callback_path,
    says,
    until,
)

JOB = "job_06gzvyj6038xt427xgy6esgkjx"
VIDEO_ID = "343252978602905"
SECRET, SECOND_SECRET = "pixverse-geheim", "second-geheim"
PIXVERSE: dict[str, Any] = {
    "webhook_id": "1234",
    "webhook_secrets": ["newer-geheim", SECRET],
    "accounts": {"second": [SECOND_SECRET]},
    "media_hosts": ["127.0.0.1"],
}
_NONCES = itertools.count()


def account_path(account: str = "default", *, provider: str = "pixverse", tokens: TokenKeys = TOKENS) -> str:
    return f"/callbacks/{provider}/{tokens.mint_account(provider=provider, account=account)}"


def a_nonce() -> str:
    return f"{next(_NONCES):032}"


def pixverse_body(status: int = 1, video_id: str = VIDEO_ID, **more: Any) -> bytes:
    """A callback's body as PixVerse sends it: flat, with the id as text."""
    return json.dumps({"id": video_id, "status": status, "has_audio": True} | more).encode()


def pixverse_headers(body: bytes, *, secret: str = SECRET, nonce: str | None = None, age: int = 0) -> dict[str, str]:
    """The headers PixVerse sends with ``body``, signed as its Python sample does."""
    nonce = nonce or a_nonce()
    timestamp = str(int(NOW.timestamp()) - age)
    fields = {name: str(value).lower() if value is True else str(value) for name, value in json.loads(body).items()}
    form = str(httpx.QueryParams(fields))
    mac = hmac.new(secret.encode(), f"{timestamp}\n{nonce}\n{form}".encode(), hashlib.sha256)
    return {
        "content-type": "application/json",
        "webhook-timestamp": timestamp,
        "webhook-nonce": nonce,
        "webhook-signature": base64.b64encode(mac.digest()).decode(),
    }


async def send(receiver: Receiver, body: bytes, *, path: str | None = None, **signed: Any) -> httpx.Response:
    headers = pixverse_headers(body, **signed)
    return await receiver.client.post(path or account_path(), content=body, headers=headers)


def is_ok(response: httpx.Response) -> bool:
    return (response.status_code, response.content) == (200, b"ok")


def is_not_verified(response: httpx.Response) -> bool:
    return (response.status_code, response.content) == (401, b"not verified")


async def submitted(receiver: Receiver, *, account: str = "default", video_id: str = VIDEO_ID, **more: Any) -> str:
    job, _ = await receiver.register("pixverse", account=account, **more)
    await receiver.submitted(job, video_id)
    return job


@pytest.fixture
async def receiver(tmp_path: Path, host: Host) -> AsyncIterator[Receiver]:
    async with a_receiver(tmp_path, host, providers={"pixverse": PIXVERSE}) as running:
        yield running


@pytest.fixture
def link(host: Host, clip: bytes) -> str:
    """The link of a video that is there."""
    return host.will("/out.mp4", says(200, clip))


async def assert_nothing_kept(receiver: Receiver) -> None:
    for table in ("callbacks", "events", "nonces", "notifications", "tasks"):
        assert receiver.rows(f"SELECT count(*) FROM {table}") == [(0,)], table  # noqa: S608 - names of ours


# Who is believed


async def test_every_job_of_an_account_is_told_the_accounts_one_url(receiver: Receiver) -> None:
    paths = {(await receiver.register("pixverse"))[1] for _ in range(3)}
    assert paths == {account_path()}
    assert (await receiver.register("pixverse", account="second"))[1] == account_path("second")


@pytest.mark.parametrize("secret", PIXVERSE["webhook_secrets"])
async def test_a_signed_callback_finds_its_job_by_the_providers_id(receiver: Receiver, link: str, secret: str) -> None:
    job = await submitted(receiver)
    assert is_ok(await send(receiver, pixverse_body(url=link), secret=secret))
    kept = await receiver.job(job)
    assert (kept["status"], kept["trust"]) == ("succeeded", "signed")
    assert (await receiver.callbacks(job))[0]["verdict"] == "applied"


async def test_each_provider_takes_only_the_kind_of_token_that_it_calls_back_with(receiver: Receiver) -> None:
    body = pixverse_body()
    accounts = [account_path(provider=provider) for provider in ("fal", "useapi", "aihubmax", "segmind")]
    jobs = [callback_path(provider, JOB) for provider in ("pixverse", "segmind")]
    foreign = account_path(tokens=TokenKeys(("another-key-0123456789-0123456789",)))
    lent = "/callbacks/pixverse/" + account_path(provider="fal").rpartition("/")[2]
    wrong = [*accounts, *jobs, foreign, lent, account_path() + "A", account_path()[:-1], "/callbacks/pixverse/x"]
    for path in wrong:
        assert is_not_verified(await send(receiver, body, path=path)), path
    await assert_nothing_kept(receiver)


async def test_the_url_in_the_console_works_on_while_the_signing_key_is_rotated(receiver: Receiver) -> None:
    older = TokenKeys((SIGNING_KEY, "older-key-0123456789-0123456789"))
    assert is_ok(await send(receiver, pixverse_body(), path=account_path(tokens=older)))
    dropped = TokenKeys(("older-key-0123456789-0123456789", SIGNING_KEY))
    assert is_not_verified(await send(receiver, pixverse_body(), path=account_path(tokens=dropped)))


async def test_an_account_that_is_not_set_up_is_not_believed(receiver: Receiver) -> None:
    for secret in (SECRET, SECOND_SECRET, "geheim"):
        assert is_not_verified(await send(receiver, pixverse_body(), path=account_path("third"), secret=secret))
    await assert_nothing_kept(receiver)
    assert sum((await receiver.refusals())["pixverse"].values()) == 3


async def test_without_a_secret_nobody_is_believed(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, providers={"pixverse": {"accounts": {"second": []}}}) as receiver:
        for account in ("default", "second"):
            assert is_not_verified(await send(receiver, pixverse_body(), path=account_path(account), secret="x"))
        await assert_nothing_kept(receiver)


async def test_another_accounts_secret_proves_nothing(receiver: Receiver) -> None:
    body = pixverse_body()
    assert is_not_verified(await send(receiver, body, secret=SECOND_SECRET))
    assert is_not_verified(await send(receiver, body, path=account_path("second"), secret=SECRET))
    await assert_nothing_kept(receiver)
    assert is_ok(await send(receiver, body, path=account_path("second"), secret=SECOND_SECRET))


async def test_no_changed_unsigned_or_old_callback_is_believed_and_none_uses_up_a_nonce(receiver: Receiver) -> None:
    body, nonce = pixverse_body(), a_nonce()
    genuine = pixverse_headers(body, nonce=nonce)
    path = account_path()
    tries = [
        (pixverse_body(7), genuine),
        (body[:-1], genuine),
        (body.replace(b'"status": 1', b'"status": 1, "status": 7'), genuine),
        (body.replace(b"true", b'{"a": 1}'), genuine),
        (body, genuine | {"webhook-nonce": a_nonce()}),
        (body, {}),
        (body, pixverse_headers(body, nonce=nonce, age=6 * 3600 + 1)),
        (body, pixverse_headers(body, nonce=nonce, age=-6 * 3600 - 1)),
        *((body, {key: value for key, value in genuine.items() if key != name}) for name in genuine if "web" in name),
    ]
    for changed, headers in tries:
        assert is_not_verified(await receiver.client.post(path, content=changed, headers=headers)), (changed, headers)
    await assert_nothing_kept(receiver)
    assert is_ok(await receiver.client.post(path, content=body, headers=genuine))


async def test_the_same_provider_job_id_in_two_accounts_is_two_jobs(receiver: Receiver) -> None:
    one, other = await submitted(receiver), await submitted(receiver, account="second")
    body = pixverse_body(8)
    assert is_ok(await send(receiver, body, path=account_path("second"), secret=SECOND_SECRET))
    assert ((await receiver.job(one))["status"], (await receiver.job(other))["status"]) == ("submitted", "failed")
    assert await receiver.callbacks(one) == []


# Orphans


async def test_a_callback_before_its_job_is_known_is_kept_and_visible_and_leads_to_nothing(
    receiver: Receiver, host: Host, link: str
) -> None:
    job, _ = await receiver.register("pixverse", notify=[{"url": host.will("/hooks", says(204))}])
    body = pixverse_body(url=link)
    assert is_ok(await send(receiver, body))
    (kept,) = await receiver.callbacks()
    assert (kept["provider"], kept["job_id"], kept["verdict"]) == ("pixverse", None, None)
    assert (kept["trust"], (await receiver.callback(kept["id"]))["body"]) == ("signed", body.decode())
    await asyncio.sleep(0.05)
    assert (await receiver.job(job))["status"] == "created"
    assert receiver.rows("SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM notifications)") == [(0,)]
    assert receiver.rows("SELECT count(*) FROM jobs") == [(1,)]
    assert host.seen == []


async def test_an_orphan_is_carried_out_when_the_submit_is_reported(
    receiver: Receiver, host: Host, clip: bytes, link: str
) -> None:
    job, _ = await receiver.register("pixverse", notify=[{"url": host.will("/hooks", says(204))}])
    assert is_ok(await send(receiver, pixverse_body(5)))
    assert is_ok(await send(receiver, pixverse_body(url=link)))
    receiver.clock.move(seconds=90)
    content = {"outcome": "accepted", "provider_job_id": VIDEO_ID}
    answer = await receiver.client.post(f"/v1/jobs/{job}/submission", json=content, headers=AUTH)
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    kept = await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")
    assert (kept["status"], kept["trust"], kept["video"]["bytes"]) == ("succeeded", "signed", len(clip))
    assert kept["called_back_at"] == NOW.isoformat().replace("+00:00", "Z")
    assert [entry["verdict"] for entry in await receiver.callbacks(job)] == ["applied", "applied"]
    await until(lambda: host.asked("/hooks") == 2)
    assert host.asked("/out.mp4") == 1
    again = await receiver.client.post(f"/v1/jobs/{job}/submission", json=content, headers=AUTH)
    assert again.status_code == 200
    assert receiver.rows("SELECT type FROM notifications") == [("job.running",), ("job.succeeded",), ("video.stored",)]


async def test_orphans_are_listed_by_themselves_with_their_age_until_their_job_is_known(receiver: Receiver) -> None:
    await submitted(receiver, video_id="1")
    assert is_ok(await send(receiver, pixverse_body(5, "1")))
    assert is_ok(await send(receiver, pixverse_body(5, "2")))
    receiver.clock.move(seconds=90)

    async def orphans(value: str = "true") -> httpx.Response:
        return await receiver.client.get("/v1/callbacks", params={"orphans": value}, headers=AUTH)

    (orphan,) = (await orphans()).json()["data"]
    assert (orphan["orphan"], orphan["job_id"], orphan["age_seconds"]) == (True, None, 90)
    assert (await receiver.callback(orphan["id"]))["body"] == pixverse_body(5, "2").decode()
    assert [entry["orphan"] for entry in (await orphans("false")).json()["data"]] == [True, False]
    assert (await orphans("yes")).status_code == 422
    await submitted(receiver, video_id="2")
    assert (await orphans()).json() == {"data": [], "has_more": False, "next": None}


async def test_an_orphan_outlives_a_restart(tmp_path: Path, host: Host, link: str) -> None:
    async with a_receiver(tmp_path, host, providers={"pixverse": PIXVERSE}) as receiver:
        assert is_ok(await send(receiver, pixverse_body(url=link)))
    async with a_receiver(tmp_path, host, providers={"pixverse": PIXVERSE}) as restarted:
        job = await submitted(restarted)
        await restarted.eventually(job, lambda job: job["video"]["status"] == "stored")


async def test_an_orphan_of_one_account_is_never_anothers(receiver: Receiver, link: str) -> None:
    assert is_ok(await send(receiver, pixverse_body(url=link), path=account_path("second"), secret=SECOND_SECRET))
    job = await submitted(receiver)
    assert (await receiver.job(job))["status"] == "submitted"
    assert (await receiver.callbacks())[0]["job_id"] is None
    theirs = await submitted(receiver, account="second")
    assert (await receiver.job(theirs))["status"] == "succeeded"


async def test_callbacks_that_race_with_the_report_of_the_submit_are_all_bound_and_applied_once(
    receiver: Receiver,
) -> None:
    ids = [str(int(VIDEO_ID) + number) for number in range(25)]
    jobs = [(await receiver.register("pixverse"))[0] for _ in ids]

    async def race(job: str, video_id: str, number: int) -> None:
        steps = [
            send(receiver, pixverse_body(5, video_id)),
            send(receiver, pixverse_body(7, video_id)),
            send(receiver, pixverse_body(7, video_id)),
        ]
        steps.insert(number % 4, receiver.submitted(job, video_id))  # type: ignore[arg-type] # gathered alike
        await asyncio.gather(*steps)

    await asyncio.gather(*(race(*pair, number) for number, pair in enumerate(zip(jobs, ids, strict=True))))
    for job in jobs:
        assert (await receiver.job(job))["status"] == "failed"
        assert len(await receiver.callbacks(job)) == 3
    assert receiver.rows("SELECT count(*) FROM callbacks WHERE job_id IS NULL OR verdict IS NULL") == [(0,)]
    assert receiver.rows("SELECT count(*) FROM notifications WHERE type = 'job.failed'") == [(25,)]


@pytest.mark.parametrize("status", [4, 6, 99])
async def test_a_number_nobody_has_listed_changes_no_job(receiver: Receiver, status: int) -> None:
    job = await submitted(receiver)
    assert is_ok(await send(receiver, pixverse_body(status)))
    assert (await receiver.job(job))["status"] == "submitted"
    assert (await receiver.callbacks(job))[0]["verdict"] == "unrecognised"


async def test_a_verified_body_without_an_id_is_kept_and_bound_to_nobody(receiver: Receiver) -> None:
    body = json.dumps({"status": 1, "url": "https://media.pixverse.ai/x.mp4"}).encode()
    assert is_ok(await send(receiver, body))
    job = await submitted(receiver)
    assert (await receiver.job(job))["status"] == "submitted"
    assert (await receiver.callbacks())[0]["job_id"] is None


# Nonces


async def test_a_signature_sent_again_is_answered_ok_and_changes_nothing(receiver: Receiver) -> None:
    job = await submitted(receiver)
    body, nonce = pixverse_body(5), a_nonce()
    answers = await asyncio.gather(*(send(receiver, body, nonce=nonce) for _ in range(20)))
    assert all(is_ok(answer) for answer in answers)
    assert len(await receiver.callbacks(job)) == 1
    assert receiver.rows("SELECT count(*) FROM notifications") == [(1,)]


async def test_a_retry_under_another_nonce_is_a_duplicate_and_accounts_share_no_nonces(receiver: Receiver) -> None:
    one, other = await submitted(receiver), await submitted(receiver, account="second")
    body, nonce = pixverse_body(5), a_nonce()
    assert is_ok(await send(receiver, body, nonce=nonce, age=6 * 3600 - 60))
    assert is_ok(await send(receiver, body))
    assert is_ok(await send(receiver, body, nonce=nonce, path=account_path("second"), secret=SECOND_SECRET))
    assert [entry["verdict"] for entry in await receiver.callbacks(one)] == ["duplicate", "applied"]
    assert [entry["verdict"] for entry in await receiver.callbacks(other)] == ["applied"]


# Silence


async def test_neither_secrets_nor_the_accounts_url_are_in_logs_or_answers(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    body = pixverse_body()
    answers = [await send(receiver, body), await send(receiver, body, secret="x"), await receiver.client.get("/x")]
    ours = [entry for entry in caplog.records if entry.name.partition(".")[0] not in ("aiosqlite", "httpcore")]
    said = "\n".join([*(entry.getMessage() for entry in ours), *(answer.text for answer in answers)])
    for secret in (*PIXVERSE["webhook_secrets"], SECOND_SECRET, account_path().rpartition("/")[2], PUBLIC_URL):
        assert secret not in said
    assert SECRET not in repr(receiver.settings)
