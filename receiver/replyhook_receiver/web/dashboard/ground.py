"""What every page stands on: who may see it, what a form must prove, and a page for each thing that goes wrong."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from replyhook_receiver.stores.audit import Audit
from replyhook_receiver.web.auth import Access, ApiKeys, Endpoint
from replyhook_receiver.web.dashboard.asking import ApiRefusal
from replyhook_receiver.web.dashboard.forms import MAX_FORM_BYTES, is_from_here, read_form
from replyhook_receiver.web.dashboard.page_headers import page_headers
from replyhook_receiver.web.dashboard.pages import Pages, here, url_of, with_query
from replyhook_receiver.web.dashboard.visits import Visit, Visits, is_csrf_of, let_in, visit_of
from replyhook_receiver.web.problems import HANDLERS

_log = logging.getLogger(__name__)
STALE_FORM = "this form is not of a page that you have open: load the page anew and try again; nothing was done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Makes routes of pages and forms.

    The rule of each is that of the API's route it stands for (``route_scopes.PAGES``); without one it is for nobody.
    """

    pages: Pages
    visits: Visits
    keys: ApiKeys = field(repr=False)
    audit: Audit
    public_url: str
    now: Callable[[], datetime]

    def page(self, path: str, name: str, endpoint: Endpoint) -> Route:
        """A page for those who are signed in and may see it."""
        return Route(path, self._guarded(endpoint), methods=["GET"], name=name)

    def form(self, path: str, name: str, endpoint: Endpoint) -> Route:
        """What a form does, for those who may; only from a page of ours, with the session's own token in it."""
        return Route(path, self._guarded(endpoint), methods=["POST"], name=name, max_body_size=MAX_FORM_BYTES)

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            try:
                visit = await self.visits.current(request)
                if visit is None:
                    return self._to_sign_in(request)
                let_in(request, visit)
                if request.method == "POST":
                    await self._check_form(request, visit)
                refusal = await self.keys.refusal(request, visit.access)
                if refusal is not None:
                    return await self.trouble(request, refusal.status, refusal.detail, refusal.headers)
                return await endpoint(request)
            except ApiRefusal as refusal:
                return await self.trouble(request, refusal.status, refusal.detail, refusal.headers)
            except Exception as error:
                return await self.trouble_for(request, error)

        return guarded

    async def _check_form(self, request: Request, visit: Visit) -> None:
        form = await read_form(request)
        if not is_from_here(request.headers, public_url=self.public_url):
            raise HTTPException(403, STALE_FORM)
        if not is_csrf_of(visit.session_id, form["csrf"]):
            raise HTTPException(403, STALE_FORM)

    def _to_sign_in(self, request: Request) -> Response:
        """To the sign-in page, and back here from there; what refreshes a part of a page is told to go there whole."""
        target = url_of(request, "sign_in")
        if "hx-request" in request.headers:
            return Response(status_code=401, headers={**page_headers(), "hx-redirect": target})
        if request.method in ("GET", "HEAD"):
            target = with_query(target, next=None if here(request) == "/" else here(request))
        return RedirectResponse(target, status_code=303, headers=page_headers())

    async def trouble_for(self, request: Request, error: Exception) -> Response:
        """The page for an error: of the same status, in the same words, as the API's answer to it."""
        for kind in type(error).__mro__:
            if kind in HANDLERS:
                problem: Response = await HANDLERS[kind](request, error)
                kept = {name: value for name, value in problem.headers.items() if name in ("retry-after", "allow")}
                detail = msgspec.json.decode(bytes(problem.body)).get("detail", "")
                return await self.trouble(request, problem.status_code, detail, kept)
        raise error

    async def trouble(
        self, request: Request, status: int, detail: str, headers: dict[str, str] | None = None
    ) -> Response:
        """A page that says what is wrong."""
        response = await self.pages.show(request, "trouble.html", status=status, code=status, detail=detail)
        response.headers.update(headers or {})
        return response


def access_of_visit(request: Request) -> Access:
    """What the key of whoever is signed in gives."""
    visit = visit_of(request)
    if visit is None:
        raise AssertionError("a page was reached by nobody")
    return visit.access
