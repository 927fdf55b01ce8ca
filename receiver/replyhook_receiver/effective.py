"""The settings in force as they may be shown: each value, with secrets masked, and where it comes from."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from pydantic import SecretStr

from replyhook.providers import PROVIDERS
from replyhook.urls import shown_url
from replyhook_receiver.config import Settings
from replyhook_receiver.configuring import Said
from replyhook_receiver.own_secrets import kept_path, kept_secrets

DEFAULT = "default"
_MASK = "********"


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """One setting. ``value`` holds no secret."""

    name: str
    value: Any
    origin: str


def effective(settings: Settings, said: Said) -> Iterator[Effective]:
    """Every setting, then the providers'. Raises ``ConfigurationError`` where kept keys cannot be read."""
    kept = kept_secrets(settings)
    for name in Settings.model_fields:
        if name != "providers":
            value, origin = getattr(settings, name), said.origin((name,)) or DEFAULT
            if not value and kept.get(name):
                value, origin = kept[name], f"made by the receiver, in {kept_path(settings)}"
                yield Effective(name=name, value=_masked(value), origin=origin)
            else:
                yield Effective(name=name, value=_shown(name, value), origin=origin)
    for name, provider in settings.make_providers().items():
        for entry in dataclasses.fields(PROVIDERS[name]):  # type: ignore[arg-type] # the protocol's classes are dataclasses
            value = getattr(provider, entry.name)
            origin = said.origins.get(("providers", name, entry.name), DEFAULT)
            shown = _plain(value) if entry.repr else _masked(value)
            yield Effective(name=f"providers.{name}.{entry.name}", value=shown, origin=origin)


def _shown(name: str, value: Any) -> Any:
    if name == "endpoints":
        return [endpoint.name for endpoint in value]
    if name == "channels":
        return {channel: dict.fromkeys(given, _MASK) for channel, given in value.items()}
    if name == "database_url":
        url = value.get_secret_value()  # only its password is secret, and what may stand in its query
        shown = url if not url or url.startswith("sqlite:") else shown_url(url)
        return _MASK if "@" in shown and shown is not url else shown  # a password that was not %-coded
    if isinstance(value, SecretStr):
        return _masked(value.get_secret_value())
    if isinstance(value, tuple) and any(isinstance(entry, SecretStr) for entry in value):
        return _masked(value)
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return shown_url(value) if "://" in value else value
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool | int | float | dict | None) else str(value)


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict.fromkeys(value, _MASK)
    if isinstance(value, tuple | list):
        return [_MASK] * len(value)
    return _MASK if value else value
