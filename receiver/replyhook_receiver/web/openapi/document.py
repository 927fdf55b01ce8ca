"""The OpenAPI 3.1 document of an app's routes."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec
from msgspec.structs import fields
from starlette.routing import Route

from replyhook.providers import PROVIDERS
from replyhook_receiver.web.answer_models import Problem
from replyhook_receiver.web.callback_access import TEMPLATE
from replyhook_receiver.web.openapi.operations import ANYTHING, CALLBACKS, OPERATIONS, TEXT, Media, Operation
from replyhook_receiver.web.openapi.schemas import Schemas
from replyhook_receiver.web.queries import NoQuery, plain_type
from replyhook_receiver.web.route_scopes import rule_of

Document = dict[str, Any]
_PROBLEM = "application/problem+json"
_PATH_PARAMETER = re.compile(r"{(\w+)}")
_RETRIED = (409, 429, 500, 503)
_IDEMPOTENCY_KEY = (
    "The same POST with the same key is done once and answered the same again for a day: 1 to 255 printable ASCII "
    "characters. Another request with it is a 422; while the first one runs, 409."
)
_ABOUT = (
    "Submit video-extend jobs, be called back once, never poll, never lose a video. Lists are newest first; the next "
    "page begins at `before` = the page's `next`. Errors are RFC 9457 problems. Unknown members and parameters are "
    "refused by name."
)


def describe(routes: Iterable[Route], *, root_path: str = "") -> Document:
    """The document of ``routes``, as they are found under ``root_path``. A route that the table has not is left out."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {TEMPLATE: {"post": _callback()}}
    for route in routes:
        for method in sorted((route.methods or set()) - {"HEAD"}):
            operation = OPERATIONS.get(f"{method} {route.path}")
            if operation is not None:
                paths.setdefault(route.path, {})[method.lower()] = _operation(method, route.path, operation, schemas)
    key = {"type": "http", "scheme": "bearer", "description": "An API key: rhk_…, made by `replyhook keys create`."}
    return {
        "openapi": "3.1.0",
        "info": {"title": "replyhook receiver", "version": version("replyhook"), "description": _ABOUT},
        "servers": [{"url": root_path or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "securitySchemes": {"key": key},
        },
    }


def _operation(method: str, path: str, operation: Operation, schemas: Schemas) -> dict[str, Any]:
    rule = rule_of(method, path)
    words = [] if rule is None else [f"Needs the scope `{rule.scope}`."]
    described: dict[str, Any] = {
        "operationId": _name(method, path),
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [] if rule is None else [{"key": []}],
        "responses": {},
    }
    if rule is not None:
        described["x-scope"] = rule.scope.value
        described["description"] = " ".join(words)
    parameters = _parameters(method, path, operation, schemas, guarded=rule is not None)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content = {"application/json": {"schema": schemas.taken(operation.body)}}
        described["requestBody"] = {"required": operation.needs_body, "content": content}
    for status, kind in sorted(operation.answers.items()):
        described["responses"][str(status)] = _answer(status, kind, schemas)
    for status in _problems(method, path, operation, guarded=rule is not None):
        described["responses"].setdefault(str(status), _problem(status, schemas))
    return described


def _parameters(
    method: str, path: str, operation: Operation, schemas: Schemas, *, guarded: bool
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PATH_PARAMETER.findall(path)
    ]
    for each in fields(operation.query):
        schema = schemas.taken(plain_type(each.type))
        about = {"description": schema.pop("description")} if "description" in schema else {}
        if not each.required and isinstance(each.default, int | str) and each.default not in ("", False):
            schema["default"] = each.default
        found.append({"name": each.name, "in": "query", "required": each.required, "schema": schema, **about})
    for name, words in operation.headers.items():
        found.append(_header(name, words))
    if guarded and method == "POST":
        found.append(_header("idempotency-key", _IDEMPOTENCY_KEY) | {"schema": _printable(255)})
    return found


def _header(name: str, words: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": words}


def _printable(longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": "^[ -~]*$"}


def _problems(method: str, path: str, operation: Operation, *, guarded: bool) -> list[int]:
    """What may go wrong: what each route names, and what goes for all of its kind."""
    found = {*operation.problems, 500}
    if guarded:
        found |= {401, 403, 429, 503, 422}
    if guarded and "{id}" in path:
        found.add(404)
    if operation.body is not None:
        found |= {400, 408, 413, 415, 422}
    if guarded and method == "POST":
        found |= {400, 408, 409, 413}
    if not guarded and operation.query is not NoQuery:
        found.add(422)
    if path.startswith(("/videos/", "/streams/")):
        found.add(503)
    return sorted(found)


def _answer(status: int, kind: Any, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if isinstance(kind, Media):
        described["content"] = {media: {} for media in kind.types}
    elif kind is not None:
        described["content"] = {"application/json": {"schema": schemas.answered(kind)}}
    return described


def _problem(status: int, schemas: Schemas) -> dict[str, Any]:
    described = _answer(status, None, schemas)
    described["content"] = {_PROBLEM: {"schema": schemas.answered(Problem)}}
    if status in _RETRIED:
        words = "Seconds after which the same may be sent again; not where that would not help."
        described["headers"] = {"retry-after": {"schema": {"type": "string"}, "description": words}}
    if status == 401:
        described["headers"] = {"www-authenticate": {"schema": {"type": "string"}}}
    return described


def _callback() -> dict[str, Any]:
    text = {"content": {media: {"schema": {"type": "string"}} for media in TEXT.types}}
    responses: dict[str, Any] = {str(status): {"description": words, **text} for status, words in CALLBACKS.items()}
    for status in ("429", "503"):
        responses[status]["headers"] = {"retry-after": {"schema": {"type": "string"}}}
    return {
        "operationId": "post_callback",
        "summary": "Where providers call back; the whole URL is made by the receiver",
        "tags": ["callbacks"],
        "description": "The token in the path is what proves the sender, beside the provider's own signature.",
        "security": [],
        "parameters": [
            {
                "name": "provider",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "enum": sorted(PROVIDERS)},
            },
            {"name": "token", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}},
        ],
        "requestBody": {"required": False, "content": {media: {} for media in ANYTHING.types}},
        "responses": responses,
    }


def _name(method: str, path: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", path.removeprefix("/v1").lower()).strip("_")
    return f"{method.lower()}_{words}"


def encoded(document: Mapping[str, Any]) -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document)
