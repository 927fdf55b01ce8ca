"""API keys: made, used, limited, revoked; what is kept of them, and what a user's key makes its user's."""

import hashlib
import json
import logging
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.ids import new_id
from replyhook_receiver.stores.keys import Keys
from replyhook_receiver.stores.sqlite import upkeep
from replyhook_receiver.web.auth import NOTED_EVERY, ApiKeys
from tests.receiver.support import (
    API_KEY,
    AUTH,
    NOW,
    PUBLIC_URL,
    Host,
    Receiver,
    a_receiver,
    callback_path,
    says,
    until,
    useapi_body,
)

MISSING = "key_06gzvyj6038xt427xgy6esgkjx"
FAL = {"fal": {"api_key": "fal-geheim"}}


@pytest.fixture
async def receiver(tmp_path: Path, host: Host) -> AsyncIterator[Receiver]:
    async with a_receiver(tmp_path, host, providers=FAL) as running:
        yield running


def kept(receiver: Receiver) -> Keys:
    keys: Keys = receiver.app.state.store.keys
    return keys


async def made(receiver: Receiver, **contents: Any) -> dict[str, Any]:
    answer = await receiver.client.post("/v1/keys", json=contents, headers=AUTH)
    assert answer.status_code == 201, answer.text
    content: dict[str, Any] = answer.json()
    return content


async def status(receiver: Receiver, key: str, path: str = "/v1/jobs") -> int:
    return (await receiver.client.get(path, headers={"authorization": f"Bearer {key}"})).status_code


async def test_a_key_is_shown_once_and_kept_as_a_hash(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        key = await made(receiver, name="shop", scopes=["read"], expires_at="2026-12-24T00:00:00Z")
        assert re.fullmatch(r"rhk_[\w-]{43}", key["key"])
        assert await status(receiver, key["key"]) == 200
        await until(lambda: receiver.rows("SELECT last_used_ms FROM api_keys") != [(None,)])
    shown = (await receiver.client.get("/v1/keys", headers=AUTH)).text
    shown += (await receiver.client.get(f"/v1/keys/{key['id']}", headers=AUTH)).text
    assert key["key"] not in shown + caplog.text
    assert json.loads((await receiver.client.get("/v1/keys", headers=AUTH)).text)["data"][0] == {
        "id": key["id"],
        "starts_with": key["key"][:8],
        "name": "shop",
        "scopes": ["read"],
        "user": None,
        "state": "valid",
        "created_at": "2026-11-21T12:00:00Z",
        "expires_at": "2026-12-24T00:00:00Z",
        "last_used_at": "2026-11-21T12:00:00Z",
        "revoked_at": None,
    }
    files = [path.read_bytes() for path in receiver.settings.data_dir.iterdir() if path.is_file()]
    secret, plain = key["key"].encode(), hashlib.sha256(key["key"].encode())
    assert not [1 for content in files if secret in content or secret[8:24] in content or plain.digest() in content]


async def test_nothing_but_the_whole_key_opens(receiver: Receiver) -> None:
    key, other = (await made(receiver))["key"], (await made(receiver))["key"]
    ((digest,), *_) = receiver.rows("SELECT hash FROM api_keys")
    for wrong in (
        key[:-1], key[:8], key + "A", key[:-1] + "=", key.upper(), key.replace("rhk_", ""), f"{key[:20]}%", "%",
        "_" * 47, key[:24] + other[24:], digest.hex(), "", f"{key}\x00", f"{key} {other}",
        "rhk_" + "é" * 43, "' OR 1=1 --",
    ):  # fmt: skip
        header = b"Bearer " + wrong.encode()
        answer = await receiver.client.get("/v1/jobs", headers=[(b"authorization", header)])
        assert answer.status_code == 401, wrong
    for form in (f"Basic {key}", key, f"bearer{key}"):
        assert (await receiver.client.get("/v1/jobs", headers={"authorization": form})).status_code == 401
    assert await status(receiver, key) == 200


async def test_a_hash_is_keyed_with_its_own_databases_secret(receiver: Receiver, tmp_path: Path, host: Host) -> None:
    key = await made(receiver)
    (tmp_path / "other" / "data").mkdir(mode=0o700, parents=True)
    upkeep.migrate(
        tmp_path / "other" / "data" / receiver.settings.database_path.name
    )  # anew: our tests' others are copies
    async with a_receiver(tmp_path / "other", host) as other:
        assert other.rows("SELECT secret FROM key_hashing") != receiver.rows("SELECT secret FROM key_hashing")
        with closing(sqlite3.connect(other.settings.database_path)) as raw, raw:
            (row,) = receiver.rows("SELECT * FROM api_keys")
            raw.execute("INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        assert await status(other, key["key"]) == 401


async def test_a_revoked_key_opens_nothing_at_once_and_its_row_stays(receiver: Receiver) -> None:
    key = await made(receiver, scopes=["admin"])
    auth = {"authorization": f"Bearer {key['key']}"}
    assert (await receiver.client.delete(f"/v1/keys/{key['id']}", headers=auth)).status_code == 204
    assert await status(receiver, key["key"]) == 401
    receiver.clock.move(hours=1)
    assert (await receiver.client.delete(f"/v1/keys/{key['id']}", headers=AUTH)).status_code == 204
    shown = (await receiver.client.get(f"/v1/keys/{key['id']}", headers=AUTH)).json()
    assert (shown["state"], shown["revoked_at"]) == ("revoked", "2026-11-21T12:00:00Z")
    for method in ("GET", "DELETE"):
        assert (await receiver.client.request(method, f"/v1/keys/{MISSING}", headers=AUTH)).status_code == 404


async def test_a_revoked_keys_streams_and_links_end(receiver: Receiver) -> None:
    key = await made(receiver, scopes=["read"], user="ann")
    keys = ApiKeys([API_KEY], kept=kept(receiver), now=receiver.clock)
    link = await receiver.client.post("/v1/stream/links", json={}, headers={"authorization": f"Bearer {key['key']}"})
    found = await keys.access_now(key["id"])
    assert found is not None
    assert (found.user, found.scopes) == ("ann", {"read"})
    await receiver.client.delete(f"/v1/keys/{key['id']}", headers=AUTH)
    assert await keys.access_now(key["id"]) is None  # as every open stream asks each 30 s
    answer = await receiver.client.get(link.json()["url"].removeprefix(PUBLIC_URL))
    assert answer.status_code == 403


async def test_a_guarded_route_without_a_rule_is_for_nobody() -> None:
    async def forgotten(_: Request) -> Response:
        return Response("secret")

    app = Starlette(routes=[Route("/v1/forgotten", ApiKeys([API_KEY]).guard(forgotten))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as client:
        assert (await client.get("/v1/forgotten", headers=AUTH)).status_code == 403


async def test_a_key_ends_when_it_expires(receiver: Receiver) -> None:
    key = await made(receiver, expires_at="2026-11-21T13:00:00+00:30")
    assert await status(receiver, key["key"]) == 200
    receiver.clock.move(minutes=30)
    assert await status(receiver, key["key"]) == 401
    shown = (await receiver.client.get(f"/v1/keys/{key['id']}", headers=AUTH)).json()
    assert shown["state"] == "expired"


@pytest.mark.parametrize(
    ("contents", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["read", "root"]}, "scopes"),
        ({"scopes": ["read", "admin"], "user": "ann"}, "scopes"),
        ({"user": ""}, "user"),
        ({"user": "x" * 257}, "user"),
        ({"name": "a\x1b[2J"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"expires_at": "2026-11-21T12:00:00Z"}, "expires_at"),
        ({"expires_at": "2027-11-21T12:00:00"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),  # the year 10,000 in UTC, which nobody can read
        ({"key": "rhk_mine"}, "body"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(receiver: Receiver, contents: dict[str, Any], field: str) -> None:
    answer = await receiver.client.post("/v1/keys", json=contents, headers=AUTH)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_keys_are_listed_by_pages(receiver: Receiver) -> None:
    made_ids = []
    for number in range(3):
        made_ids.append((await made(receiver, name=f"key {number}"))["id"])
        receiver.clock.move(seconds=1)
    first = (await receiver.client.get("/v1/keys", params={"limit": 2}, headers=AUTH)).json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (made_ids[:0:-1], True)
    rest = (await receiver.client.get("/v1/keys", params={"before": made_ids[1]}, headers=AUTH)).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (made_ids[:1], False)
    for query in ({"limit": "0"}, {"before": "job_1"}, {"user": "x"}):
        assert (await receiver.client.get("/v1/keys", params=query, headers=AUTH)).status_code == 422


class Counting:
    """Keys that count how often a use is written."""

    def __init__(self, keys: Keys) -> None:
        self.find, self.get, self._keys, self.noted = keys.find, keys.get, keys, list[datetime]()

    async def note_use(self, key_id: str, *, now: datetime) -> None:
        self.noted.append(now)
        await self._keys.note_use(key_id, now=now)


async def test_the_last_use_is_written_once_a_minute_and_nobody_waits_for_it(receiver: Receiver) -> None:
    counting: Any = Counting(kept(receiver))
    keys = ApiKeys([API_KEY], kept=counting, now=receiver.clock)
    header = f"Bearer {(await made(receiver))['key']}"
    for _ in range(20):
        assert await keys.access(header)
    await keys.close()
    receiver.clock.move(seconds=NOTED_EVERY.total_seconds() - 1)
    assert await keys.access(header)
    await keys.close()
    assert counting.noted == [NOW]
    receiver.clock.move(seconds=1)
    assert await keys.access(header)
    await keys.close()
    receiver.clock.move(hours=-2)  # a clock that was set back does not stop it
    found = await keys.access(header)
    await keys.close()
    assert counting.noted == [NOW, NOW + NOTED_EVERY, NOW + NOTED_EVERY - timedelta(hours=2)]
    assert found is not None
    assert await keys.access_now(found.key_id) == found
    assert len(counting.noted) == 3


async def test_callbacks_touch_no_key(receiver: Receiver) -> None:
    key = await made(receiver)
    job, path = await receiver.register()
    answer = await receiver.client.post(
        path, content=useapi_body(job), headers={"authorization": f"Bearer {key['key']}"}
    )
    assert answer.status_code == 200
    assert receiver.rows("SELECT last_used_ms FROM api_keys") == [(None,)]


async def test_a_key_that_asks_too_often_is_told_when_to_come_again_and_others_are_not(
    tmp_path: Path, host: Host
) -> None:
    async with a_receiver(tmp_path, host, requests_per_minute=5) as receiver:
        key = await receiver.key("read")
        answers = [await receiver.client.get("/v1/jobs", headers=key) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
        assert "too often" in answers[-1].json()["detail"]
        assert (await receiver.client.get("/v1/jobs", headers=AUTH)).status_code == 200
        for _ in range(10):
            answer = await receiver.client.post(callback_path("useapi", new_id("job")), content=useapi_body(None))
            assert answer.status_code == 200


async def test_a_users_key_makes_its_users_jobs_and_endpoints(receiver: Receiver, host: Host) -> None:
    host.will("/fal/fal-ai/pixverse/extend", says(500))
    ann = await receiver.key("submit", "operate", user="ann")
    job = new_id("job")
    put = await receiver.client.put(f"/v1/jobs/{job}", json={"provider": "useapi"}, headers=ann)
    assert (put.status_code, put.json()["user"]) == (200, "ann")
    again = await receiver.client.put(f"/v1/jobs/{job}", json={"provider": "useapi", "user": "ann"}, headers=ann)
    assert again.status_code == 200
    other = {"provider": "useapi", "user": "bob"}
    assert (await receiver.client.put(f"/v1/jobs/{new_id('job')}", json=other, headers=ann)).status_code == 422
    relayed = {"provider": "fal", "video": "https://example.com/one.mp4", "request": {"prompt": "on"}}
    posted = await receiver.client.post("/v1/jobs", json=relayed, headers=ann)
    assert (posted.status_code, posted.json()["user"]) == (202, "ann"), posted.text
    added = await receiver.client.post("/v1/endpoints", json={"url": host.url}, headers=ann)
    assert (added.status_code, added.json()["user"]) == (201, "ann")


async def test_a_users_key_cannot_take_anothers_job_by_its_id(receiver: Receiver) -> None:
    ann, bob = await receiver.key("submit", user="ann"), await receiver.key("submit", user="bob")
    relayed = {"id": new_id("job"), "provider": "fal", "video": "https://example.com/1.mp4", "request": {"prompt": "x"}}
    assert (await receiver.client.post("/v1/jobs", json=relayed, headers=bob)).status_code == 202
    for answer in (
        await receiver.client.post("/v1/jobs", json=relayed, headers=ann),
        await receiver.client.put(f"/v1/jobs/{relayed['id']}", json={"provider": "fal"}, headers=ann),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, f"there is no job {relayed['id']}")
    # What only a callback told of, and no user was named for, is filled in by whoever registers it.
    unheard = new_id("job")
    assert (await receiver.client.post(callback_path("useapi", unheard), content=useapi_body(unheard))).is_success
    put = await receiver.client.put(f"/v1/jobs/{unheard}", json={"provider": "useapi"}, headers=ann)
    assert (put.status_code, put.json()["user"]) == (200, "ann")


async def test_an_idempotency_key_is_its_api_keys_own(receiver: Receiver) -> None:
    ann, anns_other = await receiver.key("submit", user="ann"), await receiver.key("submit", user="ann")
    bob = await receiver.key("submit", user="bob")
    relayed = {"provider": "fal", "video": "https://example.com/one.mp4", "request": {"prompt": "on"}}
    answers = [
        await receiver.client.post("/v1/jobs", json=relayed, headers={**auth, "idempotency-key": "order-1"})
        for auth in (ann, ann, anns_other, bob)
    ]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true", None, None]
    assert len({answer.json()["id"] for answer in answers}) == 3
    assert [answer.json()["user"] for answer in answers] == ["ann", "ann", "ann", "bob"]
    listed = (await receiver.client.get("/v1/keys", headers=AUTH)).json()["data"]
    (anns,) = (each["id"] for each in listed if f"Bearer {each['starts_with']}" in ann["authorization"])
    await receiver.client.delete(f"/v1/keys/{anns}", headers=AUTH)
    replay = await receiver.client.post("/v1/jobs", json=relayed, headers={**ann, "idempotency-key": "order-1"})
    assert replay.status_code == 401


async def test_a_users_key_takes_only_so_many_of_the_endpoints_that_all_share(receiver: Receiver, host: Host) -> None:
    ann = await receiver.key("operate", user="ann")
    answers = [await receiver.client.post("/v1/endpoints", json={"url": host.url}, headers=ann) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [201] * 20 + [409]
    assert (await receiver.client.post("/v1/endpoints", json={"url": host.url}, headers=AUTH)).status_code == 201
