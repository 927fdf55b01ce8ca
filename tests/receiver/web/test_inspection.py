"""Looking into what happened over HTTP: lists, one callback whole, a job's timeline; replaying and binding."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.receiver.support import (
    AUTH,
    NOW,
    PERSONAL_ID,
    Host,
    Receiver,
    a_receiver,
    callback_path,
    fal_body,
    says,
    until,
    useapi_body,
)

UNKNOWN = "06gzvyj6038xt427xgy6esgkjx"
PIXVERSE: dict[str, Any] = {"webhook_id": "1", "webhook_secrets": ["pixverse-geheim"]}


@pytest.fixture
async def receiver(tmp_path: Path, host: Host) -> AsyncIterator[Receiver]:
    async with a_receiver(tmp_path, host) as running:
        yield running


async def get(receiver: Receiver, path: str, **query: Any) -> Any:
    response = await receiver.client.get(path, params=query, headers=AUTH)
    assert response.status_code == 200, response.text
    return response.json()


async def post(receiver: Receiver, path: str, content: Any = None) -> httpx.Response:
    return await receiver.client.post(path, json={} if content is None else content, headers=AUTH)


async def replay(receiver: Receiver, callback: str, *what: str, dry_run: bool = False) -> dict[str, Any]:
    response = await post(receiver, f"/v1/callbacks/{callback}/replay", {"what": what, "dry_run": dry_run})
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


async def told(receiver: Receiver, path: str, body: bytes, **headers: str) -> None:
    response = await receiver.client.post(path, content=body, headers=headers)
    assert (response.status_code, response.text) == (200, "ok")


async def stored(receiver: Receiver, host: Host, clip: bytes, query: str = "?signature=geheim") -> tuple[str, str]:
    """A useapi job with its video stored, and the callback that brought it."""
    hooks = host.will("/hooks/geheim", says(204))
    job, path = await receiver.register("useapi", reference="order-42", notify=[{"url": f"{hooks}?token=geheim"}])
    await receiver.submitted(job, PERSONAL_ID)
    await told(receiver, path, useapi_body(job, progress=40))
    link = host.will("/out.mp4", says(200, clip, content_type="video/mp4"))
    await told(receiver, path, useapi_body(job, "COMPLETED", url=f"{link}{query}"), **{"x-api-key": "geheim"})
    await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")
    await until(lambda: host.asked("/hooks/geheim") == 2)
    return job, (await receiver.callbacks(job))[0]["id"]


async def test_the_timeline_tells_everything_in_order_and_nothing_secret(
    receiver: Receiver, host: Host, clip: bytes
) -> None:
    job, callback = await stored(receiver, host, clip)

    async def is_delivered() -> bool:
        entries = (await get(receiver, f"/v1/jobs/{job}/timeline"))["data"]
        return [entry["status"] for entry in entries if entry["kind"] == "delivery"] == ["delivered"] * 2

    await until(is_delivered)
    story = await get(receiver, f"/v1/jobs/{job}/timeline")
    kinds = [entry["kind"] for entry in story["data"]]
    assert kinds == [
        "registered", "submission", "callback", "callback", "task", "stored",
        "notification", "notification", "notification", "delivery", "delivery",
    ]  # fmt: skip
    by_kind = {entry["kind"]: entry for entry in story["data"]}
    assert (by_kind["submission"]["outcome"], by_kind["registered"]["reference"]) == ("accepted", "order-42")
    assert (by_kind["callback"]["id"], by_kind["callback"]["trust"]) == (callback, "token_only")
    assert by_kind["callback"]["told"]["result_url"].endswith("/out.mp4")
    assert (by_kind["task"]["task"], by_kind["task"]["state"], by_kind["task"]["attempts"]) == ("download", "done", 1)
    assert by_kind["stored"]["bytes"] == len(clip)
    delivery = by_kind["delivery"]
    assert (delivery["status"], delivery["answer"], delivery["attempts"]) == ("delivered", 204, 1)
    assert delivery["endpoint"] == f"{host.url}/…"
    shown = json.dumps(story)
    assert "geheim" not in shown
    assert "jane.doe" not in shown
    assert (await receiver.client.get(f"/v1/jobs/job_{UNKNOWN}/timeline", headers=AUTH)).status_code == 404


async def test_a_callback_is_shown_without_what_is_secret_in_it_unless_it_is_wanted_raw(
    receiver: Receiver, host: Host, clip: bytes
) -> None:
    _, callback = await stored(receiver, host, clip)
    kept = await get(receiver, f"/v1/callbacks/{callback}")
    assert ["x-api-key", "(hidden)"] in kept["headers"]
    assert (kept["body_encoding"], kept["body_masked"], kept["told"]["provider_job_id"]) == ("text", True, "(personal)")
    assert "geheim" not in json.dumps(kept)
    assert "jane.doe" not in json.dumps(kept)
    body = json.loads(kept["body"])  # still what a parser reads
    assert (body["video_id"], body["url"]) == ("(personal)", f"{host.url}/out.mp4?...")
    raw = await receiver.callback(callback)
    assert json.loads(raw["body"])["video_id"] == PERSONAL_ID
    assert (raw["body_masked"], ["x-api-key", "(hidden)"] in raw["headers"]) == (False, True)
    listed = json.dumps((await get(receiver, "/v1/callbacks"))["data"] + (await get(receiver, "/v1/events"))["data"])
    assert "geheim" not in listed
    assert "jane.doe" not in listed


async def test_the_reply_urls_token_is_hidden_wherever_it_is_repeated(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    token = path.rpartition("/")[2]
    escaped = path.replace("/", "\\/")
    body = b'{"replyUrl": "https://hooks.example.com%s", "again": "https:\\/\\/x%s"}' % (
        path.encode(),
        escaped.encode(),
    )
    await told(receiver, path, body, **{"x-original-uri": path, "referer": f"https://hooks.example.com{path}?a=1"})
    (kept,) = await receiver.callbacks(job)
    shown = await get(receiver, f"/v1/callbacks/{kept['id']}")
    assert token not in json.dumps(shown)
    assert json.loads(shown["body"])["replyUrl"] == "https://hooks.example.com/callbacks/useapi/(hidden)"
    raw = await receiver.callback(kept["id"])
    assert token in raw["body"]
    assert token not in json.dumps(raw["headers"])


async def test_a_signature_is_hidden(receiver: Receiver) -> None:
    _, path = await receiver.register("fal")
    body = fal_body("r-1")
    headers = receiver.fal.headers(body, request_id="r-1")
    await told(receiver, path, body, **headers)
    kept = await receiver.callback((await receiver.callbacks())[0]["id"])
    assert headers["x-fal-webhook-signature"] not in json.dumps(kept)
    assert ["x-fal-webhook-user-id", "fal-user-1"] in kept["headers"]


@pytest.mark.parametrize(
    "unit", [b"https://", b"a", b"@", b"https://a?", b"\\", b"a@", b"%40x", b'\\/\\/https:"'], ids=repr
)
async def test_masking_takes_no_longer_for_a_body_that_is_made_to_be_hard(receiver: Receiver, unit: bytes) -> None:
    job, path = await receiver.register("useapi")
    body = (unit * (1_000_000 // len(unit)))[:1_000_000]
    await told(receiver, path, body)
    begun = time.monotonic()
    kept = await receiver.callback((await receiver.callbacks(job))[0]["id"], raw=False)
    assert (kept["bytes"], time.monotonic() - begun < 5) == (len(body), True)  # a bad pattern would take minutes


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"), ({"limit": "101"}, "limit"), ({"limit": "x"}, "limit"), ({"before": "x"}, "before"),
        ({"before": "job_06gzvyj6038xt427xgy6esgkjx"}, "before"), ({"trust": "blind"}, "trust"),
        ({"verdict": "fine"}, "verdict"), ({"source": "rumour"}, "source"), ({"since": "yesterday"}, "since"),
        ({"until": "9" * 400}, "until"), ({"orphans": "yes"}, "orphans"), ({"provider": "sora"}, "provider"),
        ({"verdikt": "applied"}, "verdikt"), ({"unrecognised": "true", "verdict": "applied"}, "verdict"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_filter_that_makes_no_sense_is_said_to(receiver: Receiver, query: dict[str, str], field: str) -> None:
    answer = await receiver.client.get("/v1/callbacks", params=query, headers=AUTH)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    assert answer.json()["allowed"]
    events = {name: value for name, value in query.items() if name in ("limit", "before", "verdict", "source")}
    if events and "unrecognised" not in query:
        assert (await receiver.client.get("/v1/events", params=events, headers=AUTH)).status_code == 422


async def test_lists_are_filtered_and_paged(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    for progress in range(5):
        await told(receiver, path, useapi_body(job, progress=progress))
        receiver.clock.move(seconds=1)
    await told(receiver, path, b"\xffgarbage")
    first = await get(receiver, "/v1/callbacks", job=job, limit=4)
    rest = await get(receiver, "/v1/callbacks", job=job, limit=4, before=first["data"][-1]["id"])
    assert (len(first["data"]), first["has_more"], len(rest["data"]), rest["has_more"]) == (4, True, 2, False)
    assert [entry["told"] and entry["told"]["progress"] for entry in first["data"]] == [None, 4, 3, 2]
    (unread,) = (await get(receiver, "/v1/callbacks", unrecognised="true"))["data"]
    assert (unread["verdict"], unread["told"], unread["bytes"]) == ("unrecognised", None, 8)
    since = NOW.replace(second=3).isoformat()
    assert len((await get(receiver, "/v1/callbacks", since=since))["data"]) == 3
    assert len((await get(receiver, "/v1/callbacks", until=since, source="callback", trust="token_only"))["data"]) == 3
    events = await get(receiver, "/v1/events", job=job, status="running", limit=2)
    assert ([entry["progress"] for entry in events["data"]], events["has_more"]) == ([4, 3], True)


async def test_a_name_leads_to_its_job(receiver: Receiver, host: Host, clip: bytes) -> None:
    job, callback = await stored(receiver, host, clip)
    for name in (job, "order-42", callback, PERSONAL_ID, callback.replace("cb_", "evt_")):
        assert [each["job_id"] for each in (await get(receiver, "/v1/find", name=name))["data"]] == [job]
    assert (await get(receiver, "/v1/find", name="nobody"))["data"] == []
    for name in ("", "x" * 2000):
        assert (await receiver.client.get("/v1/find", params={"name": name}, headers=AUTH)).status_code == 422


def as_if_unread(settings_path: Path, callback: str, body: bytes) -> None:
    """Let the database be that of an older replyhook, whose parser could not read ``body``."""
    with closing(sqlite3.connect(settings_path)) as raw, raw:
        raw.execute("UPDATE callbacks SET body = ? WHERE id = ?", (body, callback))


async def test_a_mended_parser_reads_what_was_kept_and_the_video_is_stored_without_telling_again(
    tmp_path: Path, host: Host, clip: bytes
) -> None:
    link = host.will("/out.mp4", says(200, clip, content_type="video/mp4"))
    async with a_receiver(tmp_path, host) as older:
        job, path = await older.register("useapi", notify=[{"url": host.will("/hooks", says(204))}])
        await older.submitted(job, PERSONAL_ID)
        await told(older, path, b"\xffgarbage")
        (kept,) = await older.callbacks(job)
        assert kept["verdict"] == "unrecognised"
    as_if_unread(older.settings.database_path, kept["id"], useapi_body(job, "COMPLETED", url=link))
    async with a_receiver(tmp_path, host) as receiver:
        read = await replay(receiver, kept["id"], "parse")
        assert (read["read"]["kept"], read["read"]["now"]["status"], read["read"]["changed"]) == (
            None,
            "succeeded",
            True,
        )
        assert (await receiver.job(job))["status"] == "submitted"
        assert read["before"] == read["after"]
        dry = await replay(receiver, kept["id"], "parse", "state", dry_run=True)
        assert (dry["dry_run"], dry["verdict"], dry["after"]["status"]) == (True, "applied", "succeeded")
        assert (dry["announced"], dry["deliveries"], dry["withheld_deliveries"]) == (["job.succeeded"], 0, 1)
        assert (dry["tasks"], dry["callback_id"]) == (["download"], None)
        assert ((await receiver.job(job))["status"], len(await receiver.callbacks(job))) == ("submitted", 1)
        done = await replay(receiver, kept["id"], "state")
        assert (done["verdict"], done["after"]["status"]) == ("applied", "succeeded")
        ended = await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")
        assert ended["trust"] == "token_only"
        await until(
            lambda: host.asked("/hooks") == 1
        )  # that the video is stored is news; that it succeeded was not told
        assert json.loads(host.seen[-1][3])["type"] == "video.stored"
        again = await replay(receiver, kept["id"], "state", "download", "notify")
        assert (again["verdict"], again["download"]) == ("duplicate", "not needed: the video is stored")
        await until(lambda: host.asked("/hooks") == 3)
        ids = [headers["webhook-id"] for _, path, headers, _ in host.seen if path == "/hooks"]
        assert len(set(ids)) == 3


async def test_what_was_told_to_the_wrong_job_is_not_applied_to_it_when_it_can_be_read_no_more(
    receiver: Receiver, host: Host
) -> None:
    job, path = await receiver.register("useapi")
    other, _ = await receiver.register("useapi")
    link = f"{host.url}/theirs.mp4"
    await told(receiver, path, json.dumps({"replyRef": other, "video_status_name": "COMPLETED", "url": link}).encode())
    (kept,) = await receiver.callbacks(job)
    assert kept["verdict"] == "conflict"
    done = await replay(receiver, kept["id"], "state", "download")
    assert (done["verdict"], done["tasks"]) == ("duplicate", [])
    as_if_unread(receiver.settings.database_path, kept["id"], b"\xff")
    done = await replay(receiver, kept["id"], "state", "download", "notify")
    assert (done["verdict"], done["after"]["status"], done["tasks"]) == (None, "created", [])
    assert (await receiver.job(other))["status"] == "created"


async def test_a_replay_is_a_dry_run_of_the_reading_unless_more_is_said(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    await told(receiver, path, useapi_body(job, progress=40))
    (kept,) = await receiver.callbacks(job)
    answer = (await post(receiver, f"/v1/callbacks/{kept['id']}/replay")).json()
    assert (answer["dry_run"], answer["verdict"], answer["read"]["changed"]) == (True, None, False)
    for content in ({"what": []}, {"what": ["everything"]}, {"what": "state"}, {"dry": True}, {"dry_run": "no"}, []):
        assert (await post(receiver, f"/v1/callbacks/{kept['id']}/replay", content)).status_code == 422, content
    assert (await post(receiver, f"/v1/callbacks/cb_{UNKNOWN}/replay")).status_code == 404
    assert len(await receiver.callbacks(job)) == 1


async def test_a_replay_is_not_replayed_itself(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    await told(receiver, path, useapi_body(job, progress=40))
    (kept,) = await receiver.callbacks(job)
    done = await replay(receiver, kept["id"], "state")
    whole = await receiver.callback(done["callback_id"])
    assert (whole["source"], whole["headers"], whole["body"]) == ("replay", [["replay-of", kept["id"]]], "")
    refused = await post(receiver, f"/v1/callbacks/{done['callback_id']}/replay", {"what": ["state"]})
    assert (refused.status_code, kept["id"] in refused.json()["allowed"]) == (422, True)


async def test_a_request_that_was_not_believed_cannot_be_replayed(receiver: Receiver) -> None:
    job, path = await receiver.register("fal")
    body = fal_body("r-1")
    answer = await receiver.client.post(path, content=body, headers=receiver.fal.headers(b"other", request_id="r-1"))
    assert answer.status_code == 401
    forged = callback_path("fal", job)[:-3] + "abc"
    assert (await receiver.client.post(forged, content=body)).status_code == 401
    assert await receiver.callbacks() == []


async def test_an_answer_of_ours_is_not_read_as_a_callback(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, providers={"fal": {"api_key": "k"}}) as receiver:
        job, path = await receiver.register("fal")
        await receiver.submitted(job, "r-1")
        status, result = (f"/fal/fal-ai/pixverse/requests/r-1{end}" for end in ("/status", ""))
        host.will(status, says(200, b'{"status": "COMPLETED"}'))
        host.will(result, says(200, json.dumps({"video": {"url": f"{host.url}/gone.mp4"}}).encode()))
        body = fal_body("r-1", payload=None)
        await told(receiver, path, body, **receiver.fal.headers(body, request_id="r-1"))
        await receiver.eventually(job, lambda job: job["status"] == "succeeded")
        answer = next(entry for entry in await receiver.callbacks(job) if entry["source"] == "reconcile")
        done = await replay(receiver, answer["id"], "parse", "state")
        assert "question of ours" in done["read"]["problem"]
        assert (done["read"]["now"], done["verdict"]) == (None, "duplicate")


async def test_an_orphan_is_bound_by_hand(tmp_path: Path, host: Host, clip: bytes) -> None:
    from tests.receiver.web.test_account_callbacks import account_path, pixverse_body, pixverse_headers

    link = host.will("/out.mp4", says(200, clip, content_type="video/mp4"))
    given = {"pixverse": PIXVERSE | {"media_hosts": ["127.0.0.1"]}}
    async with a_receiver(tmp_path, host, providers=given) as receiver:
        for body in (pixverse_body(5), pixverse_body(url=link)):
            await told(receiver, account_path(), body, **pixverse_headers(body))
        orphan = (await get(receiver, "/v1/callbacks", orphans="true"))["data"][0]["id"]
        job, _ = await receiver.register("pixverse")
        other, _ = await receiver.register("pixverse")
        wrong, path = await receiver.register("useapi")
        await told(receiver, path, b"garbage")
        (unread,) = await receiver.callbacks(wrong)

        async def bind(callback: str, to: str) -> httpx.Response:
            return await post(receiver, f"/v1/callbacks/{callback}/bind", {"job": to})

        assert (await bind(orphan, wrong)).status_code == 409
        assert (await bind(orphan, f"job_{UNKNOWN}")).status_code == 404
        assert (await bind(f"cb_{UNKNOWN}", job)).status_code == 404
        assert (await bind(unread["id"], job)).status_code == 409
        bound = await bind(orphan, job)
        assert (bound.status_code, bound.json()["id"], bound.json()["status"]) == (200, job, "succeeded")
        assert {entry["job_id"] for entry in await receiver.callbacks() if entry["provider"] == "pixverse"} == {job}
        assert (await bind(orphan, job)).status_code == 200
        assert (await bind(orphan, other)).status_code == 409
        await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")


async def test_a_jobs_reply_url_is_the_one_that_its_registration_was_answered_with(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    receiver.clock.move(hours=1)
    answer = (await post(receiver, f"/v1/jobs/{job}/reply-url")).json()
    assert answer["reply_url"].endswith(path)
    assert (await post(receiver, f"/v1/jobs/job_{UNKNOWN}/reply-url")).status_code == 404
