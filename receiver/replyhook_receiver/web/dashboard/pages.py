"""Makes pages of templates: every value escaped, every name known, every link under the place we are mounted at."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import NoMatchFound, Route

from replyhook_receiver.storage.base import Storage
from replyhook_receiver.web.auth import Access
from replyhook_receiver.web.dashboard import shown
from replyhook_receiver.web.dashboard.flashes import Flashes
from replyhook_receiver.web.dashboard.page_headers import origin_of, page_headers
from replyhook_receiver.web.dashboard.static_files import StaticFiles
from replyhook_receiver.web.dashboard.visits import visit_of
from replyhook_receiver.web.route_scopes import Within, rule_of

_PROBE = "2000/01/01/job_origin.mp4"
NAV = (
    ("Overview", "overview", "/"),
    ("Jobs", "jobs", "/jobs"),
    ("Callbacks", "callbacks", "/callbacks"),
    ("Deliveries", "deliveries", "/deliveries"),
    ("Endpoints", "endpoints", "/endpoints"),
    ("Providers", "providers", "/providers"),
    ("Settings", "settings", "/settings"),
)
"""What the header leads to: its word, its route's name, its route's path. One whose page is not there is left out."""


class Pages:
    """Renders. ``redirects``: videos come from the object store itself, which pages then may load them from."""

    def __init__(
        self,
        *,
        static: StaticFiles,
        flashes: Flashes,
        storage: Storage,
        redirects: bool,
        now: Callable[[], datetime],
    ) -> None:
        self.flashes = flashes
        self._static = static
        self._storage = storage
        self._redirects = redirects
        self._now = now
        self._media_from: str | None = None
        self._templates = Environment(
            loader=PackageLoader("replyhook_receiver.web.dashboard", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "plain": shown.plain,
            "harmless": shown.harmless,
            "pretty": shown.pretty,
            "bytes_size": shown.bytes_size,
            "wait": shown.wait_of,
            "time_attribute": shown.time_attribute,
            "time_words": shown.time_words,
            "time_field": shown.time_field,
            "words": shown.words_of,
        }

    async def show(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page."""
        flash = self.flashes.read(request)
        visit = visit_of(request)
        content = self._templates.get_template(template).render(
            request=request,
            visit=visit,
            may=lambda route: may(visit.access, route) if visit is not None else False,
            url=lambda name, /, **path: url_of(request, name, **path),
            docs=f"{prefix_of(request)}/docs",
            page_at=lambda template, **path: page_at(request, template, **path),
            query=with_query,
            asset=lambda name: url_of(request, "static", hash=self._static.hash(name), name=name),
            here=prefix_of(request) + here(request),
            nav=[(word, name) for word, name, path in NAV if _is_there(request, name) and _is_open(visit, path)],
            flash=flash,
            now=self._now(),
            **values,
        )
        response = HTMLResponse(content, status_code=status, headers=page_headers(media_from=await self._media()))
        if flash is not None:
            self.flashes.clear(request, response)
        return response

    def go(
        self, request: Request, name: str, *, flash: str | None = None, is_good: bool = True, **path: str
    ) -> Response:
        """On to another page, after a form; ``flash`` is said there."""
        response = RedirectResponse(url_of(request, name, **path), status_code=303, headers=page_headers())
        if flash is not None:
            self.flashes.set(request, response, flash, is_good=is_good)
        return response

    async def _media(self) -> str | None:
        """The object store's origin, learned from a link of its own making, which is never used."""
        if self._redirects and self._media_from is None:
            link = await self._storage.link(_PROBE, seconds=1)
            self._media_from = None if link is None else origin_of(link)
        return self._media_from


def url_of(request: Request, name: str, /, **path: str) -> str:
    """The path of a route of ours, under whatever prefix we are mounted at; never another host's.

    What stands in it may have come with a request: a line end there would begin another header.
    """
    quoted = {key: quote(value, safe="") for key, value in path.items()}
    return prefix_of(request) + str(request.app.url_path_for(name, **quoted))


def page_at(request: Request, template: str, **path: str) -> str | None:
    """The path of the page at ``/jobs/{id}`` and the like; None where there is no such page."""
    for route in request.app.routes:
        if isinstance(route, Route) and route.path == template and "GET" in (route.methods or ()):
            return url_of(request, route.name, **path)
    return None


def prefix_of(request: Request) -> str:
    """Where the receiver is mounted: nothing, or a path without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def here(request: Request) -> str:
    """This page's own path and query, without the prefix: what signing in leads back to."""
    path = request.scope["path"].removeprefix(prefix_of(request)) or "/"
    query = request.scope.get("query_string", b"").decode("ascii", "replace")
    return f"{path}?{query}" if query else path


def with_query(link: str, **values: object) -> str:
    """A link with a query of what is not None."""
    given = {name: str(value) for name, value in values.items() if value is not None}
    return f"{link}?{urlencode(given)}" if given else link


def may(access: Access, route: str) -> bool:
    """Whether a key may do what a route does, so that nobody is shown a button that will be refused."""
    method, _, template = route.partition(" ")
    rule = rule_of(method, template)
    if rule is None or rule.scope not in access.scopes:
        return False
    return access.user is None or rule.user is not Within.NOTHING


def _is_there(request: Request, name: str) -> bool:
    try:
        request.app.url_path_for(name)
    except NoMatchFound:
        return False
    return True


def _is_open(visit: Any, path: str) -> bool:
    return visit is not None and may(visit.access, f"GET {path}")
