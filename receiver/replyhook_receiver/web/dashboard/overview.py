"""*Overview*: how things stand."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.web.dashboard.ground import Ground
from replyhook_receiver.web.parts import Parts


class OverviewPage:
    """The first page."""

    def __init__(self, ground: Ground, parts: Parts) -> None:
        self._ground = ground
        self._parts = parts

    def routes(self) -> list[Route]:
        """The page."""
        return [self._ground.page("/", "overview", self.show)]

    async def show(self, request: Request) -> Response:
        """How things stand."""
        return await self._ground.pages.show(request, "overview.html")
