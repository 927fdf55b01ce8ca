"""`/openapi.json` and `/docs`, open to all: nothing in them is a secret, and nothing comes from outside."""

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.web.openapi.document import Document, describe, encoded
from replyhook_receiver.web.openapi.page import page

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
}


class DocumentApi:
    """Tells of ``routes``, and of its own."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._described = lru_cache(maxsize=8)(self._describe)  # by the path that the app is mounted at

    def routes(self) -> list[Route]:
        """The routes, for all."""
        return [
            Route("/openapi.json", self.document, methods=["GET"]),
            Route("/docs", self.page, methods=["GET"]),
            Route("/docs/style.css", self.style, methods=["GET"]),
        ]

    async def document(self, request: Request) -> Response:
        """The document."""
        return Response(encoded(self._document(request)), media_type="application/json", headers=_HEADERS)

    async def page(self, request: Request) -> Response:
        """The document, to be read."""
        return Response(page(self._document(request)), media_type="text/html", headers=_HEADERS)

    async def style(self, _: Request) -> Response:
        """How it looks."""
        style = resources.files("replyhook_receiver.web.openapi").joinpath("style.css").read_bytes()
        return Response(style, media_type="text/css", headers=_HEADERS)

    def _document(self, request: Request) -> Document:
        return self._described(request.scope.get("root_path", "").rstrip("/"))

    def _describe(self, root_path: str) -> Document:
        return describe([*self._routes, *self.routes()], root_path=root_path)
