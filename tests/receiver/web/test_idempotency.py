"""`Idempotency-Key` on POSTs: the same request is done once, and answered the same again for a day."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from replyhook.ids import is_id
from replyhook_receiver.errors import StoreUnavailable, UnknownJob
from replyhook_receiver.own_secrets import Secrets
from replyhook_receiver.stores.idempotency import KeptAnswer
from replyhook_receiver.stores.sql.idempotency import SQLIdempotency
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.web.app import create_app
from replyhook_receiver.web.idempotency import Idempotency, made_id_of
from replyhook_receiver.web.route_scopes import RULES
from replyhook_receiver.web.sealing import unseal
from tests.receiver.support import (
    API_KEY,
    AUTH,
    SECRETS,
    Clock,
    Host,
    Receiver,
    a_receiver,
    says_json,
    settings_for,
    useapi_body,
)

SUBMIT = "/segmind/v1/pixverse-5-extend"
CONTENTS = {"provider": "segmind", "video": "https://a.example/in.mp4", "request": {"prompt": "on"}}
OTHER = CONTENTS | {"reference": "another"}


@pytest.fixture
async def receiver(tmp_path: Path, host: Host) -> AsyncIterator[Receiver]:
    host.will(SUBMIT, says_json({"error": "no"}, 400))
    providers = {"segmind": {"base_url": f"{host.url}/segmind", "api_key": "k"}}
    async with a_receiver(tmp_path, host, providers=providers) as running:
        yield running


async def post(receiver: Receiver, key: str = "key-1", contents: Any = CONTENTS, **headers: str) -> httpx.Response:
    named = AUTH | {"idempotency-key": key} | headers
    return await receiver.client.post("/v1/jobs", json=contents, headers=named)


def jobs(receiver: Receiver) -> int:
    ((count,),) = receiver.rows("SELECT count(*) FROM jobs")
    return int(count)


async def test_the_same_request_with_the_same_key_is_one_job_and_answered_the_same(receiver: Receiver) -> None:
    first = await post(receiver)
    assert (first.status_code, "idempotent-replayed" in first.headers) == (202, False)
    await receiver.eventually(first.json()["id"], lambda job: job["status"] == "failed")
    again = await post(receiver)
    assert (again.status_code, again.content) == (202, first.content)  # as it was then
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert jobs(receiver) == 1
    assert (await post(receiver, "key-2")).json()["id"] != first.json()["id"]


async def test_the_key_with_another_request_is_a_422_and_nothing_is_done(receiver: Receiver) -> None:
    await post(receiver)
    answer = await post(receiver, contents=OTHER)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "Idempotency-Key" in answer.json()["detail"]
    assert jobs(receiver) == 1


async def test_many_at_once_are_one_job_and_those_that_are_too_early_are_told_to_come_again(
    receiver: Receiver,
) -> None:
    answers = await asyncio.gather(*(post(receiver) for _ in range(10)))
    assert jobs(receiver) == 1
    assert {answer.status_code for answer in answers} <= {202, 409}
    early = [answer for answer in answers if answer.status_code == 409]
    assert early
    assert all(answer.headers["retry-after"] == "1" and answer.json()["still_running"] is True for answer in early)
    assert (await post(receiver)).status_code == 202


async def test_a_refusal_is_kept_as_well(receiver: Receiver) -> None:
    bad = CONTENTS | {"video": "in.mp4"}
    first, again = await post(receiver, contents=bad), await post(receiver, contents=bad)
    assert (first.status_code, again.status_code, again.content) == (422, 422, first.content)
    assert (first.headers["content-type"], again.headers["content-type"]) == ("application/problem+json",) * 2
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "x" * 256, "two\tparts", "caf\xe9"])
async def test_a_key_that_is_none_is_a_400(receiver: Receiver, key: str) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in (AUTH | {"idempotency-key": key}).items()]
    answer = await receiver.client.post("/v1/jobs", json=CONTENTS, headers=headers)
    assert answer.status_code == 400
    assert "1 to 255 printable ASCII" in answer.json()["detail"]
    assert jobs(receiver) == 0


async def test_two_keys_are_none(receiver: Receiver) -> None:
    headers = [*AUTH.items(), ("idempotency-key", "a"), ("idempotency-key", "b")]
    assert (await receiver.client.post("/v1/jobs", json=CONTENTS, headers=headers)).status_code == 400


async def test_the_longest_key_will_do(receiver: Receiver) -> None:
    assert (await post(receiver, "~" * 255)).status_code == 202


async def test_without_a_valid_api_key_nothing_is_told_or_kept(receiver: Receiver) -> None:
    await post(receiver)
    answer = await post(receiver, authorization=f"Bearer {API_KEY}x")
    assert answer.status_code == 401
    assert receiver.rows("SELECT count(*) FROM idempotency") == [(1,)]


async def test_a_key_is_its_callers_own(tmp_path: Path, host: Host) -> None:
    others = "rhk_another-0123456789-0123456789"
    host.will(SUBMIT, says_json({"error": "no"}, 400))
    settings = settings_for(tmp_path, providers={"segmind": {"base_url": f"{host.url}/segmind", "api_key": "k"}})
    secrets = Secrets(
        signing_keys=SECRETS.signing_keys,
        api_keys=(API_KEY, others),
        notification_secrets=SECRETS.notification_secrets,
    )
    app = create_app(settings, secrets=secrets, now=Clock())
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as client,
    ):
        made = set()
        for key in (API_KEY, others, API_KEY):
            headers = {"authorization": f"Bearer {key}", "idempotency-key": "key-1"}
            made.add((await client.post("/v1/jobs", json=CONTENTS, headers=headers)).json()["id"])
        assert len(made) == 2
    with closing(sqlite3.connect(settings.database_path)) as raw:
        kept = str(raw.execute("SELECT * FROM idempotency").fetchall())
    assert API_KEY not in kept
    assert others not in kept


async def test_after_a_day_a_key_is_forgotten_and_old_ones_go_away_a_few_at_a_time(receiver: Receiver) -> None:
    first = await post(receiver)
    for number in range(120):
        await post(receiver, f"more-{number}", {"provider": "nobody", "video": "x"})
    receiver.clock.move(hours=23, minutes=59)
    assert (await post(receiver)).json()["id"] == first.json()["id"]
    receiver.clock.move(minutes=1)
    assert (await post(receiver, contents=OTHER)).json()["id"] != first.json()["id"]
    for left in (71, 22, 3):
        assert receiver.rows("SELECT count(*) FROM idempotency") == [(left,)]
        await post(receiver, f"fresh-{left}", {"provider": "nobody", "video": "x"})


# A run that did not come to its end


def unanswer(receiver: Receiver) -> None:
    """What a kill between the job's commit and the answer's leaves behind."""
    with closing(sqlite3.connect(receiver.settings.database_path)) as raw:
        raw.execute("UPDATE idempotency SET status = NULL, content_type = NULL, body = NULL")
        raw.commit()


async def test_a_run_that_was_cut_off_after_the_job_was_noted_makes_no_second_job(
    receiver: Receiver, host: Host
) -> None:
    first = await post(receiver)
    await receiver.eventually(first.json()["id"], lambda job: job["status"] == "failed")
    unanswer(receiver)
    again = await post(receiver)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert "idempotent-replayed" not in again.headers
    assert (jobs(receiver), host.asked(SUBMIT)) == (1, 1)
    unanswer(receiver)
    assert (await post(receiver, contents=OTHER)).status_code == 422


class FullDisk(SQLIdempotency):
    """Takes keys, and no answers."""

    async def keep_answer(self, caller: str, key: str, answer: KeptAnswer) -> None:  # noqa: ARG002 - the protocol's
        raise StoreUnavailable("the disk is full")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "replyhook.db", describe=lambda *_: b"{}")
    await store.open()
    yield store
    await store.close()


def asking(key: str | None = "k") -> Request:
    headers = [(b"authorization", b"Bearer x")] + ([(b"idempotency-key", key.encode())] if key else [])
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "query_string": b"", "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    return Request(scope, receive)


@pytest.mark.parametrize(
    ("error", "status"), [(UnknownJob("no such job"), 404), (HTTPException(404, "no"), 404), (None, 201)]
)
async def test_an_answer_below_500_is_given_again(store: SQLiteStore, error: Exception | None, status: int) -> None:
    runs = 0

    async def endpoint(_: Request) -> Response:
        nonlocal runs
        runs += 1
        if error is not None:
            raise error
        return Response(b"done", status_code=201)

    once = Idempotency(store.idempotency, now=Clock()).once(endpoint)
    assert [(await once(asking())).status_code for _ in range(2)] == [status, status]
    assert runs == 1
    await asyncio.gather(*(_ended(once, asking(key=None)) for _ in range(2)))
    assert runs == 3


async def _ended(once: Any, request: Request) -> None:
    try:
        await once(request)
    except (UnknownJob, HTTPException):
        return


@pytest.mark.parametrize("error", [StoreUnavailable("busy"), RuntimeError("a fault of ours"), HTTPException(503, "x")])
async def test_our_own_trouble_is_not_kept_and_the_next_run_makes_the_same(
    store: SQLiteStore, error: Exception
) -> None:
    made: list[str] = []

    async def endpoint(request: Request) -> Response:
        made.append(made_id_of(request, "job"))
        if len(made) == 1:
            raise error
        return Response(b"done")

    once = Idempotency(store.idempotency, now=Clock()).once(endpoint)
    with pytest.raises(type(error)):
        await once(asking())
    assert (await once(asking())).status_code == 200
    assert len(set(made)) == 1
    assert is_id("job", made[0])


async def test_what_is_done_is_answered_so_even_if_the_answer_cannot_be_kept(store: SQLiteStore) -> None:
    async def endpoint(request: Request) -> Response:
        return Response(made_id_of(request, "job"))

    once = Idempotency(FullDisk(store.database), now=Clock()).once(endpoint)
    first, again = [(await once(asking())).body for _ in range(2)]
    assert first == again


POSTS = sorted(route.split()[1] for route in RULES if route.startswith("POST "))


@pytest.mark.parametrize("path", POSTS)
async def test_every_post_with_a_key_is_answered_once(receiver: Receiver, path: str) -> None:
    job, reply = await receiver.register("useapi")
    await receiver.client.post(reply, content=useapi_body(job))
    endpoint = (await receiver.client.post("/v1/endpoints", json={"url": "https://127.0.0.1:9/"}, headers=AUTH)).json()
    ids = {"jobs": job, "callbacks": (await receiver.callbacks(job))[0]["id"], "endpoints": endpoint["id"]}
    bodies: dict[str, Any] = {
        "/v1/jobs": CONTENTS,
        "/v1/jobs/{id}/submission": {"outcome": "accepted", "provider_job_id": "p-1"},
        "/v1/callbacks/{id}/bind": {"job": job},
        "/v1/deliveries/retry": {"status": "dead"},
        "/v1/endpoints": {"url": "https://127.0.0.1:9/another"},
    }
    url = path.replace("{id}", ids.get(path.split("/")[2], "dlv_nobody"))
    headers = AUTH | {"idempotency-key": "once"}
    body = bodies.get(path, {})
    first = await receiver.client.post(url, json=body, headers=headers)
    again = await receiver.client.post(url, json=body, headers=headers)
    assert first.status_code < 500
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    other = await receiver.client.post(url, json={**body, "another": 1}, headers=headers)
    assert other.status_code == 422
    assert "another request" in other.json()["detail"]


async def test_a_kept_answer_with_a_secret_opens_for_its_key_alone(receiver: Receiver) -> None:
    headers = AUTH | {"idempotency-key": "make-one"}
    made = await receiver.client.post("/v1/keys", json={}, headers=headers)
    again = await receiver.client.post("/v1/keys", json={}, headers=headers)
    assert made.json()["key"] == again.json()["key"]
    ((body,),) = receiver.rows("SELECT body FROM idempotency")
    assert made.json()["key"].encode() not in body
    assert unseal(body, secret=API_KEY, about="make-one") == made.content
    assert unseal(body, secret=f"{API_KEY}x", about="make-one") is None
    assert unseal(body, secret=API_KEY, about="another") is None
    assert unseal(body[:-1], secret=API_KEY, about="make-one") is None
    assert len(receiver.rows("SELECT id FROM api_keys")) == 1
