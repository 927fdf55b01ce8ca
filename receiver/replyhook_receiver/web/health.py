"""`/healthz`: the process answers. `/readyz`: it also takes callbacks and works."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def health_routes(checks: dict[str, Callable[[], bool]]) -> list[Route]:
    """The two routes; ``checks`` are what being ready means, by name."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def readyz(_: Request) -> Response:
        found = {name: check() for name, check in checks.items()}
        ready = all(found.values())
        return JSONResponse({"ok": ready, **found}, status_code=200 if ready else 503)

    return [Route("/healthz", healthz, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]
