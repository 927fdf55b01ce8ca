"""*Jobs*: the list, with filters, that keeps itself up to date."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.jobs import JobStatus
from replyhook.providers import PROVIDERS
from replyhook_receiver.records import VideoWanted
from replyhook_receiver.web.dashboard.asking import ask
from replyhook_receiver.web.dashboard.filters import asked_for
from replyhook_receiver.web.dashboard.ground import Ground


class JobPages:
    """The list of jobs."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """The pages."""
        return [self._ground.page("/jobs", "jobs", self.list)]

    async def list(self, request: Request) -> Response:
        """Jobs, newest first, of which the form's fields are true."""
        asked = asked_for(request)
        found = await ask(request, "GET", "/v1/jobs", query=asked)
        return await self._ground.pages.show(
            request,
            "jobs.html",
            jobs=found["data"],
            next=found["next"],
            asked=asked,
            statuses=[status.value for status in JobStatus],
            providers=sorted(PROVIDERS),
            videos=[state.value for state in VideoWanted],
            public_url=self._ground.public_url,
        )
