"""*Overview*: how things stand."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.jobs import JobStatus
from replyhook_receiver.errors import LowDisk
from replyhook_receiver.records import DeliveryStatus
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.deliveries import DeliveryFilter
from replyhook_receiver.stores.overview import MINUTES, Lately
from replyhook_receiver.web.dashboard.asking import ask
from replyhook_receiver.web.dashboard.charts import columns, share, stack
from replyhook_receiver.web.dashboard.glances import Glances
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.dashboard.pages import may

_KINDS = {JobStatus.SUCCEEDED: "good", JobStatus.FAILED: "bad", JobStatus.CANCELED: "other", JobStatus.UNKNOWN: "bad"}


class OverviewPage:
    """The first page."""

    def __init__(self, ground: Ground, *, store: Store, storage: Storage) -> None:
        self._ground = ground
        self._store = store
        self._storage = storage
        self._glances = Glances(store, now=ground.now)

    def routes(self) -> list[Route]:
        """The page."""
        return [self._ground.page("/", "overview", self.show)]

    async def show(self, request: Request) -> Response:
        """How things stand: everybody's or one user's jobs, and, for whoever may know, the receiver itself."""
        access = access_of_visit(request)
        lately = await self._glances.lately(access.user)
        slowest = max((wait.p95 for wait in lately.waits), default=0.0)
        return await self._ground.pages.show(
            request,
            "overview.html",
            lately=lately,
            statuses=[(status.value, lately.by_status.get(status, 0), _kind(status)) for status in JobStatus],
            status_bars=stack([(each.value, lately.by_status.get(each, 0), _kind(each)) for each in JobStatus]),
            callback_bars=columns(lately.callbacks, _minutes(lately)),
            callbacks_counted=sum(count or 0 for count in lately.callbacks),
            waits=[(wait, share(wait.p50, slowest), share(wait.p95, slowest)) for wait in lately.waits],
            dead=await self._dead(access.user),
            receiver=await self._receiver(request) if may(access, "GET /v1/downloads") else None,
        )

    async def _dead(self, user: str | None) -> int:
        if user is None:
            return (await self._store.gauges.levels()).dead_deliveries
        return len(await self._store.deliveries.matching(DeliveryFilter(status=DeliveryStatus.DEAD, user=user)))

    async def _receiver(self, request: Request) -> dict[str, Any]:
        """What is about the receiver as a whole."""
        refusals: Mapping[str, Mapping[str, int]] = await ask(request, "GET", "/v1/refusals")
        return {
            "downloads": await ask(request, "GET", "/v1/downloads"),
            "hold": await ask(request, "GET", "/v1/hold"),
            "refusals": [
                (provider, reason, count) for provider, found in refusals.items() for reason, count in found.items()
            ],
            "refused": sum(count for found in refusals.values() for count in found.values()),
            "free_bytes": self._free_bytes(),
        }

    def _free_bytes(self) -> int | None:
        try:
            return self._storage.free_bytes()
        except LowDisk:  # a file server that is away: why, the downloads say
            return None


def _minutes(lately: Lately) -> list[str]:
    return [
        f"{MINUTES - 1 - place} min ago: {count}" if place < MINUTES - 1 else f"this minute: {count}"
        for place, count in enumerate(lately.callbacks)
    ]


def _kind(status: JobStatus) -> str:
    return _KINDS.get(status, "going")
