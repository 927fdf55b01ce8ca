"""Two receivers on one PostgreSQL: what one is told the other knows, streams and finishes; and what a restart does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from replyhook_receiver.stores.postgres.listening import FALLBACK_SECONDS
from replyhook_receiver.stores.streams import StreamFilter
from replyhook_receiver.stream import Stream
from tests.receiver.postgres_server import PASSWORD, PostgreSQLServer
from tests.receiver.support import AUTH, NOW, Host, Receiver, a_receiver, until, useapi_body
from tests.receiver.web.test_callbacks import REQUEST_ID, fal_body, send_fal


@pytest.fixture
async def receivers(tmp_path: Path, host: Host, postgres_url: str) -> AsyncIterator[tuple[Receiver, Receiver]]:
    async with one(tmp_path, host, postgres_url) as first, one(tmp_path, host, postgres_url) as second:
        yield first, second


@asynccontextmanager
async def one(folder: Path, host: Host, url: str) -> AsyncIterator[Receiver]:
    async with a_receiver(folder, host, database_url=url) as running:
        yield running


async def call_back(receiver: Receiver, path: str, body: bytes) -> int:
    response = await receiver.client.post(path, content=body, headers={"content-type": "application/json"})
    return response.status_code


async def test_what_one_is_told_the_other_knows_and_each_fact_is_applied_once(
    receivers: tuple[Receiver, Receiver],
) -> None:
    first, second = receivers
    job, path = await first.register()
    body = useapi_body(job, "FAILED")
    assert await asyncio.gather(*(call_back(each, path, body) for each in (*receivers, *receivers))) == [200] * 4
    assert (await second.job(job))["status"] == "failed"
    verdicts = [each["verdict"] for each in await first.callbacks(job)]
    assert sorted(verdicts) == ["applied", "duplicate", "duplicate", "duplicate"]


@pytest.mark.parametrize(("path", "body"), [("/v1/keys", {}), ("/v1/endpoints", {"url": "https://93.184.215.14/x"})])
async def test_a_post_with_the_same_idempotency_key_is_done_once_though_both_are_sent_it_at_once(
    receivers: tuple[Receiver, Receiver], path: str, body: dict[str, str]
) -> None:
    headers = AUTH | {"idempotency-key": "once"}
    posts = [each.client.post(path, json=body, headers=headers) for each in (*receivers, *receivers)]
    answers = await asyncio.gather(*posts)
    assert sorted({each.status_code for each in answers}) in ([201], [201, 409])
    assert len({each.json()["id"] for each in answers if each.status_code == 201}) == 1
    assert all(each.headers["retry-after"] == "1" for each in answers if each.status_code == 409)
    again = await receivers[0].client.post(path, json=body, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await receivers[1].client.get(path, headers=AUTH)).json()["data"]) == 1


@pytest.mark.parametrize("seconds", [59, 61])
async def test_what_a_receiver_that_has_ended_was_asked_once_another_does_after_a_minute(
    receivers: tuple[Receiver, Receiver], seconds: float
) -> None:
    first, second = (each.app.state.store.idempotency for each in receivers)
    begun = await first.begin("caller", "key", "request", now=NOW)
    later = await second.begin("caller", "key", "request", now=NOW + timedelta(seconds=seconds))
    assert (later.runs_elsewhere, later.made_id) == (seconds < 60, begun.made_id)
    await first.let_go("caller", "key")
    assert not (await second.begin("caller", "key", "request", now=NOW)).runs_elsewhere


async def test_whoever_listens_at_one_hears_at_once_of_what_the_other_was_told(
    receivers: tuple[Receiver, Receiver],
) -> None:
    first, second = receivers
    job, path = await first.register()
    stream = Stream(second.app.state.store)
    second.app.state.store.on_change(tasks=lambda: None, notifications=stream.nudge)
    follower = await stream.follow(StreamFilter(jobs=frozenset({job})), after=0)
    assert await call_back(first, path, useapi_body(job, "FAILED")) == 200
    events = await follower.next(FALLBACK_SECONDS / 2)
    stream.leave(follower)
    await stream.stop()
    assert events
    assert b"job.failed" in events[0].data


async def test_while_postgres_is_away_callbacks_are_turned_away_to_come_again_and_nothing_is_ready(
    receivers: tuple[Receiver, Receiver], postgres_server: PostgreSQLServer, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = receivers
    job, path = await first.register()
    await asyncio.to_thread(postgres_server.stop)
    try:
        response = await second.client.post(path, content=useapi_body(job, "FAILED"))
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        for receiver in receivers:
            ready = await receiver.client.get("/readyz")
            assert (ready.status_code, json.loads(ready.content)["store"]) == (503, False)
    finally:
        await asyncio.to_thread(postgres_server.start)

    async def is_ready() -> bool:
        answers = [await receiver.client.get("/readyz") for receiver in receivers]
        return all(answer.status_code == 200 for answer in answers)

    await until(is_ready, seconds=60)
    assert await call_back(second, path, useapi_body(job, "FAILED")) == 200
    assert (await first.job(job))["status"] == "failed"
    assert PASSWORD not in caplog.text


async def test_a_sender_that_one_has_learned_the_other_enforces_soon(receivers: tuple[Receiver, Receiver]) -> None:
    first, second = receivers
    second.fal.key, second.clock.passed = first.fal.key, first.clock.passed
    second.fal.publish()

    async def told_by(receiver: Receiver, user: str, status: str) -> int:
        body = fal_body(REQUEST_ID, status)
        return (await send_fal(receiver, path, body, user_id=user)).status_code

    job, path = await first.register("fal")
    assert await told_by(second, "them", "IN_QUEUE") == 200
    await first.submitted(job, REQUEST_ID)
    assert await told_by(first, "us", "IN_PROGRESS") == 200
    second.clock.move(seconds=11)
    assert await told_by(second, "them", "OK") == 401
