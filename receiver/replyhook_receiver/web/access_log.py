"""Our access log: the route's template, never the path, which holds tokens; and the request's id, which is answered."""

import logging
import re
import time

from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replyhook.ids import is_id, new_id
from replyhook_receiver import logs
from replyhook_receiver.web.prefix import hide_path, own_path

_log = logging.getLogger("replyhook.access")

_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{7,63}")
_HEADER = b"x-request-id"


class AccessLog:
    """Logs one line a request: method, route template, status, milliseconds; all that is logged meanwhile has its id.

    The id is the caller's ``x-request-id`` where it is a plain word of 8 to 64 characters, else a new one. Answers of
    ``/v1`` name it.
    """

    def __init__(self, app: ASGIApp, *, routes: list[Route]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        scope["route_template"] = template = self._template(scope)
        request_id = _request_id(scope)
        path = own_path(scope)
        is_ours = path.startswith("/v1/")

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if "{token}" in template:
                    hide_path(scope, template)
                if is_ours:
                    message = {**message, "headers": [*message.get("headers", ()), (_HEADER, request_id.encode())]}
            await send(message)

        with logs.about(request_id=request_id, **_job_id(path)):
            try:
                await self._app(scope, receive, watched)
            finally:
                if _log.isEnabledFor(logging.INFO):
                    milliseconds, method = (time.perf_counter() - started) * 1000, scope["method"][:16]
                    extra = logs.fields(method=method, route=template, status=status, ms=round(milliseconds, 1))
                    _log.info("%s %s %d %.1f ms", method, template, status, milliseconds, extra=extra)

    def _template(self, scope: Scope) -> str:
        for route in self._routes:
            found, _ = route.matches(scope)
            if found is not Match.NONE:
                return route.path.replace(":path", "")
        return "(no such route)"


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
    return given.decode() if _SANE.fullmatch(given) else new_id("req")


def _job_id(path: str) -> dict[str, str]:
    """The job that the path names; a word of any other form is not repeated."""
    word = path.removeprefix("/v1/jobs/").partition("/")[0]
    return {"job_id": word} if path.startswith("/v1/jobs/") and is_id("job", word) else {}
