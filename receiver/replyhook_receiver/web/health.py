"""`/healthz`: the process answers and has not failed for good. `/readyz`: callbacks are kept and work is done."""

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.instance import Instance
from replyhook_receiver.stores.base import Store
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.receiver_models import Alive, Ready
from replyhook_receiver.work.worker import Worker


def health_routes(
    store: Store,
    worker: Worker | None,
    downloads: Callable[[], str],
    *,
    instance: Instance,
    now: Callable[[], datetime],
) -> list[Route]:
    """The two routes. What is not ready is named; no worker is wanted where there is none: how many there are elsewhere
    is told then, and makes nothing unready, as callbacks are taken all the same.

    With ``?nonce=`` the first answers a proof too, by which `replyhook doctor` knows this very process.

    ``downloads`` says how they do: that they wait for room on the disk, or for an object store, makes nothing
    unready, nor does a hold.
    """

    async def healthz(request: Request) -> Response:
        proof = instance.proof(request.query_params.get("nonce", ""))
        alive = not store.has_failed
        content = {"ok": alive} if proof is None else {"ok": alive, "proof": proof}
        return answer(Alive, content, status=200 if alive else 503)

    async def readyz(_: Request) -> Response:
        found = {"store": await store.check(), "worker": None if worker is None else worker.healthy}
        ready = False not in found.values()
        content: dict[str, object] = {"ok": ready, **found, "downloads": downloads(), "work": await _work(store)}
        if worker is None:
            content["workers"] = await _workers(store, now())
        return answer(Ready, content, status=200 if ready else 503)

    return [Route("/healthz", healthz, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]


async def _work(store: Store) -> str:
    try:
        return "going on" if await store.holding.status() is None else "on hold"
    except StoreUnavailable:
        return "not known"


async def _workers(store: Store, now: datetime) -> int | None:
    """How many other processes do the work; None where that cannot be told."""
    try:
        return len(await store.workers.beating(now=now))
    except StoreUnavailable:
        return None
