"""*Providers*: how each is set up here, how it does, and what is missing."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.web.dashboard.asking import ask
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.dashboard.pages import may

_REPLY_URL = "POST /v1/providers/{name}/reply-url"


class ProviderPage:
    """The page."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """The page."""
        return [self._ground.page("/providers", "providers", self.show)]

    async def show(self, request: Request) -> Response:
        """Those that are set up first."""
        found = (await ask(request, "GET", "/v1/providers"))["data"]
        return await self._ground.pages.show(
            request,
            "providers.html",
            providers=sorted(found, key=_set_up_first),
            reply_urls=await _reply_urls(request, found),
        )


async def _reply_urls(request: Request, found: list[dict[str, Any]]) -> dict[str, str]:
    """What to enter in consoles, for those who may know: whoever has such a URL can report jobs by it."""
    if not may(access_of_visit(request), _REPLY_URL):
        return {}
    names = [each["name"] for each in found if each["is_account_wide"]]
    return {name: (await ask(request, "POST", f"/v1/providers/{name}/reply-url"))["reply_url"] for name in names}


def _set_up_first(provider: dict[str, Any]) -> tuple[bool, bool, str]:
    return not provider["configured"], not provider["has_key"], provider["name"]
