"""Every route of the API in one table: what is asked with it, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from replyhook_receiver.web import answer_models as told
from replyhook_receiver.web import history_models as history
from replyhook_receiver.web import provider_models as provider
from replyhook_receiver.web import queries
from replyhook_receiver.web import receiver_models as receiver
from replyhook_receiver.web.deliveries import RetryModel
from replyhook_receiver.web.endpoint_models import EndpointChangeModel, EndpointModel, RotationModel
from replyhook_receiver.web.inspection import BindModel, ReplayModel
from replyhook_receiver.web.keys import KeyModel
from replyhook_receiver.web.models import NothingModel, RegistrationModel, RelayModel, SubmissionModel
from replyhook_receiver.web.stream_query import FilterModel, StreamQuery


@dataclass(frozen=True, slots=True)
class Media:
    """An answer, or a body, that is not JSON."""

    types: tuple[str, ...]


TEXT = Media(("text/plain; charset=utf-8",))
VIDEO = Media(("video/mp4", "application/octet-stream", "video/*"))
POSTER = Media(("image/jpeg",))
EVENTS = Media(("text/event-stream",))
PAGE = Media(("text/html; charset=utf-8",))
STYLE = Media(("text/css; charset=utf-8",))
ANYTHING = Media(("*/*",))
DOCUMENT = Media(("application/json",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route. ``answers`` are by status, None for no body; ``problems`` are those beyond what all may answer.

    ``body`` may be left out where ``needs_body`` is not set.
    """

    summary: str
    tag: str
    answers: Mapping[int, Any]
    query: type[msgspec.Struct] = queries.NoQuery
    body: Any = None
    needs_body: bool = True
    problems: tuple[int, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


_RANGE = {
    "range": "Some of the bytes, such as bytes=0-1023.",
    "if-range": "Only if the video is still the one with this ETag.",
    "if-none-match": "Only if the video is not the one with this ETag.",
}
_RESUME = {"last-event-id": "The id of the last event that was seen: the stream goes on after it; 0 is the first kept."}
_VIDEO: Mapping[int, Any] = {200: VIDEO, 206: VIDEO, 302: None, 304: None}
_POSTER: Mapping[int, Any] = {200: POSTER, 206: POSTER, 302: None, 304: None}


def _op(summary: str, tag: str, answer: Any = None, *, status: int = 200, **more: Any) -> Operation:
    return Operation(summary=summary, tag=tag, answers=more.pop("answers", {status: answer}), **more)


OPERATIONS: Mapping[str, Operation] = {
    "GET /v1/jobs": _op("List jobs, newest first", "jobs", told.JobPage, query=queries.JobsQuery),
    "POST /v1/jobs": _op(
        "Have the receiver submit a job", "jobs", told.Job, status=202, body=RelayModel, problems=(409,)
    ),
    "PUT /v1/jobs/{id}": _op(
        "Register a job before submitting it yourself", "jobs", told.RegisteredJob, body=RegistrationModel,
        problems=(409,),
    ),
    "GET /v1/jobs/{id}": _op("One job", "jobs", told.Job),
    "POST /v1/jobs/{id}/submission": _op(
        "Report what became of a submit", "jobs", told.Job, body=SubmissionModel, problems=(409,)
    ),
    "POST /v1/jobs/{id}/cancel": _op(
        "Cancel a job: at once where it was not submitted yet, else by asking its provider", "jobs",
        answers={200: told.CanceledJob, 202: told.CanceledJob}, body=NothingModel, needs_body=False, problems=(409,),
    ),
    "POST /v1/jobs/{id}/retry": _op(
        "Put back what was given up for a job", "jobs", provider.RetriedJob, status=202, body=NothingModel,
        needs_body=False, problems=(409,),
    ),
    "POST /v1/jobs/{id}/reconcile": _op(
        "Have the provider asked about a job now", "jobs", provider.AskedJob, status=202, body=NothingModel,
        needs_body=False, problems=(409,),
    ),
    "GET /v1/jobs/{id}/timeline": _op("Everything that is kept of a job, in order", "jobs", history.Timeline),
    "POST /v1/jobs/{id}/reply-url": _op(
        "Where a job's provider calls back", "jobs", told.ReplyURL, body=NothingModel, needs_body=False
    ),
    "GET /v1/jobs/{id}/video": _op(
        "A job's stored video", "videos", answers=_VIDEO, headers=_RANGE, problems=(409, 410, 416)
    ),
    "GET /v1/jobs/{id}/poster": _op(
        "A stored video's first picture", "videos", answers=_POSTER, headers=_RANGE, problems=(409, 410, 416)
    ),
    "GET /videos/{token}": _op(
        "A stored video, by a signed link", "videos", answers=_VIDEO, headers=_RANGE, problems=(404, 409, 410, 416)
    ),
    "GET /videos/{token}/poster": _op(
        "A poster, by a signed link", "videos", answers=_POSTER, headers=_RANGE, problems=(404, 409, 410, 416)
    ),
    "GET /v1/stream": _op(
        "Notifications as server-sent events", "stream", EVENTS, query=StreamQuery, headers=_RESUME, problems=(404,)
    ),
    "POST /v1/stream/links": _op(
        "Make a link that opens the stream without a key, for a browser", "stream", receiver.StreamLink, status=201,
        body=FilterModel, problems=(404,),
    ),
    "GET /streams/{token}": _op(
        "The stream, by a link", "stream", EVENTS, headers=_RESUME, problems=(403, 404, 422, 429)
    ),
    "GET /v1/callbacks": _op(
        "List what providers sent, newest first", "history", history.CallbackPage, query=queries.CallbacksQuery
    ),
    "GET /v1/callbacks/{id}": _op(
        "One callback, with what came in it", "history", history.WholeCallback, query=queries.CallbackQuery
    ),
    "POST /v1/callbacks/{id}/replay": _op(
        "Take a callback once more, or say what would come of it", "history", history.ReplayedTold, body=ReplayModel
    ),
    "POST /v1/callbacks/{id}/bind": _op("Say whose an orphan is", "history", told.Job, body=BindModel, problems=(409,)),
    "GET /v1/events": _op(
        "List the facts about jobs, newest first", "history", history.EventPage, query=queries.EventsQuery
    ),
    "GET /v1/find": _op("What a name stands for", "history", history.NamedList, query=queries.NameQuery),
    "GET /v1/endpoints": _op(
        "List the places to notify", "endpoints", told.EndpointPage, query=queries.EndpointsQuery, problems=(404,)
    ),
    "POST /v1/endpoints": _op(
        "Add a place to notify; the answer shows its secret, this once", "endpoints", told.EndpointTold, status=201,
        body=EndpointModel, problems=(409,),
    ),
    "GET /v1/endpoints/{id}": _op("One place to notify", "endpoints", told.EndpointTold),
    "PATCH /v1/endpoints/{id}": _op(
        "Change a place to notify, disable or enable it", "endpoints", told.EndpointTold, body=EndpointChangeModel,
        problems=(409,),
    ),
    "DELETE /v1/endpoints/{id}": _op("Forget a place to notify", "endpoints", status=204, problems=(409,)),
    "POST /v1/endpoints/{id}/test": _op(
        "Send a test notification now", "endpoints", told.EndpointTested, body=NothingModel, needs_body=False
    ),
    "POST /v1/endpoints/{id}/rotate-secret": _op(
        "Sign with a new secret; the answer shows it, this once", "endpoints", told.EndpointTold, body=RotationModel,
        needs_body=False, problems=(409,),
    ),
    "GET /v1/deliveries": _op(
        "List deliveries, newest first", "deliveries", told.DeliveryPage, query=queries.DeliveriesQuery
    ),
    "POST /v1/deliveries/retry": _op(
        "Put back all deliveries that a filter matches", "deliveries",
        answers={200: told.Retried, 202: told.Retried}, body=RetryModel,
    ),
    "GET /v1/deliveries/{id}": _op("One delivery with every try", "deliveries", told.WholeDelivery),
    "POST /v1/deliveries/{id}/retry": _op(
        "Put a delivery back", "deliveries", told.WholeDelivery, status=202, body=NothingModel, needs_body=False,
        problems=(409,),
    ),
    "GET /v1/refusals": _op("Refused callbacks since the start, by provider and reason", "receiver", told.Refused),
    "GET /v1/questions": _op("What providers were asked since the start, by cause", "receiver", told.Questioned),
    "GET /v1/downloads": _op("How the downloads do", "receiver", receiver.Downloads),
    "GET /v1/providers": _op("How each provider is set up and does", "receiver", provider.ProviderList),
    "POST /v1/providers/{name}/reply-url": _op(
        "Where a provider with one webhook per account calls back", "receiver", provider.AccountURL,
        body=NothingModel, needs_body=False, problems=(404,),
    ),
    "GET /v1/settings": _op("The settings in force, secrets masked", "receiver", provider.SettingList),
    "GET /v1/hold": _op("Whether the work is paused", "receiver", receiver.HoldTold),
    "PUT /v1/hold": _op("Pause the work", "receiver", receiver.HoldTold, query=queries.HoldQuery),
    "DELETE /v1/hold": _op("Go on", "receiver", receiver.HoldTold),
    "GET /metrics": _op("Figures for Prometheus", "receiver", Media(("text/plain",))),
    "GET /healthz": _op(
        "The process answers, and has not failed for good", "receiver",
        answers={200: receiver.Alive, 503: receiver.Alive}, query=queries.NonceQuery,
    ),
    "GET /readyz": _op(
        "Whether callbacks are taken, reach the disk, and work is being done", "receiver",
        answers={200: receiver.Ready, 503: receiver.Ready},
    ),
    "GET /v1/keys": _op("List the API keys", "keys", receiver.KeyPage, query=queries.KeysQuery),
    "POST /v1/keys": _op(
        "Make an API key; the answer shows it, this once", "keys", receiver.MadeKey, status=201, body=KeyModel,
        needs_body=False,
    ),
    "GET /v1/keys/{id}": _op("One API key, without the key", "keys", receiver.Key),
    "DELETE /v1/keys/{id}": _op("Revoke an API key", "keys", status=204),
    "GET /openapi.json": _op("This document", "docs", DOCUMENT),
    "GET /docs": _op("This document as a page", "docs", PAGE),
    "GET /docs/style.css": _op("How that page looks", "docs", STYLE),
}  # fmt: skip

CALLBACKS: Mapping[int, str] = {
    200: "It is kept, on disk; the body is `ok`.",
    400: "The sender went away.",
    401: "Not verified. Which check failed is not said.",
    404: "No such provider.",
    408: "The body did not come in time.",
    413: "The body is larger than any callback.",
    429: "Too many wrong tokens from this address.",
    431: "More headers than any provider sends.",
    503: "Not possible now: send it again.",
}
"""What `POST /callbacks/{provider}/{token}` answers, always as text: providers read no problems."""


def check_query(request: Request) -> None:
    """Raise ``InvalidRequest`` for a query parameter that the request's route does not have."""
    route = request.scope.get("route")
    method = "GET" if request.method == "HEAD" else request.method
    operation = OPERATIONS.get(f"{method} {route.path}") if isinstance(route, Route) else None
    if operation is not None:
        queries.check_names(request.query_params, operation.query)
