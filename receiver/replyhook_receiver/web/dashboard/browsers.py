"""What goes wrong outside of any page: a browser is shown a page of it, a program is told a problem as before."""

from contextlib import suppress
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.web.dashboard.ground import Ground
from replyhook_receiver.web.dashboard.pages import prefix_of
from replyhook_receiver.web.dashboard.visits import let_in
from replyhook_receiver.web.problems import HANDLERS


def handlers_for(ground: Ground) -> dict[Any, Any]:
    """The handlers of all errors; those of the router (no such page, wrong method) know browsers."""

    async def on_http_exception(request: Request, error: Exception) -> Response:
        if is_browser(request):
            with suppress(StoreUnavailable):
                visit = await ground.visits.current(request)
                if visit is not None:
                    let_in(request, visit)  # so that the page has its header
            return await ground.trouble_for(request, error)
        response: Response = await HANDLERS[HTTPException](request, error)
        return response

    return {**HANDLERS, HTTPException: on_http_exception}


def is_browser(request: Request) -> bool:
    """Whether somebody asks for a page, and not for anything of the API."""
    path = request.scope["path"].removeprefix(prefix_of(request))
    return "text/html" in request.headers.get("accept", "") and not path.startswith("/v1/")
