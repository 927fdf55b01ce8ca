"""The registry: every provider by the name it has in URLs, settings and files."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec

from replyhook.errors import ConfigurationError
from replyhook.messages import check_header_value
from replyhook.providers.aihubmax import AIHubMax
from replyhook.providers.base import Provider, Upload, VerificationKeys
from replyhook.providers.capabilities import (
    NEUTRAL_FIELDS,
    USUAL_BUSY_PAUSE_SECONDS,
    CallbackKind,
    Capabilities,
)
from replyhook.providers.fal import Fal
from replyhook.providers.pixverse import PixVerse
from replyhook.providers.segmind import Segmind
from replyhook.providers.useapi import UseAPI

PROVIDERS: dict[str, type[Provider]] = {
    "aihubmax": AIHubMax,
    "fal": Fal,
    "pixverse": PixVerse,
    "segmind": Segmind,
    "useapi": UseAPI,
}


def make_provider(name: str, settings: Mapping[str, Any] | None = None) -> Provider:
    """The provider called ``name`` with ``settings`` (its class's fields; lists may be comma-separated text).

    Raises ``ConfigurationError`` for a name or a setting that is not there, or a value of the wrong kind.
    """
    kind: Any = PROVIDERS.get(name)
    if kind is None:
        raise ConfigurationError(f"there is no provider {name!r}; there are {', '.join(sorted(PROVIDERS))}")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    given: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        if key not in fields:
            raise ConfigurationError(f"{name} has no setting {key!r}; it has {', '.join(fields)}")
        is_list = fields[key].type == tuple[str, ...]
        given[key] = (
            [part.strip() for part in value.split(",") if part.strip()] if is_list and isinstance(value, str) else value
        )
    try:
        made: Provider = msgspec.convert(given, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"a setting of {name} cannot be read: {error}") from error
    check_header_value(made.api_key, what=f"the API key for {name}")
    return made


__all__ = [
    "NEUTRAL_FIELDS",
    "PROVIDERS",
    "USUAL_BUSY_PAUSE_SECONDS",
    "CallbackKind",
    "Capabilities",
    "Provider",
    "Upload",
    "VerificationKeys",
    "make_provider",
]
