"""`/openapi.json` and `/docs`: every route is told of, under whatever path, and nothing comes from outside."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from replyhook_receiver.web.app import create_app
from replyhook_receiver.web.openapi.operations import OPERATIONS
from replyhook_receiver.web.route_scopes import RULES
from tests.receiver.support import API_KEY, AUTH, SECRETS, WHSEC, Host, Receiver, says, settings_for, useapi_body

OPENAPI = "https://spec.openapis.org/oas/3.1"


def app_routes() -> list[str]:
    app = create_app(settings_for(Path("nowhere"), metrics=True), secrets=SECRETS)
    pages = {each.path for each in app.state.dashboard.routes if isinstance(each, Route)}
    found = [route for route in app.routes if isinstance(route, Route) and route.path not in pages]
    return [f"{method} {route.path}" for route in found for method in sorted((route.methods or set()) - {"HEAD"})]


async def document_of(app: Any, path: str = "/openapi.json") -> dict[str, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as client:
        answer = await client.get(path)
        assert answer.headers["content-type"] == "application/json"
        content: dict[str, Any] = answer.json()
        return content


def plain_app() -> Starlette:
    app = create_app(settings_for(Path("nowhere"), metrics=True), secrets=SECRETS)
    app.state.life.is_running = True  # what is asked of it here needs no store
    return app


def test_every_route_is_in_the_table_and_nothing_else() -> None:
    assert set(OPERATIONS) == set(app_routes())


async def test_the_document_tells_of_every_route_its_scope_and_its_answers() -> None:
    document = await document_of(plain_app())
    assert document["openapi"] == "3.1.0"
    told = {
        f"{method.upper()} {path}": each for path, item in document["paths"].items() for method, each in item.items()
    }
    assert set(told) == set(app_routes()) | {"POST /callbacks/{provider}/{token}"}
    names = [each["operationId"] for each in told.values()]
    assert len(set(names)) == len(names)
    for route, each in told.items():
        rule = RULES.get(route)
        assert each.get("x-scope") == (rule.scope.value if rule else None), route
        assert each["security"] == ([{"key": []}] if rule else []), route
        assert any(int(status) < 400 for status in each["responses"]), route
        if rule:
            assert {"401", "403", "422", "429", "503"} <= set(each["responses"]), route
        parameters = {(one["in"], one["name"]) for one in each.get("parameters", [])}
        assert {name for where, name in parameters if where == "path"} == set(re.findall(r"{(\w+)}", route))
        assert (("header", "idempotency-key") in parameters) is (route.startswith("POST") and rule is not None), route


async def test_the_document_holds_together() -> None:
    document = await document_of(plain_app())
    schemas = document["components"]["schemas"]
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', str(document).replace("'", '"')))
    assert used <= set(schemas)
    for name, schema in schemas.items():
        jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}), name
    assert schemas["RegistrationModel"]["additionalProperties"] is False  # what is taken is strict
    assert "additionalProperties" not in schemas["Job"]  # what is told may grow


async def test_it_tells_no_secret() -> None:
    text = str(await document_of(plain_app()))
    assert not [secret for secret in (API_KEY, WHSEC, *SECRETS.signing_keys) if secret in text]


async def test_under_a_prefix_its_addresses_have_the_prefix() -> None:
    parent = Starlette(routes=[Mount("/hooks", plain_app())])
    document = await document_of(parent, "/hooks/openapi.json")
    assert document["servers"] == [{"url": "/hooks"}]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(parent), base_url="http://receiver") as client:
        page = (await client.get("/hooks/docs")).text
        assert 'href="/hooks/docs/style.css"' in page
        assert (await client.get("/hooks/docs/style.css")).status_code == 200
        assert "/hooks/docs" in (await client.get("/hooks/nowhere")).json()["detail"]


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name != "style"
            if name in ("href", "src"):
                self.addresses.append(value or "")
            if name == "id":
                assert value not in self.ids
                self.ids.add(value or "")


async def test_the_page_needs_nothing_from_outside_and_leads_nowhere_else() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(plain_app()), base_url="http://receiver") as client:
        answer = await client.get("/docs")
        page = Page()
        page.feed(answer.text)
        assert not {"script", "style", "img", "iframe"} & set(page.tags)
        assert {each for each in page.addresses if not each.startswith("#")} == {"/docs/style.css", "/openapi.json"}
        assert {each[1:] for each in page.addresses if each.startswith("#")} <= page.ids
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        style = await client.get("/docs/style.css")
        assert style.headers["content-type"].startswith("text/css")
        assert "url(" not in style.text
        for route in app_routes():
            assert route.split()[1].replace("{", "{") in answer.text


async def test_real_answers_fit_their_schemas(receiver: Receiver, host: Host) -> None:
    hook = host.will("/hook", says(204))
    job, path = await receiver.register("useapi", reference="order-42", notify=[{"url": hook}])
    await receiver.client.post(path, content=useapi_body(job, "FAILED"))
    await receiver.client.post("/v1/endpoints", json={"url": hook}, headers=AUTH)
    document = (await receiver.client.get("/openapi.json")).json()
    asked = [
        f"/v1/jobs/{job}",
        f"/v1/jobs/{job}/timeline",
        "/v1/find?name=order-42",
        "/v1/jobs/unheard-of",
        "/v1/hold?x=1",
    ]
    asked += [
        f"/v1/{kind}"
        for kind in ("jobs", "callbacks", "events", "deliveries", "endpoints", "keys", "hold", "downloads")
    ]
    for url in [*asked, "/v1/refusals", "/v1/questions", "/healthz", "/readyz"]:
        answer = await receiver.client.get(url, headers=AUTH)
        template = url.partition("?")[0].replace(job, "{id}").replace("unheard-of", "{id}")
        told = document["paths"][template]["get"]["responses"][str(answer.status_code)]
        (media,) = [each for each in told["content"] if answer.headers["content-type"].startswith(each)]
        schema = {**told["content"][media]["schema"], "components": document["components"]}
        jsonschema_rs.validate(schema, answer.json())


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "OPTIONS", "TRACE", "FROB"])
async def test_another_method_is_told_all_that_there_are(receiver: Receiver, method: str) -> None:
    allowed = {"/v1/jobs": "GET, HEAD, POST", "/v1/hold": "DELETE, GET, HEAD, PUT", "/docs": "GET, HEAD"}
    for path, methods in allowed.items():
        if method in methods:
            continue
        answer = await receiver.client.request(method, path, headers=AUTH)
        assert (answer.status_code, answer.headers.get_list("allow")) == (405, [methods])
        assert answer.headers["content-type"] == "application/problem+json"


async def test_what_is_nowhere_is_told_where_to_look(receiver: Receiver) -> None:
    answer = await receiver.client.get("/v2/jobs", headers={**AUTH, "x-request-id": "my-own-id"})
    assert (answer.status_code, answer.json()["status"]) == (404, 404)
    assert "/docs" in answer.json()["detail"]
    assert answer.json()["instance"] == "urn:replyhook:my-own-id"
