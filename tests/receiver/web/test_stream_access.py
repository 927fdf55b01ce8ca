"""Who hears what on the stream: filters, a key's user, keys that are taken back, and links for browsers."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse
from starlette.applications import Starlette
from starlette.middleware import Middleware

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.records import Registration, Submission, SubmissionOutcome
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.stream import Stream
from replyhook_receiver.web.access_log import AccessLog
from replyhook_receiver.web.auth import Access, ApiKeys
from replyhook_receiver.web.live import StreamApi
from replyhook_receiver.web.problems import HANDLERS
from replyhook_receiver.web.stream_links import MAX_OPEN, StreamLinks
from replyhook_receiver.web.stream_response import StreamTimes
from tests.receiver.sqlite_file import lay
from tests.receiver.support import API_KEY, NOW, SIGNING_KEY, TOKENS, Clock, until

OWN = "rhk_own-key-of-ann-0123456789-0123"
TIMES = StreamTimes(ping=0.2, recheck=0.2, slow=0.5)


class Keys(ApiKeys):
    """Keys that can be taken back; one of them is Ann's and shows her jobs only."""

    def __init__(self) -> None:
        super().__init__([API_KEY, OWN])
        self.revoked: set[str] = set()
        self.ann = ""

    async def access(self, authorization: str | None) -> Access | None:
        found = await super().access(authorization)
        return None if found is None else self._scoped(found, authorization == f"Bearer {OWN}")

    async def access_now(self, key_id: str) -> Access | None:
        found = await super().access_now(key_id)
        return None if found is None else self._scoped(found, key_id == self.ann)

    def _scoped(self, access: Access, is_anns: bool) -> Access | None:
        if is_anns:
            self.ann = access.key_id
        if access.key_id in self.revoked:
            return None
        return replace(access, user="ann") if is_anns else access


@dataclass
class Live:
    client: httpx.AsyncClient
    store: SQLiteStore
    stream: Stream
    clock: Clock
    keys: Keys
    jobs: dict[str, str] = field(default_factory=dict)

    async def job(self, provider: str, user: str | None, reference: str | None = None) -> str:
        """A job that was refused: that is one notification, ``job.failed``."""
        job = new_id("job")
        known = Registration(job_id=job, provider=provider, reference=reference, user=user, notify=(), request={})
        await self.store.register(known, now=NOW)
        refused = Submission(outcome=SubmissionOutcome.REFUSED, error="no")
        await self.store.record_submission(job, refused, now=NOW)
        return job

    async def heard(self, path: str = "/v1/stream", *, key: str = API_KEY, after: str = "0", **query: Any) -> list[str]:
        """The jobs that a listener is told of until now."""
        headers = {"authorization": f"Bearer {key}", "last-event-id": after} if key else {"last-event-id": after}
        async with self.listening(path, headers, **query) as events:
            told = [event async for event in events if event.event == "job.failed"]
        return [json.loads(event.data)["data"]["id"] for event in told]

    @asynccontextmanager
    async def listening(
        self, path: str, headers: dict[str, str], **query: Any
    ) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        async with aconnect_sse(self.client, "GET", path, params=query, headers=headers) as source:
            assert source.response.status_code == 200, await source.response.aread()
            yield source.aiter_sse()

    async def link(self, key: str = API_KEY, **wanted: Any) -> str:
        answer = await self.client.post("/v1/stream/links", json=wanted, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["url"]).removeprefix("https://hooks.example.com")


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    clock, keys = Clock(), Keys()
    announcer = Announcer(public_url="https://hooks.example.com", personal=frozenset())
    store = SQLiteStore(lay(tmp_path / "live.db"), describe=announcer.body)
    await store.open()
    stream = Stream(store)
    store.on_change(tasks=lambda: None, notifications=stream.nudge)
    links = StreamLinks(tokens=TokenKeys((SIGNING_KEY,)), public_url="https://hooks.example.com")
    api = StreamApi(stream=stream, store=store, announcer=announcer, links=links, now=clock, times=TIMES)
    routes = api.routes(keys)
    app = Starlette(routes=routes, exception_handlers=HANDLERS, middleware=[Middleware(AccessLog, routes=routes)])
    app.state.before_shutdown = stream.close
    async with (
        served(app, free_socket()) as url,
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client,
    ):
        yield Live(client=client, store=store, stream=stream, clock=clock, keys=keys)
        await stream.stop()
    await store.close()


async def test_each_filter_takes_what_it_names_and_all_of_them_must_hold(live: Live) -> None:
    a = await live.job("fal", "ann", "order,1")
    b = await live.job("useapi", "bob", "order-2")
    c = await live.job("fal", "bob")
    for query, told in (
        ({}, [a, b, c]),
        ({"job": a}, [a]),
        ({"job": f"{a},{c}"}, [a, c]),
        ({"user": "bob"}, [b, c]),
        ({"user": ["ann", "bob"]}, [a, b, c]),
        ({"provider": "fal", "user": "bob"}, [c]),
        ({"provider": "fal,useapi"}, [a, b, c]),
        ({"reference": ["order,1", "order-2"]}, [a, b]),
        ({"types": "job.failed,video.stored"}, [a, b, c]),
        ({"types": ["video.stored", "job.running"]}, []),
    ):
        assert await live.heard(seconds=0.1, **query) == told, query


async def test_filters_hold_for_what_comes_as_for_what_was(live: Live) -> None:
    hearing = [
        asyncio.create_task(live.heard(seconds=0.6, user="ann")),
        asyncio.create_task(live.heard(seconds=0.6, provider="useapi", types="job.failed")),
        asyncio.create_task(live.heard(seconds=0.6, types="video.stored")),
    ]
    await until(lambda: live.stream.listeners == 3)
    a = await live.job("fal", "ann")
    b = await live.job("useapi", "ann")
    await live.job("fal", "bob")
    assert await asyncio.gather(*hearing) == [[a, b], [b], []]


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ({"types": "job.slept"}, "types", "job.failed"),
        ({"types": "job.failed,"}, "types", "video.stored"),
        ({"provider": "acme"}, "provider", "pixverse"),
        ({"user": ""}, "user", "1 to 256"),
        ({"reference": "a\x00b"}, "reference", "control"),
        ({"kind": "x"}, "kind", "provider"),
        ({"user": [str(number) for number in range(101)]}, "user", "at most 100"),
        ({"place": "yes"}, "place", "true or false"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused_with_what_can(
    live: Live, query: dict[str, Any], field: str, allowed: str
) -> None:
    answer = await live.client.get("/v1/stream", params=query, headers={"authorization": f"Bearer {API_KEY}"})
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert allowed in answer.json()["allowed"]


async def test_a_users_key_hears_that_user_only(live: Live) -> None:
    own, other = await live.job("fal", "ann"), await live.job("fal", "bob")
    assert await live.heard(key=OWN, seconds=0.5) == [own]
    assert await live.heard(key=OWN, seconds=0.1, user="ann") == [own]
    auth = {"authorization": f"Bearer {OWN}"}
    assert (await live.client.get("/v1/stream", params={"user": "bob"}, headers=auth)).status_code == 422
    assert (await live.client.get("/v1/stream", params={"job": other}, headers=auth)).status_code == 404
    assert (await live.client.post("/v1/stream/links", json={"job": other}, headers=auth)).status_code == 404
    async with live.listening(await live.link(OWN), {"last-event-id": "0"}) as events:
        assert json.loads((await anext(events)).data)["data"]["id"] == own
        newer = [await live.job("fal", user) for user in ("bob", "ann")]
        assert json.loads((await anext(events)).data)["data"]["id"] == newer[1]


async def test_a_key_that_is_taken_back_ends_its_streams_and_its_links(live: Live) -> None:
    job = await live.job("fal", "ann")
    link = await live.link(OWN, job=job)
    hearing = [
        asyncio.create_task(_all(live, "/v1/stream", {"authorization": f"Bearer {OWN}"})),
        asyncio.create_task(_all(live, link, {})),
        asyncio.create_task(_all(live, "/v1/stream", {"authorization": f"Bearer {API_KEY}"}, seconds=5)),
    ]
    await until(lambda: live.stream.listeners == 3)
    live.keys.revoked.add(live.keys.ann)
    async with asyncio.timeout(60):
        own, by_link, others = await asyncio.gather(*hearing)
    for events in (own, by_link):
        assert events[-1].event == "stream.ended"
        assert json.loads(events[-1].data)["reason"] == "not_allowed"
    assert others == []
    assert (await live.client.get(link)).status_code == 403
    assert live.stream.listeners == 0


async def _all(live: Live, path: str, headers: dict[str, str], **query: Any) -> list[ServerSentEvent]:
    async with live.listening(path, headers, **query) as events:
        return [event async for event in events]


async def test_a_link_opens_the_stream_that_it_was_made_for_and_no_other(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    job, _ = await live.job("fal", "ann", "geheim-ref"), await live.job("fal", "bob")
    with caplog.at_level(logging.INFO):
        link = await live.link(job=job, types=["job.failed"], snapshot=True)
        async with live.listening(link, {}) as events:
            assert [(await anext(events)).event for _ in range(2)] == ["job.failed", "job.snapshot"]
        async with live.listening(link, {"last-event-id": "9"}, job=new_id("job"), types="job.running") as events:
            assert (await anext(events)).event == "job.snapshot"
    token = link.rpartition("/")[2]
    logged = [record.getMessage() for record in caplog.records if record.name != "uvicorn.access"]  # that one is off
    assert not [words for words in logged if token in words]
    assert any("/streams/{token}" in words for words in logged)
    spoilt = link[:-1] + ("A" if link[-1] != "A" else "B")
    job_token = TOKENS.mint(provider="fal", job_id=job, now=NOW)
    for path in (spoilt, f"/streams/{job_token}", "/streams/x", "/streams/" + "x" * 9000, "/streams/é"):
        answer = await live.client.get(path)
        assert answer.status_code == 403, path
        assert token not in answer.text


async def test_a_link_opens_for_five_minutes_and_what_it_opened_goes_on(live: Live) -> None:
    link = await live.link(user="ann")
    answer = await live.client.post(
        "/v1/stream/links", json={"user": "ann"}, headers={"authorization": f"Bearer {API_KEY}"}
    )
    assert answer.json()["expires_at"] == "2026-11-21T12:05:00Z"
    async with live.listening(link, {}) as events:
        live.clock.move(minutes=5, seconds=1)
        async with asyncio.timeout(60):
            refused = await live.client.get(link)
        assert refused.status_code == 403
        assert "expired" in refused.json()["detail"]
        assert refused.headers["access-control-allow-origin"] == "*"
        job = await live.job("fal", "ann")
        async with asyncio.timeout(60):
            assert json.loads((await anext(events)).data)["data"]["id"] == job


async def test_one_link_opens_only_so_many_streams_at_a_time(live: Live) -> None:
    link = await live.link()
    hearing = [asyncio.create_task(_all(live, link, {})) for _ in range(MAX_OPEN)]
    await until(lambda: live.stream.listeners == MAX_OPEN)
    async with asyncio.timeout(60):
        assert (await live.client.get(link)).status_code == 429
    for each in hearing:
        each.cancel()
    await asyncio.gather(*hearing, return_exceptions=True)
    await until(lambda: live.stream.listeners == 0)
    async with live.listening(link, {}):
        pass


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"types": ["job.slept"]}, "types"),
        ({"snapshot": True}, "snapshot"),
        ({"seconds": 9}, "body"),
        ({"reference": ["x" * 1000 + str(number) for number in range(9)]}, "token"),
    ],
)
async def test_a_link_that_cannot_be_is_refused(live: Live, body: dict[str, Any], field: str) -> None:
    answer = await live.client.post("/v1/stream/links", json=body, headers={"authorization": f"Bearer {API_KEY}"})
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_a_wish_for_a_link_has_a_bound(live: Live) -> None:
    body = b'{"user": "' + b"x" * 100_000 + b'"}'
    answer = await live.client.post("/v1/stream/links", content=body, headers={"authorization": f"Bearer {API_KEY}"})
    assert answer.status_code == 413


async def test_a_place_that_is_no_longer_kept_is_told_and_what_is_kept_follows(live: Live) -> None:
    jobs = [await live.job("fal", "ann") for _ in range(6)]
    await live.store.database.write(lambda raw: raw.execute("DELETE FROM notifications WHERE sequence <= 3"))
    headers = {"authorization": f"Bearer {API_KEY}", "last-event-id": "1"}
    async with live.listening("/v1/stream", headers, seconds=0.5) as events:
        told = [event async for event in events]
    assert [(event.event, event.id) for event in told][:2] == [("reset", "3"), ("job.failed", "4")]
    assert json.loads(told[0].data)["reason"] == "too_old"
    for kept in ("3", "0"):
        assert await live.heard(after=kept, seconds=0.5) == jobs[3:]
    async with live.listening("/v1/stream", headers | {"last-event-id": "99"}, seconds=0.5) as events:
        (reset, *more) = [event async for event in events]
    assert not [event for event in more if event.data]  # the place alone is told again, as a ping
    assert (reset.event, reset.id, json.loads(reset.data)["reason"]) == ("reset", "6", "not_reached")


async def test_who_asks_for_it_is_told_first_where_the_stream_begins(live: Live) -> None:
    await live.job("fal", "ann")
    async with live.listening("/v1/stream", {"authorization": f"Bearer {API_KEY}"}, place="true") as events:
        first = await anext(events)
        assert (first.event, first.id) == ("stream.place", "1")


async def test_a_silent_stream_is_kept_open_by_comments(live: Live) -> None:
    auth = {"authorization": f"Bearer {API_KEY}"}
    async with live.client.stream("GET", "/v1/stream", params={"seconds": 0.8}, headers=auth) as response:
        sent = "".join([chunk async for chunk in response.aiter_text()])
    assert re.fullmatch(r"(: ping\r\n\r\n){2,}", sent)
    assert (await live.client.head("/v1/stream", headers=auth)).status_code == 200
