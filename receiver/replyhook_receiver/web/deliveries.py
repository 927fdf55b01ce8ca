"""The outbox over HTTP: look at deliveries and their tries, put them back singly or by a filter."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest
from replyhook_receiver.errors import UnknownDelivery
from replyhook_receiver.records import DeliveryStatus
from replyhook_receiver.stores.deliveries import AttemptRecord, Deliveries, DeliveryFilter, DeliverySummary
from replyhook_receiver.stores.windows import Listed, Windows
from replyhook_receiver.web.answer_models import DeliveryPage, Retried, WholeDelivery
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import Access, ApiKeys, access_of, own_user
from replyhook_receiver.web.deeds import tell_deed, tell_nothing_is_done
from replyhook_receiver.web.models import read_model, read_nothing
from replyhook_receiver.web.pages import looked_for, page_of
from replyhook_receiver.web.queries import DeliveriesQuery, read_query

MAX_BODY_BYTES = 16 * 1024
FILTERS = ("status", "endpoint", "job", "reference", "user", "type", "since", "until", "error")
_LOST = "it never came back: the process ended while it was under way"


class RetryModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/deliveries/retry`: a filter, and whether only to say how many."""

    status: str | None = None
    endpoint: str | None = None
    job: str | None = None
    reference: str | None = None
    user: str | None = None
    type: str | None = None
    since: str | None = None
    until: str | None = None
    error: str | None = None
    dry_run: bool = False


class DeliveryApi:
    """What the endpoints stand on."""

    def __init__(self, *, deliveries: Deliveries, windows: Windows, now: Callable[[], datetime]) -> None:
        self._deliveries = deliveries
        self._windows = windows
        self._now = now

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The routes, each for those with a key."""
        table: list[tuple[str, str, Any]] = [
            ("GET", "/v1/deliveries", self.page),
            ("POST", "/v1/deliveries/retry", self.retry_all),
            ("GET", "/v1/deliveries/{id}", self.show),
            ("POST", "/v1/deliveries/{id}/retry", self.retry),
        ]
        return [
            Route(path, keys.guard(endpoint), methods=[method], max_body_size=MAX_BODY_BYTES)
            for method, path, endpoint in table
        ]

    async def page(self, request: Request) -> Response:
        """The deliveries, newest first, of which the query is true."""
        asked = read_query(request.query_params, DeliveriesQuery)
        wanted = _filter(asked, access_of(request))
        before, limit = asked.before, asked.limit

        async def find(down_to: str | None, most: int) -> list[DeliverySummary]:
            return await self._deliveries.page(wanted, before=before, down_to=down_to, limit=most)

        is_indexed = wanted.job or wanted.endpoint or wanted == DeliveryFilter(status=DeliveryStatus.DEAD)
        if is_indexed or wanted == DeliveryFilter():
            return answer(DeliveryPage, page_of(await find(None, limit + 1), limit, _shown))
        windows, of = self._windows, Listed.DELIVERIES
        page = await looked_for(windows, of, before=before, limit=limit, find=find, show=_shown)
        return answer(DeliveryPage, page)

    async def show(self, request: Request) -> Response:
        """One delivery with every try."""
        return answer(WholeDelivery, await self._whole(request.path_params["id"]))

    async def retry(self, request: Request) -> Response:
        """Put one back: the same notification id, and as many tries as in the beginning."""
        await read_nothing(request)
        delivery_id = request.path_params["id"]
        await self._deliveries.retry(delivery_id, now=self._now())
        whole = await self._whole(delivery_id)
        tell_deed(request, job_id=whole["job_id"] or None)
        return answer(WholeDelivery, whole, status=202)

    async def retry_all(self, request: Request) -> Response:
        """Put back all that a filter matches and that leads somewhere; without a status, the dead ones of them."""
        model = await read_model(request, RetryModel)
        given = {name: value for name in FILTERS if (value := getattr(model, name)) is not None}
        if not given:
            allowed = f'at least one of {", ".join(FILTERS)}; for all dead letters {{"status": "dead"}}'
            raise InvalidRequest("filter", None, allowed)
        if given.get("status") == DeliveryStatus.SUPERSEDED:
            raise InvalidRequest("status", given["status"], "dead, pending or delivered: superseded ones are pointless")
        wanted = read_filter(given, access_of(request))
        matching = await self._deliveries.matching(wanted)
        skipped = await self._deliveries.leading_nowhere(wanted)
        if model.dry_run:
            tell_nothing_is_done(request)
        in_words = ", ".join(f"{name} {value}" for name, value in given.items())
        tell_deed(request, thing_id=in_words, job_id=wanted.job if matching else None)
        retried = 0 if model.dry_run else await self._deliveries.retry_all(matching, now=self._now())
        tell_deed(request, detail=f"{retried} put back")
        content = {"matching": len(matching), "retried": retried, "skipped": len(skipped), "dry_run": model.dry_run}
        return answer(Retried, content, status=200 if model.dry_run else 202)

    async def _whole(self, delivery_id: str) -> dict[str, Any]:
        summary = await self._deliveries.summary(delivery_id)
        if summary is None:
            raise UnknownDelivery(f"there is no delivery {delivery_id[:64]}")
        attempts = await self._deliveries.attempts(delivery_id)
        return {**_shown(summary), "attempts": [_shown_attempt(each) for each in attempts]}


def _filter(asked: DeliveriesQuery, access: Access) -> DeliveryFilter:
    return DeliveryFilter(
        status=asked.status,
        endpoint=asked.endpoint,
        job=asked.job,
        type=asked.type,
        since=asked.since,
        until=asked.until,
        error=asked.error,
        reference=asked.reference,
        of_user=own_user(access, asked.user),
        user=access.user,
    )


def read_filter(given: Mapping[str, str], access: Access) -> DeliveryFilter:
    """The filter that is asked for by these texts. Raises ``InvalidRequest``."""
    return _filter(read_query(QueryParams(list(given.items())), DeliveriesQuery), access)


def _shown(delivery: DeliverySummary) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "notification_id": delivery.notification_id,
        "type": delivery.type,
        "job_id": delivery.job_id,
        "endpoint": {
            "id": delivery.endpoint_id,
            "name": delivery.endpoint_name,
            "channel": delivery.channel,
            "host": _host(delivery.url),
            "removed": delivery.is_endpoint_removed,
        },
        "status": delivery.status,
        "waits_for": delivery.waits_for,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
        "next_attempt_at": delivery.next_attempt_at,
        "tries": delivery.attempts,
        "counted": delivery.counted,
        "last_status": delivery.answer,
        "problem": delivery.problem,
        "superseded_by": delivery.superseded_by,
    }


def _shown_attempt(attempt: AttemptRecord) -> dict[str, Any]:
    is_lost = not attempt.has_ended and not attempt.is_under_way
    return {
        "number": attempt.number,
        "begun_at": attempt.begun_at,
        "under_way": attempt.is_under_way,
        "latency_ms": attempt.took_ms,
        "status": attempt.status,
        "answer": attempt.answer,
        "problem": _LOST if is_lost else attempt.problem,
    }


def _host(url: str) -> str | None:
    """Where an endpoint is, of http(s) URLs: paths, and all of other URLs, may hold tokens and persons' addresses."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] if parts.scheme in ("http", "https") else None
