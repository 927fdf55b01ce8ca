"""*Settings*: what is in force and where it comes from; pausing the work; the API keys; what was done by hand."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.web.dashboard.asking import ask
from replyhook_receiver.web.dashboard.deeds import Button, press
from replyhook_receiver.web.dashboard.filters import asked_for
from replyhook_receiver.web.dashboard.forms import read_form
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.dashboard.pages import may, url_of

MOST_DEEDS = 50


class SettingsPage:
    """The page and its buttons. Each part of it is for those who may ask the API for the same."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """The page and forms."""
        ground = self._ground
        return [
            ground.page("/settings", "settings", self.show),
            ground.form("/settings/hold", "hold", self.hold),
            ground.form("/settings/go-on", "go_on", self.go_on),
            ground.form("/settings/keys/{id}/revoke", "revoke_key", self.revoke),
        ]

    async def show(self, request: Request) -> Response:
        """Whether the work is paused; the settings in force; the keys; the latest that was done by hand."""
        access = access_of_visit(request)
        is_operator, is_admin = may(access, "GET /v1/settings"), may(access, "GET /v1/keys")
        keys = await ask(request, "GET", "/v1/keys", query=asked_for(request)) if is_admin else None
        return await self._ground.pages.show(
            request,
            "settings.html",
            hold=await ask(request, "GET", "/v1/hold"),
            settings=(await ask(request, "GET", "/v1/settings"))["data"] if is_operator else None,
            keys=keys,
            own_key=access.key_id,
            deeds=await self._ground.audit.latest(limit=MOST_DEEDS) if is_operator else None,
            most_deeds=MOST_DEEDS,
            is_first="before" not in request.query_params,
        )

    async def hold(self, request: Request) -> Response:
        """Pause the work."""
        reason = (await read_form(request)).given("reason") or ""

        async def work() -> str:
            await ask(request, "PUT", "/v1/hold", query={"reason": reason})
            return f"the work is paused{f' ({reason})' if reason else ''}; callbacks are taken and kept as always"

        return await self._press(request, Button(action="hold", thing="receiver", thing_id="work"), work)

    async def go_on(self, request: Request) -> Response:
        """Go on."""

        async def work() -> str:
            await ask(request, "DELETE", "/v1/hold")
            return "the work goes on"

        return await self._press(request, Button(action="go on", thing="receiver", thing_id="work"), work)

    async def revoke(self, request: Request) -> Response:
        """Let a key open nothing any more."""
        key_id = request.path_params["id"]

        async def work() -> str:
            await ask(request, "DELETE", f"/v1/keys/{quote(key_id, safe='')}")
            return f"key {key_id[:64]} opens nothing any more"

        return await self._press(request, Button(action="revoke", thing="key", thing_id=key_id[:64]), work)

    async def _press(self, request: Request, button: Button, work: Callable[[], Awaitable[str]]) -> Response:
        return await press(self._ground, request, button, work, then=lambda: url_of(request, "settings"))
