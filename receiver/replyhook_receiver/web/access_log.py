"""Our access log: the route's template, never the path, which holds tokens."""

import logging
import time

from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("replyhook.access")


class AccessLog:
    """Logs one line a request: method, route template, status, milliseconds."""

    def __init__(self, app: ASGIApp, *, routes: list[Route]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _log.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        scope["route_template"] = template = self._template(scope)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            _log.info("%s %s %d %.1f ms", scope["method"][:16], template, status, milliseconds)

    def _template(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                return route.path.replace(":path", "")
        return "(no such route)"
