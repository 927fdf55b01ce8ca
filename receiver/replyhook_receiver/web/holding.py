"""`/v1/hold`: pausing the work and going on, while callbacks are taken as always."""

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.stores.holding import Hold, Holding
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.deeds import tell_deed
from replyhook_receiver.web.queries import HoldQuery, read_query
from replyhook_receiver.web.receiver_models import HoldTold


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
        asked = read_query(request.query_params, HoldQuery)
        tell_deed(request, detail=asked.reason)
        return _shown(await self._holding.begin(asked.reason, now=self._now()))

    async def end(self, _: Request) -> Response:
        """Go on."""
        await self._holding.end()
        return _shown(None)


def _shown(hold: Hold | None) -> Response:
    since, reason = (None, None) if hold is None else (hold.since, hold.reason)
    return answer(HoldTold, HoldTold(held=hold is not None, since=since, reason=reason))
