"""Every field of every form that stands on any page, filled with what nobody means well by: never a fault of ours.

The forms are found on the pages, by following every link, so a new one is swept without being named here.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import pytest

from replyhook_receiver.web.route_scopes import PAGES
from tests.receiver.support import API_KEY, AUTH, Host, Receiver, a_host, a_receiver, says, until, useapi_body
from tests.receiver.web.dashboard.forms_found import FoundForm, Page, kind_of
from tests.receiver.web.dashboard.visiting import FROM_A_PAGE, Visitor, a_visitor
from tests.receiver.web.test_account_callbacks import PIXVERSE, pixverse_body, send

VALUES: dict[str, str] = {
    "empty": "",
    "blanks": "%20%09+",
    "NUL": "%00",
    "NUL in a word": "jobs%00.html",
    "half a surrogate pair": "%ED%A0%80",
    "half a letter, and none": "%F0%9F%zz%FF%FE",
    "a letter beyond the first plane": "%F0%9D%95%81",
    "100 kB": "x" * 100_000,
    "60 kB": "x" * 60_000,
    "script": quote("</textarea></select><script>alert(1)</script>"),
    "an image": quote("'\"><img src=x onerror=alert(1)>"),
    "an attribute": quote('" onmouseover="alert(1)" x=\''),
    "a template": quote("{{ 7*7 }}{% raw %}${7*7}#{7*7}"),
    "turned around": quote("\u202egnp.exe\u2066"),
    "unseen": quote("a\u200bb\x1b[2J"),
    "a quote": quote("'; DROP TABLE jobs; --"),
    "a pattern": quote("%_\\*[^a]("),
    "huge": "9" * 400,
    "no end": "1e999",
    "no number": "nan",
    "below nothing": "-1",
    "another line": "%0d%0aset-cookie:%20a=b",
    "a path": quote("../../v1/keys?x=y#z", safe=""),
    "another host": quote("//evil.example/\\", safe=""),
    "a year too far": quote("99999-12-31T23:59:59Z", safe=""),
    "an id": "job_00000000000000000000000000",
}
MOST_ALIKE = 12
"""So many pages are looked at that differ in an id or a query alone."""
LONGEST_QUERY = 60_000
"""More fits in no request line."""
BEFORE = "replyhook_before"
LAST = ("cancel", "remove", "revoke", "sign-out")
"""After these there is less to ask."""


@dataclass
class World:
    """A receiver with something of everything, so that every form stands somewhere."""

    receiver: Receiver
    visitor: Visitor
    stranger: Visitor
    before: str
    filled: dict[str, str]

    async def asked(self, form: FoundForm, content: str) -> httpx.Response:
        """What is answered to a form that is sent."""
        if form.method == "GET":
            return await self.visitor.get(f"{form.action}?{content[:LONGEST_QUERY]}")
        sent = {"content-type": "application/x-www-form-urlencoded", **FROM_A_PAGE}
        if form.action != "/sign-in":
            return await self.visitor.client.post(form.action, content=content, headers=sent)
        self.receiver.clock.move(seconds=10)  # it is not about how often
        self.stranger.client.cookies.clear()
        sent["cookie"] = f"{BEFORE}={self.before}"
        return await self.stranger.client.post(form.action, content=content, headers=sent)

    async def crawled(self) -> list[FoundForm]:
        """One form of each kind, of every page that any link leads to."""
        found: dict[object, FoundForm] = {}
        seen, ahead, like = set[str](), ["/"], Counter[str]()
        while ahead:
            path = ahead.pop()
            kind = kind_of(path.partition("?")[0])
            if path in seen or like[kind] == MOST_ALIKE:
                continue
            seen.add(path)
            like[kind] += 1
            answer = await self.visitor.get(path, accept="text/html")
            if "text/html" not in answer.headers.get("content-type", ""):
                continue
            page = checked(answer, path)
            ahead += [link.partition("#")[0] for link in page.links if not link.startswith("/docs")]
            for form in page.forms:
                found.setdefault(form.kind, form)
        return list(found.values())


def checked(answer: httpx.Response, about: object) -> Page:
    """An answer that is no fault of ours, as a page that holds nothing but what is ours."""
    assert answer.status_code < 500, (about, answer.status_code, answer.text[:300])
    assert "Traceback" not in answer.text, about
    assert answer.headers.get("location", "/").startswith("/"), (about, answer.headers["location"])
    assert not answer.headers.get("location", "/").startswith("//"), (about, answer.headers["location"])
    assert not any(each.startswith("a=b") for each in answer.headers.get_list("set-cookie")), about
    page = Page(answer.text if answer.headers.get("content-type", "").startswith("text/html") else "")
    assert page.strange == [], about
    return page


def variants(form: FoundForm, done: set[object]) -> Iterator[tuple[str, str]]:
    """What is sent, one field strange at a time, each with its name; fields of the same deed are done once."""
    for name in sorted(set(form.names) - {"csrf"}):
        same = (*form.kind[:2], "confirmed" in form.names, name)
        if same in done:
            continue
        done.add(same)
        for what, value in VALUES.items():
            yield f"{name}: {what}", form.encoded(**{name: value})
        yield f"{name}: missing", form.encoded(**{name: None})
        yield f"{name}: twice", f"{form.encoded()}&{name}={VALUES['script']}&{name}={VALUES['NUL']}"
    yield "a field that there is not", f"{form.encoded()}&{VALUES['script']}={VALUES['script']}"
    yield "nothing but ampersands", "&" * 1000


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    providers = {"pixverse": PIXVERSE, "useapi": {"api_key": "key"}}
    async with (
        a_host() as host,
        a_receiver(tmp_path_factory.mktemp("world"), host, providers=providers) as receiver,
        a_visitor(receiver) as visitor,
        a_visitor(receiver, key=None) as stranger,
    ):
        await stranger.get("/sign-in")
        filled = {"job": await fill(receiver, host), "url": host.will("/hook", says(204)), "key": API_KEY}
        yield World(receiver, visitor, stranger, stranger.client.cookies[BEFORE], filled)


async def fill(receiver: Receiver, host: Host) -> str:
    """A job on its way; one whose video is not to be had; one with a dead letter; an orphan; an endpoint; a key."""
    going, _ = await receiver.register(reference="going")
    await receiver.submitted(going, "video-going")
    lost, path = await receiver.register(reference="lost")
    await receiver.submitted(lost, "video-lost")
    told = useapi_body(lost, "COMPLETED", "video-lost", url=host.will("/lost.mp4", says(503)))
    assert (await receiver.client.post(path, content=told)).status_code == 200
    dead, path = await receiver.register(reference="dead", notify=[{"url": host.will("/gone", says(410))}])
    await receiver.submitted(dead, "video-dead")
    assert (await receiver.client.post(path, content=useapi_body(dead, "FAILED", "video-dead"))).status_code == 200
    assert (await send(receiver, pixverse_body(5))).status_code == 200
    await until(lambda: receiver.rows("SELECT 1 FROM deliveries WHERE status = 'dead'"))
    for (endpoint,) in receiver.rows("SELECT id FROM endpoints"):
        await receiver.client.patch(f"/v1/endpoints/{endpoint}", json={"enabled": True}, headers=AUTH)
    standing = {"url": host.will("/standing", says(204)), "types": ["job.canceled"]}
    assert (await receiver.client.post("/v1/endpoints", json=standing, headers=AUTH)).status_code == 201
    await receiver.key("read", name="to be revoked")

    async def has_problem() -> bool:
        return (await receiver.job(lost))["video"]["problem"] is not None

    await until(has_problem)
    return going


async def all_forms(world: World) -> list[FoundForm]:
    """Those of a receiver at work and of one that is paused, and those that a form leads to; the ways in and out."""
    forms = await world.crawled()
    assert (await world.receiver.client.put("/v1/hold", headers=AUTH)).is_success
    forms += await world.crawled()
    assert (await world.receiver.client.delete("/v1/hold", headers=AUTH)).is_success
    for form in list(forms):
        if form.action.endswith(("/replay", "/deliveries/retry")) and "confirmed" not in form.names:
            forms += checked(await world.asked(form, form.encoded()), form.action).forms
    world.stranger.client.cookies.clear()
    way_in = await world.stranger.client.get("/sign-in", headers={"cookie": f"{BEFORE}={world.before}"})
    forms += checked(way_in, "/sign-in").forms
    unique = {form.kind: form for form in forms}
    return sorted(unique.values(), key=lambda form: (form.action.endswith(LAST), form.kind))


async def test_no_field_of_any_form_is_a_fault_of_ours_or_shown_as_anything_but_text(world: World) -> None:
    forms = await all_forms(world)
    posted = {form.kind[1] for form in forms if form.method == "POST"}
    assert posted == {route.split()[1] for route in PAGES if route.startswith("POST ")} | {"/sign-in", "/sign-out"}
    sent, done = 0, set[object]()
    for form in forms:
        form.fields |= {name: value for name, value in world.filled.items() if name in form.names}
        if form.method == "POST":
            for csrf in (None, "", "0" * 48, VALUES["script"], VALUES["NUL"], "%C3%A9"):
                answer = await world.asked(form, form.encoded(csrf=csrf))
                checked(answer, (form.kind, "csrf", csrf))
                assert answer.status_code == 403, (form.kind, csrf)
        for what, content in variants(form, done):
            checked(await world.asked(form, content), (form.kind, what))
            sent += 1
    assert sent > 1000
    await world.visitor.sign_in()
    await world.crawled()
