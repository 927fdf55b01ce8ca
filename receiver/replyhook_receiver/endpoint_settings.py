"""Endpoints in the settings: ``[[endpoints]]`` tables, checked by form; what needs the network, at the start."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from replyhook.errors import InvalidRequest
from replyhook_receiver.endpoint_rules import (
    checked_channel,
    checked_headers,
    checked_name,
    checked_secret,
    checked_types,
    checked_url,
    checked_user,
)
from replyhook_receiver.endpoints import MAX_SECRETS, NewEndpoint


class EndpointSettings(BaseModel):
    """One ``[[endpoints]]`` table. ``name`` tells it from the others; ``secrets`` are newest first."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    url: SecretStr
    channel: str | None = None
    user: str | None = None
    types: tuple[str, ...] = ()
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    secrets: tuple[SecretStr, ...] = Field(default=(), max_length=MAX_SECRETS)

    @model_validator(mode="after")
    def _is_possible(self) -> "EndpointSettings":
        try:
            self.wanted()
        except InvalidRequest as error:
            raise ValueError(f"{error.field}: {error.allowed}") from None
        return self

    def wanted(self) -> NewEndpoint:
        """As a value of ours. Raises ``InvalidRequest``."""
        return NewEndpoint(
            name=checked_name(self.name),
            channel=checked_channel(self.channel, self.url.get_secret_value()),
            url=checked_url(self.url.get_secret_value()),
            user=None if self.user is None else checked_user(self.user),
            types=checked_types(self.types),
            headers=checked_headers({name: value.get_secret_value() for name, value in self.headers.items()}),
            secrets=tuple(checked_secret(secret.get_secret_value()) for secret in self.secrets),
        )
