"""*Deliveries*: the outbox; one delivery's tries; putting back one, or all that a filter matches."""

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.notifications import NotificationType
from replyhook_receiver.records import DeliveryStatus
from replyhook_receiver.web.dashboard.asking import ask, known_job
from replyhook_receiver.web.dashboard.deeds import Button, press
from replyhook_receiver.web.dashboard.filters import asked_for
from replyhook_receiver.web.dashboard.forms import Form, read_form
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.dashboard.pages import url_of, with_query
from replyhook_receiver.web.deliveries import FILTERS

SHOWN_BEFORE = 100
"""So many of what is to be put back are listed; of the others it is said how many they are."""


class DeliveryPages:
    """The list, the page of one, and putting back."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """The pages and forms."""
        ground = self._ground
        return [
            ground.page("/deliveries", "deliveries", self.page),
            ground.form("/deliveries/retry", "retry_deliveries", self.retry_all),
            ground.page("/deliveries/{id}", "delivery", self.show),
            ground.form("/deliveries/{id}/retry", "retry_delivery", self.retry),
        ]

    async def page(self, request: Request) -> Response:
        """Deliveries, newest first, of which the form's fields are true."""
        asked = asked_for(request)
        found = await ask(request, "GET", "/v1/deliveries", query=asked)
        return await self._ground.pages.show(
            request,
            "deliveries.html",
            deliveries=found["data"],
            next=found["next"],
            asked=asked,
            filters=_filters(asked),
            statuses=[status.value for status in DeliveryStatus],
            types=[kind.value for kind in NotificationType],
        )

    async def show(self, request: Request) -> Response:
        """One delivery with every try."""
        delivery = await ask(request, "GET", _api(request))
        is_operators = access_of_visit(request).user is None
        deeds = await self._ground.audit.of_thing(delivery["id"]) if is_operators else []
        return await self._ground.pages.show(request, "delivery.html", delivery=delivery, deeds=deeds)

    async def retry(self, request: Request) -> Response:
        """Put one back."""

        async def work() -> str:
            await ask(request, "POST", f"{_api(request)}/retry")
            return "put back: it is tried again now, under the same id"

        delivery = await ask(request, "GET", _api(request))
        button = Button(action="retry", thing="delivery", thing_id=delivery["id"], job_id=delivery["job_id"] or None)
        back = url_of(request, "delivery", id=request.path_params["id"])
        return await press(self._ground, request, button, work, then=lambda: back)

    async def retry_all(self, request: Request) -> Response:
        """What would be put back; and, when that was seen and is wanted, do it."""
        form = await read_form(request)
        filters = _filters(_given(form)) or {"status": DeliveryStatus.DEAD.value}
        if form["confirmed"] != "yes":
            return await self._before(request, filters)

        async def work() -> str:
            done = await ask(request, "POST", "/v1/deliveries/retry", body=filters)
            return f"{_deliveries(done['retried'])} put back{_skipped(done)}"

        in_words = ", ".join(f"{name} {value}" for name, value in filters.items())
        job_id = await known_job(request, filters.get("job"))
        button = Button(action="retry", thing="deliveries", thing_id=in_words[:200], job_id=job_id)
        back = with_query(url_of(request, "deliveries"), **{**filters, "status": None})
        return await press(self._ground, request, button, work, then=lambda: back)

    async def _before(self, request: Request, filters: dict[str, str]) -> Response:
        would = await ask(request, "POST", "/v1/deliveries/retry", body={**filters, "dry_run": True})
        wanted = {"status": DeliveryStatus.DEAD.value, **filters, "limit": str(SHOWN_BEFORE)}
        found = await ask(request, "GET", "/v1/deliveries", query=wanted)
        return await self._ground.pages.show(
            request,
            "retry.html",
            filters=filters,
            would=would,
            deliveries=found["data"],
            has_more=found["has_more"],
            back=with_query(url_of(request, "deliveries"), **filters),
        )


def _api(request: Request) -> str:
    return f"/v1/deliveries/{quote(request.path_params['id'], safe='')}"


def _given(form: Form) -> dict[str, str]:
    return {name: value for name in FILTERS if (value := form.given(name)) is not None}


def _filters(asked: dict[str, str]) -> dict[str, str]:
    """The filters alone, without the place in the list."""
    return {name: value for name, value in asked.items() if name in FILTERS}


def _deliveries(count: int) -> str:
    return "1 delivery" if count == 1 else f"{count} deliveries"


def _skipped(done: dict[str, Any]) -> str:
    return f"; {done['skipped']} left alone, since their endpoints are gone" if done["skipped"] else ""
