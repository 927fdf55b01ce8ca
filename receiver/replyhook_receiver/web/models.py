"""What the API takes, strictly: an unknown member is an error, not a surprise later."""

import re
from typing import Any, Literal, TypeVar

import msgspec
from starlette.requests import Request

from replyhook.errors import ConfigurationError, InvalidRequest
from replyhook.ids import is_id
from replyhook.jobs import checked_reference
from replyhook.notifications import NotificationType
from replyhook.providers import PROVIDERS
from replyhook.signatures import standard_webhooks_key
from replyhook_receiver.records import NotifyTarget, Registration, Submission, SubmissionOutcome

MAX_TARGETS = 20
MAX_URL_LENGTH = 2048


class NotifyModel(msgspec.Struct, forbid_unknown_fields=True):
    """A place to notify."""

    url: str
    secret: str | None = None
    types: list[str] = []


class RegistrationModel(msgspec.Struct, forbid_unknown_fields=True):
    """`PUT /v1/jobs/{id}`."""

    provider: str
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
        if self.user is not None and not 0 < len(self.user) <= 256:
            raise InvalidRequest("user", self.user, "a text of 1 to 256 characters")
        if len(self.notify) > MAX_TARGETS:
            raise InvalidRequest("notify", f"{len(self.notify)} places", f"at most {MAX_TARGETS}")
        return Registration(
            job_id=job_id,
            provider=self.provider,
            reference=checked_reference(self.reference, field="reference"),
            user=self.user,
            notify=tuple(_target(entry) for entry in self.notify),
            request=self.request,
        )


class SubmissionModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/jobs/{id}/submission`."""

    outcome: Literal["accepted", "refused", "unknown"]
    provider_job_id: str | None = None
    error: str | None = None

    def checked(self) -> Submission:
        """As a value of ours. Raises ``InvalidRequest``."""
        if self.outcome == "accepted" and not self.provider_job_id:
            raise InvalidRequest("provider_job_id", self.provider_job_id, "an accepted submit has one")
        if self.provider_job_id is not None and len(self.provider_job_id) > 512:
            raise InvalidRequest("provider_job_id", self.provider_job_id, "at most 512 characters")
        return Submission(
            outcome=SubmissionOutcome(self.outcome),
            provider_job_id=self.provider_job_id,
            error=None if self.error is None else self.error[:2000],
        )


def _target(entry: NotifyModel) -> NotifyTarget:
    if len(entry.url) > MAX_URL_LENGTH or re.search(r"[\x00-\x20\x7f]", entry.url):
        raise InvalidRequest("notify", entry.url, f"a URL of at most {MAX_URL_LENGTH} characters without spaces")
    known = {kind.value for kind in NotificationType}
    unknown = [kind for kind in entry.types if kind not in known]
    if unknown:
        raise InvalidRequest("notify.types", unknown[0], f"one of {', '.join(sorted(known))}")
    if entry.secret is not None:
        try:
            standard_webhooks_key(entry.secret)
        except ConfigurationError as error:
            raise InvalidRequest("notify.secret", "(not shown)", str(error)) from None
    return NotifyTarget(url=entry.url, secret=entry.secret, types=tuple(NotificationType(kind) for kind in entry.types))


Model = TypeVar("Model", RegistrationModel, SubmissionModel)


async def read_model(request: Request, kind: type[Model]) -> Model:
    """The request's body as ``kind``. Raises ``InvalidRequest`` saying where it is wrong."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("body", "JSON", str(error)) from None
