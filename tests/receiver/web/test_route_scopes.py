"""Every route of the receiver, walked: no key, too little scope, another user's things. No new one slips through."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from replyhook.ids import new_id
from replyhook_receiver.keys import Scope, with_implied
from replyhook_receiver.stores.owners import Thing
from replyhook_receiver.web.app import create_app
from replyhook_receiver.web.route_scopes import PAGES, RULES, Within
from replyhook_receiver.web.stream_links import StreamLinks
from tests.receiver.support import (
    AUTH,
    NOW,
    PUBLIC_URL,
    SECRETS,
    TOKENS,
    Receiver,
    a_host,
    a_receiver,
    says,
    settings_for,
    until,
    useapi_body,
)

OPEN_TO_ALL = {
    "GET /docs",  # what the API is, is no secret
    "GET /docs/style.css",
    "GET /openapi.json",
    "GET /healthz",
    "GET /readyz",
    "GET /streams/{token}",  # its token is its own permission, and so it is below
    "GET /videos/{token}",
    "GET /videos/{token}/poster",
    "GET /static/{hash}/{name}",
    "GET /sign-in",
    "POST /sign-in",
    "POST /sign-out",
}
PREFIXES = {Thing.JOB: "job", Thing.NEW_JOB: "job", Thing.CALLBACK: "cb", Thing.DELIVERY: "dlv", Thing.ENDPOINT: "ep"}
ANN, BOB, NOBODY = "ann-geheim", "bob-geheim", None
LINKS = StreamLinks(tokens=TOKENS, public_url=PUBLIC_URL)
LIMITS = {"GET /v1/stream": {"seconds": "0.1"}, "GET /v1/find": {"name": "ref-ann-geheim"}}
ALONE = (Scope.SUBMIT, Scope.READ, Scope.OPERATE, Scope.ADMIN)


def routes() -> list[str]:
    """Every route of an app, as method and template."""
    app = create_app(settings_for(Path("nowhere"), metrics=True), secrets=SECRETS)
    assert all(isinstance(route, Route) for route in app.routes)
    known = [route for route in app.routes if isinstance(route, Route)]
    return [f"{method} {route.path}" for route in known for method in sorted((route.methods or set()) - {"HEAD"})]


GUARDED = sorted(set(routes()) - OPEN_TO_ALL - set(PAGES))  # the dashboard's: tests/receiver/web/dashboard


@dataclass
class World:
    """A receiver that holds the same things of Ann, of Bob and of nobody; and keys of all kinds."""

    receiver: Receiver
    things: dict[str | None, dict[Thing, list[str]]] = field(default_factory=dict)
    operators: list[str] = field(default_factory=list)
    """The endpoint that hears of everybody, and the deliveries to it."""
    by_scope: dict[Scope, dict[str, str]] = field(default_factory=dict)
    anns: dict[str, str] = field(default_factory=dict)

    async def ask(self, route: str, auth: dict[str, str] | None, ident: str = "", **more: Any) -> httpx.Response:
        method, template = route.split()
        if method != "GET":
            more.setdefault("content", b"{}")
        path = template.replace("{id}", ident or new_id("key"))
        query = {**LIMITS.get(route, {}), **more.pop("params", {})}
        headers = {**(auth or {}), "last-event-id": "0", "x-request-id": "the-same-for-all"}
        return await self.receiver.client.request(method, path, params=query, headers=headers, **more)

    def marks(self, user: str | None) -> list[str]:
        """What must not be seen by others."""
        ids = [ident for idents in self.things[user].values() for ident in idents]
        return [*ids, f"ref-{user}", *([user] if user else [])]

    def of_others(self) -> list[str]:
        return [*self.marks(BOB), *self.marks(NOBODY), *self.operators]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with a_host() as host, a_receiver(tmp_path_factory.mktemp("world"), host, metrics=True) as receiver:
        world = World(receiver)
        hook = host.will("/hook", says(204))
        for user in (ANN, BOB, NOBODY):
            content = {"url": hook, "user": user, "name": f"ref-{user}"}
            made = await receiver.client.post("/v1/endpoints", json=content, headers=AUTH)
            world.things[user] = {Thing.ENDPOINT: [made.json()["id"]]}
        for user, things in world.things.items():
            job, path = await receiver.register(
                user=user, reference=f"ref-{user}", notify=[{"url": hook}], request={"prompt": f"ref-{user}"}
            )
            await receiver.submitted(job, f"video-ref-{user}")
            told = useapi_body(job, "FAILED", video_id=f"video-ref-{user}")
            assert (await receiver.client.post(path, content=told)).status_code == 200
            assert (await receiver.job(job))["status"] == "failed"
            things[Thing.JOB] = [job]
        await until(lambda: receiver.rows("SELECT count(*) FROM deliveries WHERE status <> 'delivered'") == [(0,)])
        world.operators = world.things[NOBODY].pop(Thing.ENDPOINT)
        _sort(world)
        world.by_scope = {scope: await receiver.key(scope) for scope in ALONE}
        world.anns = await receiver.key("submit", "operate", user=ANN)
        yield world


def _sort(world: World) -> None:
    """Whose every row is."""
    rows = world.receiver.rows
    (operators,) = world.operators
    for things in world.things.values():
        (job,) = things[Thing.JOB]
        things[Thing.CALLBACK] = [id_ for id_, of in rows("SELECT id, job_id FROM callbacks") if of == job]
        places = [id_ for id_, of in rows("SELECT id, job_id FROM endpoints") if of == job]
        things[Thing.ENDPOINT] = [*things.get(Thing.ENDPOINT, []), *places]
        statement = """
            SELECT d.id, n.job_id, d.endpoint_id FROM deliveries d JOIN notifications n ON n.sequence = d.notification
        """
        mine = [(id_, place) for id_, of, place in rows(statement) if of == job]
        things[Thing.DELIVERY] = [id_ for id_, place in mine if place != operators]
        world.operators += [id_ for id_, place in mine if place == operators]
        assert all(things.values())


def test_every_route_has_a_rule_or_is_known_to_need_none() -> None:
    assert set(GUARDED) == set(RULES)
    assert set(routes()) >= OPEN_TO_ALL


@pytest.mark.parametrize("route", GUARDED)
async def test_a_route_opens_to_its_scope_alone_and_shows_a_user_only_what_is_the_users(
    world: World, route: str
) -> None:
    rule = RULES[route]
    unknown = new_id(PREFIXES[rule.user] if isinstance(rule.user, Thing) else "key")
    for headers in (None, {"authorization": "Bearer rhk_" + "x" * 43}, {"authorization": AUTH["authorization"][:-1]}):
        answer = await world.ask(route, headers, unknown)
        assert answer.status_code == 401
        assert "bearer" in answer.headers["www-authenticate"].lower()
    for scope in ALONE:
        answer = await world.ask(route, world.by_scope[scope], unknown)
        assert (answer.status_code == 403) is (rule.scope not in with_implied([scope])), (scope, answer.text)
        assert answer.status_code < 500
    if rule.scope is Scope.ADMIN or rule.user is Within.NOTHING:
        assert (await world.ask(route, world.anns, unknown)).status_code == 403
    elif isinstance(rule.user, Thing):
        await _hides_what_is_anothers(world, route, rule.user, unknown)
    elif route.startswith("GET "):
        await _lists_what_is_the_users(world, route)
    else:
        await TAKES_WHAT_IS_THE_USERS[route](world)


async def _hides_what_is_anothers(world: World, route: str, thing: Thing, unknown: str) -> None:
    kind = Thing.JOB if thing is Thing.NEW_JOB else thing
    told = await world.ask(route, world.anns, unknown)
    others = [*world.things[BOB][kind], *world.things[NOBODY].get(kind, [])]
    others += [ident for ident in world.operators if ident.startswith(PREFIXES[thing])]
    for ident in others:
        answer = await world.ask(route, world.anns, ident)
        assert answer.status_code == 404, answer.text
        if thing is Thing.NEW_JOB:
            assert answer.json()["detail"] == f"there is no job {ident}"
        else:
            assert answer.text == told.text.replace(unknown, ident)
    if route.startswith("DELETE"):
        return
    for ident in world.things[ANN][kind]:
        answer = await world.ask(route, world.anns, ident)
        assert answer.status_code not in (401, 403), answer.text
        assert "there is no" not in answer.text
        assert not [mark for mark in world.of_others() if mark in answer.text]


async def _lists_what_is_the_users(world: World, route: str) -> None:
    tried: list[dict[str, Any]] = [{}]
    tried += [{"job": world.things[user][Thing.JOB][0]} for user in (BOB, NOBODY)]
    tried += [{"user": BOB}, {"reference": f"ref-{BOB}"}, {"orphans": "true"}]
    tried += [{"endpoint": world.operators[0]}, {"status": "delivered"}]
    tried += [{"name": name} for name in (*world.of_others(), "video-ref-bob-geheim")] if "find" in route else []
    for params in tried:
        answer = await world.ask(route, world.anns, params=params)
        assert answer.status_code in (200, 404, 422), (params, answer.text)
        if answer.status_code == 200:
            seen = [mark for mark in world.of_others() if mark in answer.text]
            assert not seen, (params, answer.text)
        if not params:
            assert any(mark in answer.text for mark in world.marks(ANN)), answer.text
    everything = await world.ask(route, AUTH, params={"name": f"ref-{BOB}"} if "find" in route else {})
    assert any(mark in everything.text for mark in world.marks(BOB))


async def _relays_for_the_user(world: World) -> None:
    # useapi takes no relayed job here; whose it would be is judged before that is.
    content = {"provider": "fal", "video": "https://example.com/one.mp4", "user": BOB, "request": {"prompt": "x"}}
    answer = await world.ask("POST /v1/jobs", world.anns, json=content, content=None)
    assert (answer.status_code, answer.json()["field"]) in ((422, "provider"), (422, "user"))


async def _adds_the_users_endpoint(world: World) -> None:
    asked = {"url": "https://example.com/", "user": BOB}
    answer = await world.ask("POST /v1/endpoints", world.anns, json=asked, content=None)
    assert (answer.status_code, answer.json()["field"]) == (422, "user")


async def _links_to_the_users_stream(world: World) -> None:
    (bobs,) = world.things[BOB][Thing.JOB]
    for asked, status in (({"job": bobs}, 404), ({"user": BOB}, 422), ({"user": [ANN, BOB]}, 422)):
        answer = await world.ask("POST /v1/stream/links", world.anns, json=asked, content=None)
        assert answer.status_code == status, answer.text
    for asked in ({}, {"reference": f"ref-{BOB}"}, {"user": ANN}):
        answer = await world.ask("POST /v1/stream/links", world.anns, json=asked, content=None)
        assert answer.status_code == 201
        claims = LINKS.read(answer.json()["url"].rpartition("/")[2], now=NOW)
        assert (claims.users, claims.key_user) == ((ANN,), ANN)


async def _retries_the_users_deliveries(world: World) -> None:
    for asked in ({"status": "delivered"}, {"job": world.things[BOB][Thing.JOB][0], "status": "delivered"}):
        answer = await world.ask("POST /v1/deliveries/retry", world.anns, json={**asked, "dry_run": True}, content=None)
        wanted = 0 if "job" in asked else len(world.things[ANN][Thing.DELIVERY])
        assert answer.json() == {"matching": wanted, "retried": 0, "skipped": 0, "dry_run": True}
    for asked, status in (({"user": BOB}, 422), ({"user": ANN}, 200), ({"reference": f"ref-{BOB}"}, 200)):
        content = {**asked, "status": "delivered", "dry_run": True}
        answer = await world.ask("POST /v1/deliveries/retry", world.anns, json=content, content=None)
        assert answer.status_code == status, answer.text
        wanted = len(world.things[ANN][Thing.DELIVERY]) if "user" in asked else 0
        assert status != 200 or answer.json()["matching"] == wanted


TAKES_WHAT_IS_THE_USERS = {
    "POST /v1/jobs": _relays_for_the_user,
    "POST /v1/endpoints": _adds_the_users_endpoint,
    "POST /v1/stream/links": _links_to_the_users_stream,
    "POST /v1/deliveries/retry": _retries_the_users_deliveries,
}
"""How a route that takes something of a user's is tried: a new one has to be added here."""


async def test_a_users_key_does_not_see_word_for_word_what_providers_say(world: World) -> None:
    (callback,) = world.things[ANN][Thing.CALLBACK]
    answer = await world.ask("GET /v1/callbacks/{id}", world.anns, callback, params={"raw": "true"})
    assert (answer.status_code, answer.json()["field"]) == (422, "raw")


async def test_the_timeline_of_a_users_job_leaves_out_the_operators_endpoints(world: World) -> None:
    (job,) = world.things[ANN][Thing.JOB]
    told = {}
    for name, auth in (("ann", world.anns), ("operator", AUTH)):
        entries = (await world.ask("GET /v1/jobs/{id}/timeline", auth, job)).json()["data"]
        told[name] = {entry["endpoint_id"] for entry in entries if entry["kind"] == "delivery"}
    assert told["ann"] == set(world.things[ANN][Thing.ENDPOINT])
    assert told["operator"] == told["ann"] | {world.operators[0]}


async def test_binding_does_not_tell_whether_anothers_job_is_there(world: World) -> None:
    (callback,), (bobs,) = world.things[ANN][Thing.CALLBACK], world.things[BOB][Thing.JOB]
    answers = []
    for job in (bobs, new_id("job")):
        answer = await world.ask("POST /v1/callbacks/{id}/bind", world.anns, callback, json={"job": job}, content=None)
        answers.append((answer.status_code, json.loads(answer.text.replace(job, "job"))))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
