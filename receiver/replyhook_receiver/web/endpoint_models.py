"""What `/v1/endpoints` takes and shows. Secrets are shown once, where they are made."""

from typing import Annotated, Any

import msgspec

from replyhook.errors import InvalidRequest
from replyhook_receiver.endpoint_rules import (
    WEBHOOK,
    checked_channel,
    checked_headers,
    checked_name,
    checked_secret,
    checked_types,
    checked_url,
    checked_user,
    shown_endpoint_url,
)
from replyhook_receiver.endpoints import Endpoint, EndpointChange, NewEndpoint
from replyhook_receiver.web.models import URL, Types, User, told

MASKED = "whsec_…"
_HIDDEN = "…"
_LONGEST_OVERLAP_HOURS = 7 * 24


class EndpointModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/endpoints`."""

    url: URL
    channel: str | None = None
    name: str | None = None
    user: User | None = None
    types: Types = []
    headers: dict[str, str] = {}
    secret: str | None = None

    def checked(self) -> NewEndpoint:
        """As a value of ours, without a secret where none was given. Raises ``InvalidRequest``."""
        channel = checked_channel(self.channel, self.url)
        if channel != WEBHOOK and (self.headers or self.secret is not None):
            raise InvalidRequest("channel", channel, "headers and secret are for webhooks: leave them out")
        return NewEndpoint(
            url=checked_url(self.url),
            channel=channel,
            name=None if self.name is None else checked_name(self.name),
            user=None if self.user is None else checked_user(self.user),
            types=checked_types(self.types),
            headers=checked_headers(self.headers),
            secrets=() if self.secret is None else (checked_secret(self.secret),),
        )


class EndpointChangeModel(msgspec.Struct, forbid_unknown_fields=True):
    """`PATCH /v1/endpoints/{id}`."""

    name: str | None = None
    types: Types | None = None
    headers: dict[str, str] | None = None
    enabled: bool | None = None

    def checked(self) -> EndpointChange:
        """As a value of ours. Raises ``InvalidRequest``."""
        if (self.name, self.types, self.headers, self.enabled) == (None, None, None, None):
            raise InvalidRequest("body", "{}", "at least one of name, types, headers, enabled")
        return EndpointChange(
            name=None if self.name is None else checked_name(self.name),
            types=None if self.types is None else checked_types(self.types),
            headers=None if self.headers is None else checked_headers(self.headers),
        )


class RotationModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/endpoints/{id}/rotate-secret`; nothing need be said."""

    overlap_hours: Annotated[float, told(minimum=0, maximum=_LONGEST_OVERLAP_HOURS)] = 24.0
    secret: str | None = None

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        if not 0 <= self.overlap_hours <= _LONGEST_OVERLAP_HOURS:
            allowed = f"0 to {_LONGEST_OVERLAP_HOURS}: how long the secrets before sign as well"
            raise InvalidRequest("overlap_hours", self.overlap_hours, allowed)
        if self.secret is not None:
            checked_secret(self.secret)


def shown_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as people and programs are told of it."""
    return {
        "id": endpoint.id,
        "origin": endpoint.origin,
        "job": endpoint.job_id,
        "channel": endpoint.channel,
        "url": shown_endpoint_url(endpoint.channel, endpoint.url),
        "name": endpoint.name,
        "user": endpoint.user,
        "types": endpoint.types,
        "headers": dict.fromkeys(endpoint.headers, _HIDDEN),
        "secret": MASKED if endpoint.secrets else None,
        "older_secrets_until": [secret.expires_at for secret in endpoint.secrets if secret.expires_at],
        "enabled": endpoint.disabled_at is None,
        "disabled_at": endpoint.disabled_at,
        "disabled_why": endpoint.disabled_why,
        "failing_since": endpoint.failing_since,
        "created_at": endpoint.created_at,
    }
