"""What pages load, from the package: each file under a name that changes with its contents, so it is kept for ever."""

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.web.problems import problem

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}


class StaticFiles:
    """Reads all of them once; only these names are ever answered."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}
        for found in files(__package__).joinpath("static").iterdir():
            if f".{found.name.rpartition('.')[2]}" in _TYPES:
                self._contents[found.name] = found.read_bytes()
        self._hashes = {name: hashlib.sha256(body).hexdigest()[:16] for name, body in self._contents.items()}

    def routes(self) -> list[Route]:
        """One route, open to all: the sign-in page needs it."""
        return [Route("/static/{hash}/{name}", self.show, methods=["GET"], name="static")]

    def hash(self, name: str) -> str:
        """What stands in a file's address. Raises ``KeyError`` where there is no such file."""
        return self._hashes[name]

    async def show(self, request: Request) -> Response:
        """One file; one that an older page asks for is answered as it is now, and not kept."""
        name = request.path_params["name"]
        body = self._contents.get(name)
        if body is None:
            return problem(404, "there is no such file")
        is_current = request.path_params["hash"] == self._hashes[name]
        headers = _FOR_EVER if is_current else {**_FOR_EVER, "cache-control": "no-store"}
        return Response(body, headers=headers, media_type=_TYPES[f".{name.rpartition('.')[2]}"])
