"""`GET /v1/stream`: from the start, from where a listener stopped, live, and to its end. On real sockets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse
from starlette.types import Message

from replyhook.ids import new_id
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.stream import Stream
from replyhook_receiver.web.app import create_app
from tests.receiver.support import AUTH, NOW, SECRETS, Clock, callback_path, settings_for, useapi_body


@dataclass
class Server:
    client: httpx.AsyncClient

    async def progress(self, job: str, *percents: int) -> None:
        for percent in percents:
            body = useapi_body(job, progress=percent, video_id=f"v-{job}")
            response = await self.client.post(callback_path("useapi", job), content=body)
            assert response.content == b"ok"

    @asynccontextmanager
    async def listening(
        self, headers: dict[str, str] | None = None, **query: Any
    ) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        connecting = aconnect_sse(self.client, "GET", "/v1/stream", params=query, headers=AUTH | (headers or {}))
        async with connecting as source:
            assert source.response.status_code == 200
            yield source.aiter_sse()

    async def heard(self, headers: dict[str, str] | None = None, **query: Any) -> list[ServerSentEvent]:
        """All that comes until the stream ends by itself."""
        async with self.listening(headers, **query) as events:
            return [event async for event in events]


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Server]:
    app = create_app(settings_for(folder), secrets=SECRETS, now=Clock())
    async with (
        served(app, free_socket()) as url,
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client,
    ):
        yield Server(client)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as running:
        yield running


def percents(events: list[ServerSentEvent]) -> list[int]:
    return [json.loads(event.data)["data"]["progress"] for event in events]


async def test_a_jobs_stream_begins_with_all_that_was_announced(server: Server) -> None:
    job = new_id("job")
    await server.progress(job, 10, 20)
    await server.progress(new_id("job"), 99)
    events = await server.heard(job=job, seconds=1.0)
    assert percents(events) == [10, 20]
    assert [event.event for event in events] == ["job.running"] * 2
    content = json.loads(events[0].data)
    assert content["type"] == "job.running"
    assert content["timestamp"] == NOW.isoformat().replace("+00:00", "Z")
    assert content["data"]["id"] == job


async def test_a_listener_goes_on_where_it_stopped_without_missing_or_repeating(server: Server) -> None:
    job = new_id("job")
    await server.progress(job, 10, 20, 30)
    first = await server.heard(job=job, seconds=1.0)
    rest = await server.heard({"last-event-id": first[0].id}, job=job, seconds=1.0)
    assert percents(rest) == [20, 30]
    assert await server.heard({"last-event-id": first[-1].id}, job=job, seconds=0.2) == []
    assert percents(await server.heard({"last-event-id": "0"}, seconds=1.0)) == [10, 20, 30]


async def test_what_happens_is_pushed_as_it_happens_to_every_listener(server: Server) -> None:
    job, other = new_id("job"), new_id("job")
    await server.progress(job, 1)
    async with server.listening(job=job) as of_job, server.listening() as of_all:
        assert percents([await anext(of_job)]) == [1]
        for percent in (2, 3, 4):
            started = time.monotonic()
            await server.progress(other, percent)
            await server.progress(job, percent)
            async with asyncio.timeout(60):
                assert percents([await anext(of_job)]) == [percent]
                assert percents([await anext(of_all), await anext(of_all)]) == [percent, percent]
            assert time.monotonic() - started < 10


async def test_a_page_is_no_limit(server: Server) -> None:
    job = new_id("job")
    await asyncio.gather(*(server.progress(new_id("job"), 50) for _ in range(105)), server.progress(job, *range(1, 31)))
    events = await server.heard({"last-event-id": "0"}, seconds=1.0)
    places = [int(event.id) for event in events]
    assert len(places) == 135
    assert places == sorted(set(places))
    assert percents(await server.heard(job=job, seconds=1.0)) == list(range(1, 31))


async def test_a_snapshot_stands_between_what_was_announced_and_what_comes(server: Server) -> None:
    job = new_id("job")
    await server.progress(job, 10, 20)
    await server.progress(new_id("job"), 99)
    async with server.listening(job=job, snapshot="true") as events:
        assert percents([await anext(events), await anext(events)]) == [10, 20]
        snapshot = json.loads((await anext(events)).data)
        assert snapshot["type"] == "job.snapshot"
        assert snapshot["data"] == (await server.client.get(f"/v1/jobs/{job}", headers=AUTH)).json()
        await server.progress(job, 30)
        assert percents([await anext(events)]) == [30]
    for place in ("9999", "0"):  # whatever was heard before, the present is told
        heard = await server.heard({"last-event-id": place}, job=job, snapshot="true", seconds=1.0)
        assert heard[0 if place == "9999" else 3].event == "job.snapshot"


async def test_a_snapshot_after_more_than_a_page_repeats_and_misses_nothing(server: Server) -> None:
    job = new_id("job")
    await server.progress(job, *range(101))
    events = await server.heard(job=job, snapshot="true", seconds=1.0)
    assert percents(events[:-1]) == list(range(101))
    assert events[-1].event == "job.snapshot"


async def test_history_ends_at_its_place_though_there_is_more(tmp_path: Path) -> None:
    job = new_id("job")
    async with serving(tmp_path) as server:
        await server.progress(job, 10, 20, 30)
    store = SQLiteStore(settings_for(tmp_path).database_path, describe=lambda *_: b"")
    await store.open()
    places = [each.sequence for each in await store.notifications(after=0, job_id=job)]
    stream = Stream(store)
    for last, count in ((places[1], 2), (places[2], 3), (0, 0)):
        told = [each.sequence async for each in stream.history(after=0, through=last, job_id=job)]
        assert told == places[:count]
    await store.close()


@pytest.mark.parametrize("query", [{"snapshot": "true"}, {"snapshot": "yes", "job": "JOB"}])
async def test_a_snapshot_of_nothing_is_a_422(server: Server, query: dict[str, str]) -> None:
    job = new_id("job")
    await server.progress(job, 1)
    params = {name: value.replace("JOB", job) for name, value in query.items()}
    response = await server.client.get("/v1/stream", params=params, headers=AUTH)
    assert (response.status_code, response.json()["field"]) == (422, "snapshot")


async def test_a_stream_ends_after_the_seconds_asked_for(server: Server) -> None:
    started = time.monotonic()
    assert await server.heard(seconds=0.3) == []
    assert 0.25 < time.monotonic() - started < 10


async def test_a_stream_ends_properly_though_its_listener_was_slow_to_take_the_last_event(tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path), secrets=SECRETS, now=Clock())
    job = new_id("job")
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        await Server(client).progress(job, 10, 20)
        sent: list[Message] = []

        async def receive() -> Message:
            await asyncio.sleep(120)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await asyncio.sleep(0.2 if message.get("body") else 0)
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/stream",
            "query_string": f"job={job}&seconds=0.1".encode(),
            "headers": [(name.encode(), value.encode()) for name, value in AUTH.items()],
        }
        async with asyncio.timeout(60):
            await app(scope, receive, send)
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.parametrize("cursor", ["-1", "x", "1.5", "evt_1", "9" * 19, "\xb2", "0x1"])
async def test_a_place_this_stream_never_gave_is_a_422(server: Server, cursor: str) -> None:
    headers = [*AUTH.items(), ("last-event-id", cursor.encode("latin-1"))]
    response = await server.client.get("/v1/stream?seconds=1", headers=headers)  # type: ignore[arg-type] # bytes are fine
    assert (response.status_code, response.json()["field"]) == (422, "Last-Event-ID")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x", "", "1e9"])
async def test_seconds_that_are_none_are_a_422(server: Server, seconds: str) -> None:
    response = await server.client.get("/v1/stream", params={"seconds": seconds}, headers=AUTH)
    assert (response.status_code, response.json()["field"]) == (422, "seconds")


async def test_a_shutdown_ends_the_streams_and_is_not_held_up_by_them(tmp_path: Path) -> None:
    job = new_id("job")
    app = create_app(settings_for(tmp_path), secrets=SECRETS, now=Clock())
    running = served(app, free_socket())
    url = await running.__aenter__()
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        server = Server(client)
        await server.progress(job, 10)
        async with server.listening(job=job) as events:
            await anext(events)
            started = time.monotonic()
            ending = asyncio.create_task(running.__aexit__(None, None, None))
            with suppress(httpx.HTTPError):
                assert [event async for event in events] == []
            await ending
    assert time.monotonic() - started < 10
