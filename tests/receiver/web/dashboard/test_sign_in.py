"""Signing in: who gets in, for how long, and what a stranger's page or a stranger's patience cannot do."""

import sqlite3
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from replyhook_receiver.stores.sessions import IDLE_FOR, LONGEST_SESSION
from replyhook_receiver.web.dashboard.sign_in import WRONG_KEYS_PER_MINUTE, is_next
from tests.receiver.support import API_KEY, AUTH, PUBLIC_URL, Receiver, a_host, a_receiver
from tests.receiver.web.dashboard.visiting import Visitor, a_visitor, csrf_in

COOKIE = "__Host-replyhook"


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with a_host() as host, a_receiver(tmp_path, host) as receiver:
        yield receiver


@pytest.fixture
async def stranger(receiver: Receiver) -> AsyncIterator[Visitor]:
    async with a_visitor(receiver, key=None) as visitor:
        yield visitor


async def made_key(receiver: Receiver, *scopes: str, user: str | None = None) -> tuple[str, str]:
    """A key that is made now: its id, and the key."""
    content = {"scopes": list(scopes), "user": user, "name": f"{'-'.join(scopes)} key"}
    made = (await receiver.client.post("/v1/keys", json=content, headers=AUTH)).json()
    return made["id"], made["key"]


async def is_in(visitor: Visitor) -> bool:
    return (await visitor.get("/jobs")).status_code == 200


async def test_a_stranger_is_led_to_the_sign_in_page_and_back_to_where_they_wanted_to_go(stranger: Visitor) -> None:
    led = await stranger.get("/jobs?status=failed")
    assert (led.status_code, led.headers["location"]) == (303, "/sign-in?next=%2Fjobs%3Fstatus%3Dfailed")
    page = await stranger.get(led.headers["location"])
    assert 'value="/jobs?status=failed"' in page.text
    entered = await stranger.sign_in(onward="/jobs?status=failed")
    assert (entered.status_code, entered.headers["location"]) == (303, "/jobs?status=failed")
    assert await is_in(stranger)


async def test_the_cookie_is_for_this_host_https_and_no_script(stranger: Visitor) -> None:
    cookie = next(each for each in (await stranger.sign_in()).headers.get_list("set-cookie") if COOKIE in each)
    assert all(part in cookie for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/;"))
    assert "Domain" not in cookie


async def test_only_a_hash_of_a_session_is_kept(receiver: Receiver, stranger: Visitor) -> None:
    await stranger.sign_in()
    cookie = stranger.client.cookies[COOKIE]
    with closing(sqlite3.connect(receiver.settings.database_path)) as raw:
        stored = "\n".join(raw.iterdump())
    assert 'INSERT INTO "sessions"' in stored
    session_id = receiver_session_id(cookie)
    assert len(session_id) == 43
    assert session_id not in stored
    assert session_id.encode().hex() not in stored.lower()
    assert cookie not in stored


def receiver_session_id(cookie: str) -> str:
    encoded = cookie.partition(".")[0]
    return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


async def test_a_wrong_key_does_not_get_in_and_is_not_repeated(stranger: Visitor) -> None:
    answer = await stranger.sign_in("rhk_geheim-and-wrong")
    assert answer.status_code == 401
    assert "rhk_geheim-and-wrong" not in answer.text
    assert COOKIE not in stranger.client.cookies
    assert not await is_in(stranger)


async def test_a_key_that_may_only_submit_does_not_get_in(receiver: Receiver, stranger: Visitor) -> None:
    _, key = await made_key(receiver, "submit")
    answer = await stranger.sign_in(key)
    assert answer.status_code == 403
    assert "read, operate or admin" in answer.text
    assert not await is_in(stranger)


async def test_too_many_wrong_keys_are_429_and_a_right_one_still_gets_in(stranger: Visitor) -> None:
    answers = [await stranger.sign_in("rhk_wrong") for _ in range(WRONG_KEYS_PER_MINUTE + 1)]
    assert [each.status_code for each in answers] == [401] * WRONG_KEYS_PER_MINUTE + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await stranger.sign_in()).status_code == 303


async def test_an_address_is_counted_that_a_trusted_proxy_saw_and_no_other(tmp_path: Path) -> None:
    async with (
        a_host() as host,
        a_receiver(tmp_path, host, trusted_proxies=("127.0.0.1",)) as receiver,
        a_visitor(receiver, key=None) as visitor,
    ):
        csrf = csrf_in(await visitor.get("/sign-in"))
        fields = {"csrf": csrf, "key": "rhk_wrong"}
        for _ in range(WRONG_KEYS_PER_MINUTE + 1):
            last = await visitor.post("/sign-in", fields, **{"x-forwarded-for": "203.0.113.7"})
        other = await visitor.post("/sign-in", fields, **{"x-forwarded-for": "203.0.113.8"})
    assert (last.status_code, other.status_code) == (429, 401)


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/jobs\r\nset-cookie: a=b",
        "/%0d%0a",
        "",
        "jobs",
        "/@evil.example",
        "/" + "a" * 600,
        "/jobs#x",
        "///evil.example",
        "/\t/evil.example",
    ],
)
async def test_signing_in_never_leads_to_another_host(stranger: Visitor, text: str) -> None:
    assert not is_next(text)
    assert (await stranger.sign_in(onward=text)).headers["location"] == "/"


async def test_a_form_of_another_page_signs_nobody_in(stranger: Visitor) -> None:
    csrf = csrf_in(await stranger.get("/sign-in"))
    fields = {"csrf": csrf, "key": API_KEY}
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ):
        assert (await stranger.client.post("/sign-in", data=fields, headers=headers)).status_code == 403
    for origin in ("https://evil.example", "null", "https://hooks.example.com.evil.example", "http://[x"):
        assert (await stranger.client.post("/sign-in", data=fields, headers={"origin": origin})).status_code == 403
    without_cookie = httpx.AsyncClient(transport=stranger.client._transport, base_url=PUBLIC_URL)
    assert (await without_cookie.post("/sign-in", data=fields)).status_code == 403
    assert (await stranger.post("/sign-in", {"key": API_KEY})).status_code == 403
    assert not await is_in(stranger)
    same = {"origin": PUBLIC_URL}
    assert (await stranger.client.post("/sign-in", data=fields, headers=same)).status_code == 303


async def test_a_session_ends_with_its_key(receiver: Receiver) -> None:
    key_id, key = await made_key(receiver, "read")
    async with a_visitor(receiver, key=key) as visitor:
        assert await is_in(visitor)
        assert (await receiver.client.delete(f"/v1/keys/{key_id}", headers=AUTH)).status_code == 204
        assert not await is_in(visitor)


async def test_a_session_ends_when_it_is_idle_and_at_last_in_any_case(receiver: Receiver) -> None:
    async with a_visitor(receiver) as idle, a_visitor(receiver) as busy:
        receiver.clock.move(seconds=IDLE_FOR.total_seconds() - 60)
        assert await is_in(busy)
        receiver.clock.move(seconds=120)
        assert not await is_in(idle)
        assert await is_in(busy)
        for _ in range(int(LONGEST_SESSION / IDLE_FOR)):
            receiver.clock.move(seconds=IDLE_FOR.total_seconds() - 60)
            still = await is_in(busy)
        assert not still


async def test_a_page_that_is_left_open_keeps_nobody_signed_in(receiver: Receiver) -> None:
    async with a_visitor(receiver) as visitor:
        for _ in range(2):
            receiver.clock.move(seconds=IDLE_FOR.total_seconds() * 0.6)
            last = await visitor.get("/jobs", **{"hx-request": "true"})
    assert last.status_code == 401


async def test_signing_out_ends_the_session_for_whoever_has_its_cookie(stranger: Visitor) -> None:
    await stranger.sign_in()
    cookie = stranger.client.cookies[COOKIE]
    csrf = await stranger.csrf()
    assert (await stranger.post("/sign-out", {"csrf": "0" * 48})).status_code == 403
    assert await is_in(stranger)
    left = await stranger.post("/sign-out", {"csrf": csrf})
    assert (left.status_code, left.headers["location"]) == (303, "/sign-in")
    assert COOKIE not in stranger.client.cookies
    stolen = await stranger.client.get("/jobs", headers={"cookie": f"{COOKIE}={cookie}"})
    assert stolen.status_code == 303


async def test_signing_in_again_ends_the_session_before(stranger: Visitor) -> None:
    page = await stranger.get("/sign-in")
    await stranger.sign_in()
    old = stranger.client.cookies[COOKIE]
    assert (await stranger.get("/sign-in")).status_code == 303
    csrf = csrf_in(page)
    before = next(each for each in page.headers.get_list("set-cookie") if "replyhook_before" in each).partition(";")[0]
    again = await stranger.client.post(
        "/sign-in", data={"csrf": csrf, "key": API_KEY}, headers={"cookie": f"{before}; {COOKIE}={old}"}
    )
    assert again.status_code == 303
    assert stranger.client.cookies[COOKIE] != old
    assert (await stranger.client.get("/jobs", headers={"cookie": f"{COOKIE}={old}"})).status_code == 303


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c", "é", "." * 5000])
async def test_a_cookie_that_is_none_of_ours_is_nobodys(stranger: Visitor, cookie: str) -> None:
    header = {"cookie": f"{COOKIE}={cookie}".encode()}
    assert (await stranger.client.get("/jobs", headers=header)).status_code == 303


async def test_a_token_of_another_purpose_is_no_session(stranger: Visitor) -> None:
    await stranger.get("/sign-in")
    before = stranger.client.cookies["replyhook_before"]
    assert (await stranger.client.get("/jobs", headers={"cookie": f"{COOKIE}={before}"})).status_code == 303


async def test_on_plain_http_the_cookie_goes_without_its_host_prefix(tmp_path: Path) -> None:
    async with (
        a_host() as host,
        a_receiver(tmp_path, host, public_url="http://127.0.0.1:8080") as receiver,
        a_visitor(receiver) as visitor,
    ):
        cookies = list(visitor.client.cookies)
    assert cookies == ["replyhook"]


async def test_what_is_no_form_is_refused(stranger: Visitor) -> None:
    assert (await stranger.client.post("/sign-in", json={})).status_code == 415
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert (await stranger.client.post("/sign-in", content=b"\xff", headers=kind)).status_code == 400
    many = "&".join("a=b" for _ in range(500))
    assert (await stranger.client.post("/sign-in", content=many, headers=kind)).status_code == 400
    assert (await stranger.client.post("/sign-in", content=b"a" * 100_000, headers=kind)).status_code == 413


async def test_a_key_has_so_many_sessions_and_of_more_the_longest_unused_are_over(receiver: Receiver) -> None:
    sessions, now = receiver.app.state.store.sessions, receiver.clock()
    await sessions.begin("another", "key_2", now=now)
    for number in range(103):
        await sessions.begin(str(number), "key_1", now=now + timedelta(seconds=number))
        await sessions.note_use("0", now=now + timedelta(seconds=number))
    found = [number for number in range(103) if await sessions.find(str(number)) is not None]
    assert found == [0, *range(4, 103)]
    assert await sessions.find("another") is not None
