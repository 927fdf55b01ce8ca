"""What the API takes, strictly: an unknown member is an error, not a surprise later."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from replyhook.errors import InvalidRequest
from replyhook.ids import is_id
from replyhook.jobs import DEFAULT_ACCOUNT, ExtendRequest, JobStatus, SourceKind, checked_reference, checked_user
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
from replyhook_receiver.records import JobFilter, NotifyTarget, Registration, Submission, SubmissionOutcome

BODY_SECONDS = 10.0
MAX_TARGETS = 20
USUAL_PAGE, LARGEST_PAGE = 50, 100


class NotifyModel(msgspec.Struct, forbid_unknown_fields=True):
    """A place to notify."""

    url: str
    secret: str | None = None
    types: list[str] = []
    channel: str | None = None
    headers: dict[str, str] = {}


class RegistrationModel(msgspec.Struct, forbid_unknown_fields=True):
    """`PUT /v1/jobs/{id}`."""

    provider: str
    account: str = DEFAULT_ACCOUNT
    reference: str | None = None
    user: str | None = None
    notify: list[NotifyModel] = []
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

    video: str
    id: str | None = None

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
    provider_job_id: str | None = None
    error: str | None = None
    passed_on: bool = False

    def checked(self) -> Submission:
        """As a value of ours. Raises ``InvalidRequest``."""
        if self.outcome == "accepted" and not self.provider_job_id:
            raise InvalidRequest("provider_job_id", self.provider_job_id, "an accepted submit has one")
        if self.provider_job_id is not None and len(self.provider_job_id) > 512:
            raise InvalidRequest("provider_job_id", self.provider_job_id, "at most 512 characters")
        if self.passed_on and self.outcome != "refused":
            raise InvalidRequest("passed_on", self.passed_on, "only a refused submit is passed on")
        return Submission(
            outcome=SubmissionOutcome(self.outcome),
            passed_on=self.passed_on,
            provider_job_id=self.provider_job_id,
            error=None if self.error is None else self.error[:2000],
        )


def read_jobs_query(query: Mapping[str, str]) -> tuple[JobFilter, str | None, int]:
    """Which jobs are wanted, before which id, and how many. Raises ``InvalidRequest``."""
    known = ("status", "provider", "reference", "user", "before", "limit")
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise InvalidRequest(unknown[0], query[unknown[0]], f"the filters are {', '.join(known)}")
    status, provider, before = query.get("status"), query.get("provider"), query.get("before")
    if status is not None and status not in set(JobStatus):
        raise InvalidRequest("status", status, f"one of {', '.join(JobStatus)}")
    if provider is not None and provider not in PROVIDERS:
        raise InvalidRequest("provider", provider, f"one of {', '.join(sorted(PROVIDERS))}")
    if before is not None and not is_id("job", before):
        raise InvalidRequest("before", before, "the id of a job: job_ and 26 characters")
    text = query.get("limit", str(USUAL_PAGE))
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    if not 0 < limit <= LARGEST_PAGE:
        raise InvalidRequest("limit", text, f"a whole number from 1 to {LARGEST_PAGE}")
    wanted = JobFilter(
        status=None if status is None else JobStatus(status),
        provider=provider,
        reference=query.get("reference"),
        user=query.get("user"),
    )
    return wanted, before, limit


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
    """The request's body as ``kind``, ``empty`` for none. Raises ``InvalidRequest`` saying where it is wrong."""
    body = await read_body(request)
    try:
        return msgspec.json.decode(body or empty, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("body", "JSON", str(error)) from None


async def read_body(request: Request) -> bytes:
    """The request's body, which may be read more than once. Raises a 408 when it does not come in time."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.body()
    except (ClientDisconnect, TimeoutError) as error:
        raise HTTPException(408, "the body did not come in time") from error
