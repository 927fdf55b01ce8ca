"""How the downloads do: what waits, what is about to be lost, and whether something holds them back."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.stores.links import Links
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.receiver_models import Downloads
from replyhook_receiver.work.queueing import DownloadQueue


class DownloadApi:
    """What the endpoint stands on."""

    def __init__(self, *, links: Links, queue: DownloadQueue) -> None:
        self._links = links
        self._queue = queue

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The route, for those with a key."""
        return [Route("/v1/downloads", keys.guard(self.show), methods=["GET"])]

    async def show(self, _: Request) -> Response:
        """How many videos are not stored yet, of how many that was said, when the next link ends, and what is wrong."""
        waiting = await self._links.waiting()
        content = {
            "state": self._queue.state,
            "problem": self._queue.problem,
            "waiting": waiting.videos,
            "expiring": waiting.expiring,
            "next_link_ends_at": waiting.next_end,
        }
        return answer(Downloads, content)
