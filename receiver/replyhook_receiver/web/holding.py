"""`/v1/hold`: pausing the work and going on, while callbacks are taken as always."""

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest
from replyhook_receiver.stores.holding import Hold, Holding
from replyhook_receiver.web.auth import ApiKeys

_LONGEST_REASON = 200


class HoldApi:
    """What the endpoint stands on."""

    def __init__(self, *, holding: Holding, now: Callable[[], datetime]) -> None:
        self._holding = holding
        self._now = now

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The route, for those with a key."""
        return [
            Route("/v1/hold", keys.guard(self.show), methods=["GET"]),
            Route("/v1/hold", keys.guard(self.begin), methods=["PUT"]),
            Route("/v1/hold", keys.guard(self.end), methods=["DELETE"]),
        ]

    async def show(self, _: Request) -> Response:
        """Whether the work is paused, since when, what for."""
        return _shown(await self._holding.status())

    async def begin(self, request: Request) -> Response:
        """Pause: no task is begun, what is being done is finished."""
        reason = request.query_params.get("reason", "")
        if len(reason) > _LONGEST_REASON:
            raise InvalidRequest("reason", reason[:20], f"at most {_LONGEST_REASON} characters")
        return _shown(await self._holding.begin(reason, now=self._now()))

    async def end(self, _: Request) -> Response:
        """Go on."""
        await self._holding.end()
        return _shown(None)


def _shown(hold: Hold | None) -> Response:
    since = None if hold is None else hold.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return JSONResponse({"held": hold is not None, "since": since, "reason": hold.reason if hold else None})
