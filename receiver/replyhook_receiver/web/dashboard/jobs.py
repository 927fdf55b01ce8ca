"""*Jobs*: the list, with filters, that keeps itself up to date."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.jobs import JobStatus
from replyhook.providers import PROVIDERS
from replyhook_receiver.web.auth import own_user
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.models import read_jobs_query
from replyhook_receiver.web.parts import Parts


class JobPages:
    """The list of jobs."""

    def __init__(self, ground: Ground, parts: Parts) -> None:
        self._ground = ground
        self._parts = parts

    def routes(self) -> list[Route]:
        """The pages."""
        return [self._ground.page("/jobs", "jobs", self.list)]

    async def list(self, request: Request) -> Response:
        """Jobs, newest first, of which the form's fields are true: the API's filters, an empty field is none."""
        asked = {name: value.strip() for name, value in request.query_params.items() if value.strip()}
        wanted, before, limit = read_jobs_query(asked)
        wanted = replace(wanted, user=own_user(access_of_visit(request), wanted.user))
        found = await self._parts.store.jobs(wanted, before=before, limit=limit + 1)
        now = self._ground.now()
        return await self._ground.pages.show(
            request,
            "jobs.html",
            jobs=[self._parts.announcer.describe(job, now) for job in found[:limit]],
            has_more=len(found) > limit,
            asked=asked,
            statuses=[status.value for status in JobStatus],
            providers=sorted(PROVIDERS),
        )
