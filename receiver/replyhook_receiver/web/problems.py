"""Errors as RFC 9457 problems: the only place that knows what an error is in HTTP."""

import logging
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from replyhook.errors import InvalidRequest
from replyhook_receiver import logs
from replyhook_receiver.errors import (
    BindConflict,
    CancelConflict,
    DeliverySuperseded,
    EndpointConflict,
    NetworkRefused,
    NothingToDo,
    ProviderAway,
    RegistrationConflict,
    StorageTrouble,
    StoreUnavailable,
    SubmissionConflict,
    UnknownCallback,
    UnknownDelivery,
    UnknownEndpoint,
    UnknownJob,
    UnknownKey,
)

_log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
TOO_LARGE = "the body is larger than anything that this takes"
_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    410: "Gone",
    413: "Content too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Not possible",
    429: "Too many",
    500: "Fault of ours",
    503: "Not possible now",
}


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """An RFC 9457 answer. ``more`` are its further members; ``instance`` names the request, as our logs do."""
    content = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "detail": detail, **more}
    request_id = logs.now_about().get("request_id")
    if request_id is not None:
        content["instance"] = f"urn:replyhook:{request_id}"
    return Response(
        msgspec.json.encode(content), status_code=status, headers=headers, media_type="application/problem+json"
    )


class UnreadableBody(Exception):
    """A body that cannot be what it is to be. ``field`` is where in it; None where it is no JSON at all."""

    def __init__(self, detail: str, *, field: str | None) -> None:
        self.field = field
        super().__init__(detail)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (no such route, wrong method, body too large) in the same form."""
    if not isinstance(error, HTTPException):
        raise error
    detail, headers = error.detail, {name.lower(): value for name, value in (error.headers or {}).items()}
    match error.status_code:
        case 404:
            detail = f"there is nothing at this path; what there is, {request.scope.get('root_path', '')}/docs tells"
        case 405:
            headers["allow"] = ", ".join(allowed_methods(request))
            detail = f"this path takes {headers['allow']}"
        case 413:
            detail = TOO_LARGE
    return problem(error.status_code, detail, headers=headers)


def allowed_methods(request: Request) -> list[str]:
    """What may be asked of the request's path: of all routes that stand there, not of the first."""
    found = {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return sorted(found)


async def on_known_error(_: Request, error: Exception) -> Response:
    """Errors raised on purpose."""
    match error:
        case UnreadableBody():
            if error.field is None:
                return problem(400, str(error))
            return problem(422, str(error), field=error.field, value=None, allowed=str(error))
        case InvalidRequest():
            shown = error.value if isinstance(error.value, int | float | bool | None) else str(error.value)[:200]
            return problem(422, str(error), field=error.field, value=shown, allowed=error.allowed)
        case NetworkRefused():
            return problem(422, str(error))
        case UnknownJob() | UnknownCallback() | UnknownEndpoint() | UnknownDelivery() | UnknownKey():
            return problem(404, str(error))
        case (
            RegistrationConflict()
            | SubmissionConflict()
            | BindConflict()
            | CancelConflict()
            | EndpointConflict()
            | DeliverySuperseded()
        ):
            return problem(409, str(error))
        case NothingToDo():
            return problem(409, str(error))
        case StoreUnavailable() | StorageTrouble() | ProviderAway():
            return unavailable(str(error))
        case _:
            raise error


async def answer_to(request: Request, error: Exception) -> Response | None:
    """The answer to an error that is the caller's, as it will be given; None for our own faults."""
    for kind in type(error).__mro__:
        handler = HANDLERS.get(kind)
        if handler is not None and handler is not on_fault:
            response: Response = await handler(request, error)
            return response if response.status_code < 500 else None
    return None


async def on_fault(request: Request, error: Exception) -> Response:
    """A fault of ours: said so, with nothing of its inside."""
    _log.error("a fault of ours while answering %s", request.scope.get("route_template", "?"), exc_info=error)
    return problem(500, "a fault of ours, not yours; it is logged", headers={"retry-after": str(RETRY_AFTER_SECONDS)})


def unavailable(detail: str) -> Response:
    """Not possible now; the same may be sent again."""
    return problem(503, detail, headers={"retry-after": str(RETRY_AFTER_SECONDS)})


HANDLERS: dict[Any, Any] = {
    HTTPException: on_http_exception,
    InvalidRequest: on_known_error,
    UnreadableBody: on_known_error,
    NetworkRefused: on_known_error,
    UnknownJob: on_known_error,
    UnknownCallback: on_known_error,
    BindConflict: on_known_error,
    CancelConflict: on_known_error,
    RegistrationConflict: on_known_error,
    SubmissionConflict: on_known_error,
    StorageTrouble: on_known_error,
    ProviderAway: on_known_error,
    UnknownEndpoint: on_known_error,
    UnknownDelivery: on_known_error,
    UnknownKey: on_known_error,
    DeliverySuperseded: on_known_error,
    NothingToDo: on_known_error,
    EndpointConflict: on_known_error,
    StoreUnavailable: on_known_error,
    Exception: on_fault,
}
