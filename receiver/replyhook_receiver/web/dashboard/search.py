"""*Search*: from a name that somebody has, to the page of what is called so."""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from replyhook_receiver.web.dashboard.asking import ask
from replyhook_receiver.web.dashboard.ground import Ground
from replyhook_receiver.web.dashboard.page_headers import page_headers
from replyhook_receiver.web.dashboard.pages import url_of, with_query
from replyhook_receiver.web.queries import LONGEST_NAME

_WHAT = {
    "job": "a job, by its id",
    "callback": "a callback, by its id",
    "delivery": "a delivery, by its id",
    "notification": "a notification, by its id: it stands on its job's page",
    "reference": "a job with this reference",
    "provider_job_id": "a job that its provider calls so",
}


class SearchPage:
    """What the box in the header leads to."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """The page."""
        return [self._ground.page("/search", "search", self.show)]

    async def show(self, request: Request) -> Response:
        """On to the page of what is called so; where several are, or none is, a page that says so."""
        name = request.query_params.get("name", "").strip()
        is_asked = 0 < len(name) <= LONGEST_NAME and "\0" not in name
        found = await ask(request, "GET", "/v1/find", query={"name": name}) if is_asked else {"data": []}
        pages = {_page(request, each): each for each in found["data"]}
        if len(pages) == 1:
            return RedirectResponse(next(iter(pages)), status_code=303, headers=page_headers())
        return await self._ground.pages.show(
            request,
            "search.html",
            name=name,
            found=[(link, each, _WHAT.get(each["what"], each["what"])) for link, each in pages.items()],
            has_more=found.get("has_more", False),
            all_of_it=_all_jobs(request, name, found["data"]),
        )


def _page(request: Request, found: dict[str, Any]) -> str:
    match found["what"]:
        case "callback":
            return url_of(request, "callback", id=found["id"])
        case "delivery":
            return url_of(request, "delivery", id=found["id"])
        case "notification":
            return f"{url_of(request, 'job', id=found['job_id'])}#at-{found['id']}"
        case _:
            return url_of(request, "job", id=found["job_id"])


def _all_jobs(request: Request, name: str, found: list[dict[str, Any]]) -> str | None:
    """The list of all jobs with a reference that several have."""
    is_reference = sum(each["what"] == "reference" for each in found) > 1
    return with_query(url_of(request, "jobs"), reference=name) if is_reference else None
