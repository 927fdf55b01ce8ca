"""*Settings*: what is in force and where it comes from; pausing the work; the API keys; what was done by hand."""

import re
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.stores.audit import AuditRecord, Deed
from replyhook_receiver.web.dashboard.asking import ask
from replyhook_receiver.web.dashboard.deeds import Button, press
from replyhook_receiver.web.dashboard.filters import asked_for
from replyhook_receiver.web.dashboard.forms import read_form
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.dashboard.pages import may, url_of

MOST_DEEDS = 50
_HAVE_PAGES = ("job", "callback", "delivery", "endpoint")
_IDENT = re.compile(r"(?:job|cb|dlv|ep)_\w{1,60}", re.ASCII)


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
        deeds: Sequence[AuditRecord] | None = None
        is_operator, is_admin = may(access, "GET /v1/settings"), may(access, "GET /v1/keys")
        keys = await ask(request, "GET", "/v1/keys", query=asked_for(request)) if is_admin else None
        if is_operator:
            deeds = await self._ground.audit.latest(limit=MOST_DEEDS)
        return await self._ground.pages.show(
            request,
            "settings.html",
            hold=await ask(request, "GET", "/v1/hold"),
            settings=(await ask(request, "GET", "/v1/settings"))["data"] if is_operator else None,
            keys=keys,
            own_key=access.key_id,
            deeds=None if deeds is None else [(each, _page_of(request, each.deed, deeds)) for each in deeds],
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


def _page_of(request: Request, deed: Deed, deeds: Sequence[AuditRecord]) -> str | None:
    """The page of what it was done to. What is no id, since a form held it, has none; nor what was removed."""
    if deed.thing not in _HAVE_PAGES or not _IDENT.fullmatch(deed.thing_id):
        return None
    removed = {each.deed.thing_id for each in deeds if (each.deed.action, each.deed.outcome) == ("remove", "done")}
    return None if deed.thing_id in removed else url_of(request, deed.thing, id=deed.thing_id)
