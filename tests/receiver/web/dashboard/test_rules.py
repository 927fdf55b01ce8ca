"""Every page and every form, walked: nobody, too little scope, another user's things, another site's form."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.routing import Route

from replyhook.ids import new_id
from replyhook_receiver.keys import Scope
from replyhook_receiver.web.app import create_app
from replyhook_receiver.web.route_scopes import PAGES, RULES, Within
from tests.receiver.support import (
    AUTH,
    SECRETS,
    Receiver,
    a_host,
    a_receiver,
    says,
    settings_for,
    until,
    useapi_body,
)
from tests.receiver.web.dashboard.visiting import a_visitor

ANN, BOB = "ann-geheim", "bob-geheim"


def routes() -> dict[str, str]:
    """The dashboard's guarded routes that are there, with their names."""
    app = create_app(settings_for(Path("nowhere")), secrets=SECRETS)
    known = [route for route in app.routes if isinstance(route, Route)]
    found = {f"{method} {route.path}": route.name for route in known for method in (route.methods or set()) - {"HEAD"}}
    return {route: name for route, name in found.items() if route in PAGES}


ALL = routes()
SHOWN = sorted(route.split()[1] for route in ALL if route.startswith("GET ") and route != "GET /live")
DONE = sorted(route.split()[1] for route in ALL if route.startswith("POST "))


@dataclass
class World:
    """A receiver with a failed job and a dead letter of each of two users."""

    receiver: Receiver
    jobs: dict[str, str] = field(default_factory=dict)
    callbacks: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def path(self, template: str, user: str) -> str:
        is_callback = template.startswith("/callback/")
        known = {"job": self.jobs[user], "callback": self.callbacks[user]}
        return template.replace("{id}", known["callback" if is_callback else "job"])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with a_host() as host, a_receiver(tmp_path_factory.mktemp("world"), host) as receiver:
        world = World(receiver)
        hook = host.will("/hook", says(410))
        for user in (ANN, BOB):
            job, path = await receiver.register(user=user, reference=f"ref-{user}", notify=[{"url": hook}])
            await receiver.submitted(job, f"video-{user}")
            told = useapi_body(job, "FAILED", video_id=f"video-{user}")
            assert (await receiver.client.post(path, content=told)).status_code == 200
            world.jobs[user] = job
            world.callbacks[user] = (await receiver.callbacks(job))[0]["id"]
        await until(lambda: receiver.rows("SELECT count(*) FROM deliveries WHERE status <> 'dead'") == [(0,)])
        for name, scopes, user in (
            ("reader", ["read"], None),
            ("operator", ["operate"], None),
            ("ann", ["operate", "submit"], ANN),
        ):
            content = {"scopes": scopes, "user": user, "name": name}
            world.keys[name] = (await receiver.client.post("/v1/keys", json=content, headers=AUTH)).json()["key"]
        yield world


def deeds(world: World) -> int:
    return int(world.receiver.rows("SELECT count(*) FROM audit")[0][0])


def test_every_page_is_under_the_rule_of_a_route_of_the_api() -> None:
    assert all(PAGES[route] in RULES for route in ALL)
    assert all(
        RULES[PAGES[route]].scope in (Scope.OPERATE, Scope.SUBMIT, Scope.ADMIN)
        for route in ALL
        if route.startswith("POST ")
    )


@pytest.mark.parametrize("template", SHOWN)
async def test_nobody_sees_a_page_without_a_session(world: World, template: str) -> None:
    async with a_visitor(world.receiver, key=None) as stranger:
        answer = await stranger.get(world.path(template, ANN))
        part = await stranger.get(world.path(template, ANN), **{"hx-request": "true"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/sign-in")


@pytest.mark.parametrize("template", DONE)
async def test_a_form_does_nothing_for_nobody_for_a_reader_or_from_elsewhere(world: World, template: str) -> None:
    before, path = deeds(world), world.path(template, ANN)
    async with a_visitor(world.receiver, key=None) as stranger:
        assert (await stranger.post(path, {})).headers["location"] == "/sign-in"
    async with a_visitor(world.receiver, key=world.keys["reader"]) as reader:
        assert (await reader.post(path, {"csrf": await reader.csrf()})).status_code == 403
    async with a_visitor(world.receiver, key=world.keys["operator"]) as operator:
        csrf = await operator.csrf()
        assert (await operator.post(path, {"confirmed": "yes"})).status_code == 403
        assert (await operator.post(path, {"csrf": csrf[:-1] + "x"})).status_code == 403
        assert (await operator.post(path, {"csrf": "é"})).status_code == 403
        elsewhere = {"sec-fetch-site": "cross-site"}
        assert (await operator.post(path, {"csrf": csrf}, **elsewhere)).status_code == 403
        async with a_visitor(world.receiver, key=world.keys["operator"]) as other:
            assert (await operator.post(path, {"csrf": await other.csrf()})).status_code == 403
    assert deeds(world) == before


@pytest.mark.parametrize("template", [path for path in SHOWN + DONE if "{id}" in path])
async def test_a_users_key_finds_nothing_of_another_user(world: World, template: str) -> None:
    before, path = deeds(world), world.path(template, BOB)
    async with a_visitor(world.receiver, key=world.keys["ann"]) as ann:
        csrf = await ann.csrf()
        answer = await (ann.post(path, {"csrf": csrf}) if template in DONE else ann.get(path))
    rule = RULES[PAGES[f"{'POST' if template in DONE else 'GET'} {template}"]]
    assert answer.status_code == (403 if rule.user is Within.NOTHING else 404)
    assert BOB not in answer.text
    assert deeds(world) == before


@pytest.mark.parametrize("template", [path for path in SHOWN if "{id}" not in path])
async def test_lists_show_a_user_what_is_the_users(world: World, template: str) -> None:
    async with a_visitor(world.receiver, key=world.keys["ann"]) as ann:
        answer = await ann.get(template)
    assert answer.status_code in (200, 403)
    assert BOB not in answer.text
    assert world.jobs[BOB] not in answer.text


async def test_a_users_key_cannot_replay_anothers_callback_from_its_own_jobs_page(world: World) -> None:
    async with a_visitor(world.receiver, key=world.keys["ann"]) as ann:
        csrf, path = await ann.csrf(), f"/jobs/{world.jobs[ANN]}/replay"
        for callback in (world.callbacks[BOB], "../../keys", "x?y=z", new_id("cb")):
            await ann.post(path, {"csrf": csrf, "callback": callback})
            page = await ann.get(f"/jobs/{world.jobs[ANN]}")
            assert "there is no callback" in page.text
    assert len(await world.receiver.callbacks(world.jobs[BOB])) == 1


async def test_a_reader_is_shown_no_button_and_an_operator_is(world: World) -> None:
    path = f"/jobs/{world.jobs[ANN]}"
    async with (
        a_visitor(world.receiver, key=world.keys["reader"]) as reader,
        a_visitor(world.receiver, key=world.keys["operator"]) as operator,
    ):
        assert "/replay" not in (await reader.get(path)).text
        assert "/replay" in (await operator.get(path)).text


@pytest.mark.parametrize(
    "template", [*(path for path in SHOWN if not path.endswith(("/video", "/poster"))), "/sign-in", "/no/such/page"]
)
async def test_every_page_is_sent_with_its_guards_and_has_no_script_of_its_own(world: World, template: str) -> None:
    async with a_visitor(world.receiver, key=None if template == "/sign-in" else world.keys["operator"]) as visitor:
        page = await visitor.get(world.path(template, ANN), accept="text/html")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert not any("unsafe" in value or "*" in value for value in policy.values())
    assert (policy["frame-ancestors"], policy["base-uri"], policy["form-action"]) == ("'none'", "'none'", "'self'")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    lowered = page.text.lower()
    assert "<style" not in lowered
    assert " style=" not in lowered
    assert " onclick=" not in lowered
    assert lowered.count("<script") == lowered.count("<script src=") == 3


async def test_a_program_that_asks_for_nothing_known_is_told_a_problem_and_a_browser_a_page(world: World) -> None:
    problem = await world.receiver.client.get("/no/such/page")
    page = await world.receiver.client.get("/no/such/page", headers={"accept": "text/html,*/*"})
    api = await world.receiver.client.get("/v1/nothing", headers={"accept": "text/html,*/*"})
    assert [each.status_code for each in (problem, page, api)] == [404] * 3
    assert problem.headers["content-type"] == api.headers["content-type"] == "application/problem+json"
    assert "<h1>Not here</h1>" in page.text


async def test_a_key_that_asks_too_often_is_told_so_on_a_page(tmp_path: Path) -> None:
    async with (
        a_host() as host,
        a_receiver(tmp_path, host, requests_per_minute=2) as receiver,
        a_visitor(receiver) as visitor,
    ):
        answers = [await visitor.get("/jobs") for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "Too often" in answers[-1].text


async def test_no_request_can_say_who_it_is_given_by(world: World) -> None:
    answer = await world.receiver.client.get("/v1/jobs", headers={"replyhook.given-access": "x"})
    assert answer.status_code == 401


@pytest.mark.parametrize("ident", ["%0d%0aset-cookie%3a%20a%3db", "%00", "%e4%b8%ad", "a%3Fb%23c", "%25"])
@pytest.mark.parametrize("form", ["/callback/{}/bind", "/endpoints/{}/change", "/jobs/{}/cancel"])
async def test_a_form_leads_back_to_where_it_was_whatever_stands_in_its_path(
    receiver: Receiver, form: str, ident: str
) -> None:
    async with a_visitor(receiver) as visitor:
        answer = await visitor.post(form.format(ident), {"csrf": await visitor.csrf(), "job": "none"})
    assert answer.status_code == 303
    assert answer.headers["location"].lower() == form.format(ident).rpartition("/")[0].lower()
