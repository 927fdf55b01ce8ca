"""`/openapi.json` and `/docs`, open to all: nothing in them is a secret, and nothing comes from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.web.openapi.document import describe, encoded
from replyhook_receiver.web.openapi.page import page

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """Both, as they are sent: strangers may ask for them as often as they like."""

    document: bytes
    page: bytes


class DocumentApi:
    """Tells of ``routes``, and of its own."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._made = lru_cache(maxsize=8)(self._make)  # by the path that the app is mounted at

    def routes(self) -> list[Route]:
        """The routes, for all."""
        return [
            Route("/openapi.json", self.document, methods=["GET"]),
            Route("/docs", self.page, methods=["GET"]),
            Route("/docs/style.css", self.style, methods=["GET"]),
        ]

    async def document(self, request: Request) -> Response:
        """The document."""
        return Response(self._of(request).document, media_type="application/json", headers=_HEADERS)

    async def page(self, request: Request) -> Response:
        """The document, to be read."""
        return Response(self._of(request).page, media_type="text/html", headers=_HEADERS)

    async def style(self, _: Request) -> Response:
        """How it looks."""
        style = resources.files("replyhook_receiver.web.openapi").joinpath("style.css").read_bytes()
        return Response(style, media_type="text/css", headers=_HEADERS)

    def _of(self, request: Request) -> _Made:
        return self._made(request.scope.get("root_path", "").rstrip("/"))

    def _make(self, root_path: str) -> _Made:
        document = describe([*self._routes, *self.routes()], root_path=root_path)
        return _Made(document=encoded(document), page=page(document).encode())
