"""`/healthz`: the process answers. `/readyz`: it also takes callbacks, they reach the disk, and work is being done."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from replyhook_receiver.stores.base import Store
from replyhook_receiver.work.worker import Worker


def health_routes(store: Store, worker: Worker | None, downloads: Callable[[], str]) -> list[Route]:
    """The two routes. What is not ready is named; no worker is wanted where there is none.

    ``downloads`` says how they do: that they wait for room on the disk, or for an object store, makes nothing
    unready.
    """

    async def healthz(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def readyz(_: Request) -> Response:
        found = {"store": await store.check(), "worker": worker is None or worker.healthy}
        ready = all(found.values())
        return JSONResponse({"ok": ready, **found, "downloads": downloads()}, status_code=200 if ready else 503)

    return [Route("/healthz", healthz, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]
