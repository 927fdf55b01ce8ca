"""What the API takes, strictly: an unknown member is an error, not a surprise later."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from replyhook.errors import InvalidRequest
from replyhook.ids import is_id
from replyhook.jobs import (
    DEFAULT_ACCOUNT,
    MAX_REFERENCE_LENGTH,
    MAX_USER_LENGTH,
    ExtendRequest,
    SourceKind,
    checked_reference,
    checked_user,
    is_clean,
)
from replyhook.notifications import NotificationType
from replyhook.providers import NEUTRAL_FIELDS, PROVIDERS, Provider
from replyhook.receiver_api import request_as_json
from replyhook.urls import http_parts, shown_url
from replyhook_receiver.endpoint_rules import (
    MAX_URL_LENGTH,
    checked_channel,
    checked_headers,
    checked_secret,
    checked_types,
    checked_url,
)
from replyhook_receiver.records import NotifyTarget, Registration, Submission, SubmissionOutcome
from replyhook_receiver.web.problems import UnreadableBody

BODY_SECONDS = 10.0
MAX_TARGETS = 20
_DEEPEST = 32
_JSON = "application/json"
_LONGEST_DETAIL = 500
_MISSING = re.compile(r"Object missing required field `(\w+)`")


def told(**schema: Any) -> Meta:
    """What a model's schema says of a member besides its type; the words of a refusal are ``checked``'s."""
    return Meta(extra_json_schema=schema)


_CLEAN = {"minLength": 1, "pattern": r"^[^\u0000-\u001f\u007f]*$"}
ProviderName = Annotated[str, told(enum=sorted(PROVIDERS))]
JobId = Annotated[str, told(pattern="^job_[0-9abcdefghjkmnpqrstvwxyz]{26}$")]
Reference = Annotated[str, told(maxLength=MAX_REFERENCE_LENGTH, **_CLEAN)]
User = Annotated[str, told(maxLength=MAX_USER_LENGTH, **_CLEAN)]
URL = Annotated[str, told(format="uri", minLength=1, maxLength=MAX_URL_LENGTH)]
Type = Annotated[str, told(enum=sorted(NotificationType))]
Types = list[Type]
Headers = dict[str, str]


class NotifyModel(msgspec.Struct, forbid_unknown_fields=True):
    """A place to notify."""

    url: URL
    secret: str | None = None
    types: Types = []
    channel: str | None = None
    headers: Headers = {}


class RegistrationModel(msgspec.Struct, forbid_unknown_fields=True):
    """`PUT /v1/jobs/{id}`."""

    provider: ProviderName
    account: Annotated[str, told(pattern="^[A-Za-z0-9._-]{1,64}$")] = DEFAULT_ACCOUNT
    reference: Reference | None = None
    user: User | None = None
    notify: Annotated[list[NotifyModel], told(maxItems=MAX_TARGETS)] = []
    request: dict[str, Any] = {}

    def checked(self, job_id: str) -> Registration:
        """As a value of ours. Raises ``InvalidRequest``."""
        if not is_id("job", job_id):
            raise InvalidRequest("id", job_id, "an id that replyhook's library made: job_ and 26 characters")
        if self.provider not in PROVIDERS:
            raise InvalidRequest("provider", self.provider, f"one of {', '.join(sorted(PROVIDERS))}")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.account):
            raise InvalidRequest("account", self.account, "1 to 64 letters, digits, dots, dashes")
        if len(self.notify) > MAX_TARGETS:
            raise InvalidRequest("notify", f"{len(self.notify)} places", f"at most {MAX_TARGETS}")
        _check_depth(self.request)
        return Registration(
            job_id=job_id,
            provider=self.provider,
            reference=checked_reference(self.reference, field="reference"),
            user=checked_user(self.user),
            notify=tuple(_target(entry) for entry in self.notify),
            request=self.request,
            account=self.account,
        )


class RelayModel(RegistrationModel, forbid_unknown_fields=True, kw_only=True):
    """`POST /v1/jobs`: a whole job, to be submitted by the receiver. ``id`` is made when it is left out."""

    video: URL
    id: JobId | None = None

    def checked_relay(self, providers: Mapping[str, Provider], *, made_id: str) -> Registration:
        """As a value of ours, with the id ``made_id`` where it has none of its own.

        Raises ``InvalidRequest`` for what the provider would refuse, before anything is sent.
        """
        registration = self.checked(self.id or made_id)
        provider = providers[self.provider]
        capabilities = provider.capabilities
        if not provider.api_key:
            raise InvalidRequest(
                "provider", self.provider, f"the receiver has no key for it: set {capabilities.key_variable}"
            )
        if self.account != provider.account:
            allowed = f"{provider.account}: the receiver submits with that account's key"
            raise InvalidRequest("account", self.account, allowed, provider=self.provider)
        if SourceKind.URL not in capabilities.takes:
            allowed = "a provider that takes a video by its URL, since the receiver uploads none"
            raise InvalidRequest("provider", self.provider, allowed)
        if len(self.video) > MAX_URL_LENGTH or http_parts(self.video) is None:
            allowed = f"an http(s) URL of at most {MAX_URL_LENGTH} characters"
            raise InvalidRequest("video", shown_url(self.video)[:200], allowed)
        unknown = sorted(set(self.request) - {*NEUTRAL_FIELDS, "options"})
        if unknown:
            raise InvalidRequest("request", unknown[0], f"its members are {', '.join(NEUTRAL_FIELDS)}, options")
        try:
            request = capabilities.prepare(msgspec.convert(self.request, type=ExtendRequest))
        except msgspec.ValidationError as error:
            raise InvalidRequest("request", "(not shown)", str(error)) from None
        return replace(registration, request=request_as_json(request), relay_video=self.video)


class SubmissionModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/jobs/{id}/submission`."""

    outcome: Literal["accepted", "refused", "unknown"]
    provider_job_id: Annotated[str, told(maxLength=512, **_CLEAN)] | None = None
    error: str | None = None
    passed_on: bool = False

    def checked(self) -> Submission:
        """As a value of ours. Raises ``InvalidRequest``."""
        if self.outcome == "accepted" and not self.provider_job_id:
            raise InvalidRequest("provider_job_id", self.provider_job_id, "an accepted submit has one")
        if self.provider_job_id is not None and len(self.provider_job_id) > 512:
            raise InvalidRequest("provider_job_id", self.provider_job_id, "at most 512 characters")
        if self.provider_job_id == "":
            raise InvalidRequest("provider_job_id", "", "the provider's id; null where there is none")
        if self.provider_job_id is not None and not is_clean(self.provider_job_id):
            raise InvalidRequest("provider_job_id", self.provider_job_id, "no control characters")
        if self.passed_on and self.outcome != "refused":
            raise InvalidRequest("passed_on", self.passed_on, "only a refused submit is passed on")
        return Submission(
            outcome=SubmissionOutcome(self.outcome),
            passed_on=self.passed_on,
            provider_job_id=self.provider_job_id,
            error=None if self.error is None else self.error[:2000].replace("\x00", ""),
        )


class NothingModel(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing need be said, and nothing can be."""


def _check_depth(request: dict[str, Any]) -> None:
    """What is nested so deeply that only a shallow stack reads it again is not kept."""
    if _depth(request) > _DEEPEST:
        raise InvalidRequest("request", "(not shown)", f"at most {_DEEPEST} objects and lists within each other")


def _depth(value: Any) -> int:
    """How many objects and lists stand within each other."""
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        depth += 1
    return depth


def _target(entry: NotifyModel) -> NotifyTarget:
    return NotifyTarget(
        channel=checked_channel(entry.channel, entry.url, field="notify.channel"),
        url=checked_url(entry.url, field="notify"),
        secret=None if entry.secret is None else checked_secret(entry.secret, field="notify.secret"),
        types=checked_types(entry.types, field="notify.types"),
        headers=checked_headers(entry.headers, field="notify.headers"),
    )


Model = TypeVar("Model", bound=msgspec.Struct)


async def read_model(request: Request, kind: type[Model], *, empty: bytes = b"") -> Model:
    """The request's body as ``kind``, ``empty`` for none. Raises ``UnreadableBody`` saying where it is wrong."""
    body = await read_body(request)
    if not body and not empty:
        members = ", ".join(each.encode_name for each in msgspec.structs.fields(kind))
        raise UnreadableBody(f"the body is empty: send a JSON object; its members are {members}", field=None)
    if body:
        _check_is_json(request)
    try:
        return msgspec.json.decode(body or empty, type=kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        field = where.rstrip("`").removeprefix("$").removeprefix(".")
        missing = _MISSING.fullmatch(what)
        field = ".".join(filter(None, (field, missing[1] if missing else ""))) or "body"
        raise UnreadableBody(f"{field}: {what[:1].lower()}{what[1:]}"[:_LONGEST_DETAIL], field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:_LONGEST_DETAIL]
        raise UnreadableBody(f"the body is not JSON: {why}", field=None) from None


async def read_nothing(request: Request) -> None:
    """A body that need not be: none, or an empty object. Raises ``UnreadableBody``."""
    await read_model(request, NothingModel, empty=b"{}")


def _check_is_json(request: Request) -> None:
    """Refuse what says that it is something else; a form in somebody's page can send no JSON that says so."""
    kind = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    if kind != _JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise HTTPException(415, f"the body has to be JSON: send it with content-type: {_JSON}")


async def read_body(request: Request) -> bytes:
    """The request's body, which may be read more than once. Raises a 408 when it does not come in time."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.body()
    except (ClientDisconnect, TimeoutError) as error:
        raise HTTPException(408, "the body did not come in time") from error
