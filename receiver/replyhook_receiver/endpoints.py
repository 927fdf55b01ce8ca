"""Endpoints as plain values: the places that are notified, their secrets, and who set them up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from replyhook.notifications import NotificationType
from replyhook_receiver.endpoint_rules import WEBHOOK

PAUSED_FOR = timedelta(days=7)
"""How long deliveries to a disabled endpoint are kept for it."""
MAX_SECRETS = 8
"""Secrets of one endpoint at a time; each signs every notification."""

BY_HAND = "by hand"
NOT_IN_SETTINGS = "no longer in the settings"
REMOVED = "removed"
GONE = "it asked not to be called again (410)"
GIVEN_UP_WITH_IT = "the endpoint asked not to be called again (410)"


class EndpointOrigin(StrEnum):
    """Who set an endpoint up."""

    JOB = "job"
    API = "api"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecret:
    """A ``whsec_…`` secret; one that was rotated away signs until it expires."""

    value: str = field(repr=False)
    expires_at: datetime | None = None

    def signs_at(self, now: datetime) -> bool:
        """Whether it is still in force."""
        return self.expires_at is None or self.expires_at > now


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    """A standing endpoint as somebody wants it. Without secrets the receiver's sign; without a user it hears of all."""

    url: str = field(repr=False)
    channel: str = WEBHOOK
    name: str | None = None
    user: str | None = None
    types: tuple[NotificationType, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """What is to be different of an endpoint: all that is not None."""

    name: str | None = None
    types: tuple[NotificationType, ...] | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A registered place to notify. ``job_id`` is set for one job's; the others stand, for a user's jobs or all."""

    id: str
    origin: EndpointOrigin
    job_id: str | None
    channel: str
    url: str = field(repr=False)
    name: str | None
    user: str | None
    types: tuple[NotificationType, ...]
    headers: Mapping[str, str] = field(repr=False)
    secrets: tuple[SigningSecret, ...] = field(repr=False)
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    failing_since: datetime | None


def rotated(secrets: Sequence[SigningSecret], fresh: str, *, overlap: timedelta, now: datetime) -> list[SigningSecret]:
    """The secrets after a rotation, newest first: those before sign for ``overlap`` longer, none longer than it had."""
    until = now + overlap
    older = [
        SigningSecret(
            value=secret.value, expires_at=until if secret.expires_at is None else min(until, secret.expires_at)
        )
        for secret in secrets
    ]
    return [SigningSecret(value=fresh), *(secret for secret in older if secret.signs_at(now))][:MAX_SECRETS]
