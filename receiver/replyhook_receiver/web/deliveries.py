"""The outbox over HTTP: look at deliveries and their tries, put them back singly or by a filter."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest
from replyhook.ids import is_id
from replyhook.notifications import NotificationType
from replyhook_receiver.errors import UnknownDelivery
from replyhook_receiver.records import DeliveryStatus
from replyhook_receiver.stores.deliveries import AttemptRecord, Deliveries, DeliveryFilter, DeliverySummary
from replyhook_receiver.web.auth import ApiKeys, access_of
from replyhook_receiver.web.models import LARGEST_PAGE, USUAL_PAGE, read_model

MAX_BODY_BYTES = 16 * 1024
FILTERS = ("status", "endpoint", "job", "type", "since", "until", "error")
_LONGEST_TEXT = 256
_LOST = "it never came back: the process ended while it was under way"


class RetryModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/deliveries/retry`: a filter, and whether only to say how many."""

    status: str | None = None
    endpoint: str | None = None
    job: str | None = None
    type: str | None = None
    since: str | None = None
    until: str | None = None
    error: str | None = None
    dry_run: bool = False


class DeliveryApi:
    """What the endpoints stand on."""

    def __init__(self, *, deliveries: Deliveries, now: Callable[[], datetime]) -> None:
        self._deliveries = deliveries
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
        query = request.query_params
        known = (*FILTERS, "before", "limit")
        unknown = sorted(set(query) - set(known))
        if unknown:
            raise InvalidRequest(unknown[0], query[unknown[0]], f"the filters are {', '.join(known)}")
        before = query.get("before")
        if before is not None and not is_id("dlv", before):
            raise InvalidRequest("before", before, "the id of a delivery: dlv_ and 26 characters")
        limit = _limit(query.get("limit", str(USUAL_PAGE)))
        wanted = replace(read_filter(query), user=access_of(request).user)
        found = await self._deliveries.page(wanted, before=before, limit=limit + 1)
        return _json({"data": [_shown(each) for each in found[:limit]], "has_more": len(found) > limit})

    async def show(self, request: Request) -> Response:
        """One delivery with every try."""
        return _json(await self._whole(request.path_params["id"]))

    async def retry(self, request: Request) -> Response:
        """Put one back: the same notification id, and as many tries as in the beginning."""
        delivery_id = request.path_params["id"]
        await self._deliveries.retry(delivery_id, now=self._now())
        return _json(await self._whole(delivery_id), status=202)

    async def retry_all(self, request: Request) -> Response:
        """Put back all that a filter matches and that leads somewhere; without a status, the dead ones of them."""
        model = await read_model(request, RetryModel)
        given = {name: value for name in FILTERS if (value := getattr(model, name)) is not None}
        if not given:
            allowed = f'at least one of {", ".join(FILTERS)}; for all dead letters {{"status": "dead"}}'
            raise InvalidRequest("filter", None, allowed)
        if given.get("status") == DeliveryStatus.SUPERSEDED:
            raise InvalidRequest("status", given["status"], "dead, pending or delivered: superseded ones are pointless")
        wanted = replace(read_filter(given), user=access_of(request).user)
        matching = await self._deliveries.matching(wanted)
        skipped = await self._deliveries.leading_nowhere(wanted)
        retried = 0 if model.dry_run else await self._deliveries.retry_all(matching, now=self._now())
        content = {"matching": len(matching), "retried": retried, "skipped": len(skipped), "dry_run": model.dry_run}
        return _json(content, status=200 if model.dry_run else 202)

    async def _whole(self, delivery_id: str) -> dict[str, Any]:
        summary = await self._deliveries.summary(delivery_id)
        if summary is None:
            raise UnknownDelivery(f"there is no delivery {delivery_id[:64]}")
        attempts = await self._deliveries.attempts(delivery_id)
        return {**_shown(summary), "attempts": [_shown_attempt(each) for each in attempts]}


def read_filter(given: Mapping[str, str]) -> DeliveryFilter:
    """The filter that is asked for by these texts. Raises ``InvalidRequest``."""
    status, kind = given.get("status"), given.get("type")
    if status is not None and status not in set(DeliveryStatus):
        raise InvalidRequest("status", status, f"one of {', '.join(DeliveryStatus)}")
    if kind is not None and kind not in set(NotificationType):
        raise InvalidRequest("type", kind, f"one of {', '.join(NotificationType)}")
    for name in ("endpoint", "job", "error"):
        if not 0 < len(given.get(name, "-")) <= _LONGEST_TEXT:
            raise InvalidRequest(name, given[name], f"a text of 1 to {_LONGEST_TEXT} characters")
    return DeliveryFilter(
        status=None if status is None else DeliveryStatus(status),
        endpoint=given.get("endpoint"),
        job=given.get("job"),
        type=None if kind is None else NotificationType(kind),
        since=_time("since", given.get("since")),
        until=_time("until", given.get("until")),
        error=given.get("error"),
    )


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise InvalidRequest(name, text, "a time with its zone, such as 2026-11-21T12:00:00Z")
    return when


def _limit(text: str) -> int:
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    if not 0 < limit <= LARGEST_PAGE:
        raise InvalidRequest("limit", text, f"a whole number from 1 to {LARGEST_PAGE}")
    return limit


def _shown(delivery: DeliverySummary) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "notification_id": delivery.notification_id,
        "type": delivery.type,
        "job_id": delivery.job_id,
        "endpoint": {"id": delivery.endpoint_id, "channel": delivery.channel, "host": _host(delivery.url)},
        "status": delivery.status,
        "waits_for": delivery.waits_for,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
        "next_attempt_at": delivery.next_attempt_at,
        "tries": delivery.attempts,
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


def _json(content: Any, *, status: int = 200) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(content), status_code=status, media_type="application/json", headers=headers)
