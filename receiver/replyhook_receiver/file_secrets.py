"""Which secrets a settings file holds, so that only a file with some need be closed to others."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr

from replyhook.providers import PROVIDERS
from replyhook_receiver.config import Settings
from replyhook_receiver.toml_places import read_toml

_HOLD_THEIRS = ("endpoints", "channels")  # in addresses, headers and settings of their own


def secrets_in(path: Path) -> list[str]:
    """The names of settings whose values are secret and are in the file. Raises ``ConfigurationError``."""
    content = read_toml(path).content
    providers = content.get("providers")
    return [*_ours(content), *(_of_providers(providers) if isinstance(providers, Mapping) else ())]


def _ours(content: Mapping[str, Any]) -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        value = content.get(name)
        is_secret = name in _HOLD_THEIRS or SecretStr in (field.annotation, *get_args(field.annotation))
        if value and is_secret and not (name == "database_url" and str(value).startswith("sqlite:")):
            yield name


def _of_providers(providers: Mapping[str, Any]) -> Iterator[str]:
    for provider, given in providers.items():
        known = dataclasses.fields(PROVIDERS[provider]) if provider in PROVIDERS else ()  # type: ignore[arg-type] # the protocol's classes are dataclasses
        for entry in known:
            if not entry.repr and isinstance(given, Mapping) and given.get(entry.name):
                yield f"providers.{provider}.{entry.name}"
