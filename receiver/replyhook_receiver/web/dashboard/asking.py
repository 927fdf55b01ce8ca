"""Asking our own API for whoever is signed in: pages show what it tells and do what it does, under its own rules."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from replyhook_receiver.web.auth import Access, given_access
from replyhook_receiver.web.dashboard.visits import visit_of

_OWN = ("app", "asgi", "client", "http_version", "root_path", "scheme", "server", "state")
_STARLETTES = "starlette."
_KEPT_HEADERS = ("retry-after",)
_FAULT = 400


class ApiRefusal(Exception):
    """What the API answers to somebody who may not, or to what cannot be."""

    def __init__(self, status: int, detail: str, headers: dict[str, str]) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.headers = headers


async def ask(
    request: Request,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> Any:
    """The API's answer to the visitor of ``request``; None where it says nothing. Raises ``ApiRefusal``."""
    content = b"" if body is None else msgspec.json.encode(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    scope = _scope(request, method, path, query=urlencode(query or {}), headers=headers)
    told = _Told()
    await request.app.router(scope, _sends(content), told.send)
    answer = msgspec.json.decode(told.body) if told.body else None
    if told.status < _FAULT:
        return answer
    detail = answer.get("detail", "") if isinstance(answer, dict) else ""
    raise ApiRefusal(told.status, detail, told.headers)


async def known_job(request: Request, job_id: str | None) -> str | None:
    """The job with this id, if there is one that the visitor may see: nothing is noted about another's."""
    if not job_id:
        return None
    try:
        await ask(request, "GET", f"/v1/jobs/{quote(job_id, safe='')}")
    except ApiRefusal:
        return None
    return job_id


def passed_on(request: Request, path: str) -> Response:
    """The API's answer to a GET as it is, however large, with the parts and conditions that the browser asks for."""
    wanted = (b"range", b"if-range", b"if-none-match")
    headers = [(name, value) for name, value in request.scope["headers"] if name in wanted]
    return _PassedOn(_scope(request, request.method, path, query="", headers=headers))


class _PassedOn(Response):
    """Another route's answer."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["app"].router(self._scope, receive, send)


class _Told:
    """An answer, as it comes."""

    def __init__(self) -> None:
        self.status = 500
        self.body = b""
        self.headers: dict[str, str] = {}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]}
            self.headers = {name: value for name, value in named.items() if name in _KEPT_HEADERS}
        else:
            self.body += message.get("body", b"")


def _scope(
    request: Request, method: str, path: str, *, query: str, headers: list[tuple[bytes, bytes]]
) -> dict[str, Any]:
    outer = request.scope
    own = {name: value for name, value in outer.items() if name in _OWN or name.startswith(_STARLETTES)}
    whole = str(outer.get("root_path", "")) + path
    asked = {"type": "http", "method": method, "path": whole, "raw_path": quote(whole).encode()}
    given = given_access(_access(request))
    return {**own, **asked, "query_string": query.encode(), "headers": headers, "path_params": {}, **given}


def _access(request: Request) -> Access:
    visit = visit_of(request)
    if visit is None:
        raise AssertionError("the API was asked for nobody")
    return visit.access


def _sends(content: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    return receive
