"""Query parameters as models, read strictly: a filter that is misspelt or impossible is an error, not ignored."""

from collections.abc import Mapping
from datetime import datetime
from enum import EnumMeta
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import fields
from starlette.datastructures import QueryParams

from replyhook.errors import InvalidRequest
from replyhook.jobs import JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook.providers import PROVIDERS
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import DeliveryStatus, ReportSource, VideoWanted

USUAL_PAGE, LARGEST_PAGE = 50, 100
LONGEST_NAME = 1_024
LONGEST_TEXT = 256
_SHOWN = 64

_ID = "[0-9abcdefghjkmnpqrstvwxyz]{26}"
_CLEAN = r"^[^\u0000-\u001f\u007f]*$"
_NO_NUL = r"^[^\u0000]*$"


def _allowed(words: str) -> dict[str, str]:
    return {"allowed": words}


def _id(prefix: str, what: str) -> Meta:
    words = f"the id of {what}: {prefix}_ and 26 characters"
    return Meta(pattern=f"^{prefix}_{_ID}$", description=f"Only what is older than {what} with this id.",
                extra=_allowed(words))  # fmt: skip


def _text(longest: int, description: str) -> Meta:
    words = f"a text of 1 to {longest} characters, no control characters"
    return Meta(min_length=1, max_length=longest, pattern=_CLEAN, description=description, extra=_allowed(words))


Limit = Annotated[
    int,
    Meta(
        ge=1,
        le=LARGEST_PAGE,
        description="At most so many.",
        extra=_allowed(f"a whole number from 1 to {LARGEST_PAGE}"),
    ),
]
When = Annotated[
    datetime,
    Meta(
        tz=True,
        description="ISO 8601, with its zone.",
        extra=_allowed("a time with its zone, such as 2026-11-21T12:00:00Z"),
    ),
]
Provider = Annotated[str, Meta(extra_json_schema={"enum": sorted(PROVIDERS)}, extra={"one_of": sorted(PROVIDERS)})]
Error = Annotated[str, _text(LONGEST_TEXT, "Only those whose last error contains this, in any case.")]
OfJob = Annotated[
    str,
    Meta(
        pattern=f"^job_{_ID}$",
        description="Only this job's.",
        extra=_allowed("a job's id: job_ and 26 characters; /v1/find tells it by a reference"),
    ),
]
User = Annotated[str, _text(LONGEST_TEXT, "Only this user's.")]
OfReference = Annotated[str, _text(LONGEST_NAME, "Only those of jobs with this reference of the caller's.")]
Reference = Annotated[str, _text(LONGEST_NAME, "Only those with this reference of the caller's.")]


Overdue = Annotated[
    bool, Meta(description="Only those that nobody has called back about in time and that have not ended, or no such.")
]
Expiring = Annotated[
    bool, Meta(description="Only those whose video is not stored though it was said that its link ends, or no such.")
]
Video = Annotated[
    VideoWanted,
    Meta(description="Only those whose video stands so; none: there is no video yet; lost: failed or expired."),
]
Since = Annotated[When, Meta(description="The same as created_after: either.")]
Until = Annotated[When, Meta(description="The same as created_before: either.")]


class JobsQuery(msgspec.Struct, kw_only=True):
    """`GET /v1/jobs`."""

    status: JobStatus | None = None
    provider: Provider | None = None
    reference: Reference | None = None
    user: User | None = None
    created_after: When | None = None
    created_before: When | None = None
    since: Since | None = None
    until: Until | None = None
    error: Error | None = None
    overdue: Overdue | None = None
    video: Video | None = None
    expiring: Expiring | None = None
    before: Annotated[str, _id("job", "a job")] | None = None
    limit: Limit = USUAL_PAGE


class CallbacksQuery(msgspec.Struct, kw_only=True):
    """`GET /v1/callbacks`. ``orphans``: nobody has named their job yet; ``unrecognised``: they could not be read."""

    provider: Provider | None = None
    job: OfJob | None = None
    reference: OfReference | None = None
    user: User | None = None
    orphans: bool = False
    unrecognised: bool = False
    trust: Trust | None = None
    verdict: Verdict | None = None
    source: ReportSource | None = None
    since: When | None = None
    until: When | None = None
    before: Annotated[str, _id("cb", "a callback")] | None = None
    limit: Limit = USUAL_PAGE


class EventsQuery(msgspec.Struct, kw_only=True):
    """`GET /v1/events`."""

    provider: Provider | None = None
    job: OfJob | None = None
    reference: OfReference | None = None
    user: User | None = None
    status: JobStatus | None = None
    verdict: Verdict | None = None
    source: ReportSource | None = None
    since: When | None = None
    until: When | None = None
    before: Annotated[str, _id("evt", "an event")] | None = None
    limit: Limit = USUAL_PAGE


class DeliveriesQuery(msgspec.Struct, kw_only=True):
    """`GET /v1/deliveries`."""

    status: DeliveryStatus | None = None
    endpoint: Annotated[str, _text(LONGEST_TEXT, "Only to this endpoint.")] | None = None
    job: OfJob | None = None
    reference: OfReference | None = None
    user: User | None = None
    type: NotificationType | None = None
    since: When | None = None
    until: When | None = None
    error: Error | None = None
    before: Annotated[str, _id("dlv", "a delivery")] | None = None
    limit: Limit = USUAL_PAGE


class EndpointsQuery(msgspec.Struct, kw_only=True):
    """`GET /v1/endpoints`: those that stand, or one job's."""

    user: User | None = None
    job: OfJob | None = None
    before: Annotated[str, _id("ep", "an endpoint")] | None = None
    limit: Limit = USUAL_PAGE


class KeysQuery(msgspec.Struct, kw_only=True):
    """`GET /v1/keys`."""

    before: Annotated[str, _id("key", "a key")] | None = None
    limit: Limit = USUAL_PAGE


class CallbackQuery(msgspec.Struct, kw_only=True):
    """`GET /v1/callbacks/{id}`. ``raw``: the body as it came, with personal ids and signed links."""

    raw: bool = False


class NameQuery(msgspec.Struct, kw_only=True):
    """`GET /v1/find`."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=LONGEST_NAME,
            pattern=_NO_NUL,
            description="The id of a job, callback, event, delivery or notification, the caller's reference, or the "
            "provider's id.",
            extra=_allowed(f"a text of 1 to {LONGEST_NAME} characters"),
        ),
    ]


class HoldQuery(msgspec.Struct, kw_only=True):
    """`PUT /v1/hold`."""

    reason: Annotated[str, Meta(max_length=200, pattern=_NO_NUL, extra=_allowed("at most 200 characters"))] = ""


class NonceQuery(msgspec.Struct, kw_only=True):
    """`GET /healthz`."""

    nonce: str = ""


class NoQuery(msgspec.Struct):
    """Nothing can be asked."""


Query = TypeVar("Query", bound=msgspec.Struct)


def read_query(query: QueryParams, kind: type[Query]) -> Query:
    """What is asked for. Raises ``InvalidRequest``, which names what may be."""
    check_names(query, kind)
    given: dict[str, Any] = {}
    for field in fields(kind):
        name = field.name
        texts = query.getlist(name)
        if len(texts) > 1:
            raise InvalidRequest(name, f"{len(texts)} of them", "it is asked once")
        if texts:
            given[name] = read_value(name, texts[0], field.type)
        elif field.required:
            raise InvalidRequest(name, None, f"{_words(plain_type(field.type))}; it is needed")
    return kind(**given)


def check_names(query: QueryParams, kind: type[msgspec.Struct]) -> None:
    """Raise ``InvalidRequest`` for a parameter that ``kind`` does not have: it names those that there are."""
    known = [each.name for each in fields(kind)]
    unknown = sorted(set(query) - set(known))
    if unknown:
        words = (
            f"what may be asked is {', '.join(known)}" if known else "nothing can be asked here: leave the query out"
        )
        raise InvalidRequest(unknown[0][:_SHOWN], query[unknown[0]][:_SHOWN], words)


def read_value(name: str, text: str, hint: Any) -> Any:
    """One parameter, as its type says. Raises ``InvalidRequest``."""
    hint = plain_type(hint)
    kind, about = _parts(hint)
    try:
        if kind is datetime:
            # In a query "+" means a space, and that is where it stands in a time zone.
            text = text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text
            value: Any = datetime.fromisoformat(text)
        elif kind is bool:
            value = {"true": True, "false": False}[text]
        elif kind is int:
            value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
        elif "one_of" in about:
            value = text if text in about["one_of"] else None
        else:
            value = text
        return msgspec.convert(value, type=hint)
    except (ValueError, KeyError):  # msgspec's errors are ValueErrors
        raise InvalidRequest(name, text[:_SHOWN], _words(hint)) from None


def plain_type(hint: Any) -> Any:
    """The type of what is there, of a field that may be left out."""
    chosen = [each for each in get_args(hint) if each is not NoneType]
    return chosen[0] if NoneType in get_args(hint) and get_origin(hint) is not Annotated else hint


def _parts(hint: Any) -> tuple[Any, Mapping[str, Any]]:
    if get_origin(hint) is not Annotated:
        return hint, {}
    kind, *notes = get_args(hint)
    return kind, next((note.extra for note in notes if isinstance(note, Meta) and note.extra), {})


def _words(hint: Any) -> str:
    kind, about = _parts(hint)
    if isinstance(kind, EnumMeta):
        return f"one of {', '.join(kind)}"
    if "one_of" in about:
        return f"one of {', '.join(about['one_of'])}"
    return str(about.get("allowed", "true or false" if kind is bool else "a text"))
