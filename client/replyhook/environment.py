"""What the environment says, read from a mapping that is passed in: provider settings, and secrets kept in files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replyhook.errors import ConfigurationError
from replyhook.providers import PROVIDERS, make_provider

_PREFIX = "REPLYHOOK_"
_PROVIDER_PREFIX = "REPLYHOOK_PROVIDERS__"
_FILE_SUFFIX = "_FILE"


def with_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which REPLYHOOK_X_FILE has become REPLYHOOK_X with what stands in that file.

    Container secrets come as files. Raises ``ConfigurationError`` for one that cannot be read.
    """
    found = dict(environ)
    for name, path in environ.items():
        target = name.removesuffix(_FILE_SUFFIX)
        if name.upper().startswith(_PREFIX) and target != name and target not in environ:
            try:
                found[target] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"{name} names a file that cannot be read: {type(error).__name__}") from error
            del found[name]
    return found


def provider_settings_from_env(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Provider settings from REPLYHOOK_PROVIDERS__<NAME>__<SETTING> and the key names people know (FAL_KEY, …)."""
    found: dict[str, dict[str, Any]] = {}
    for name in PROVIDERS:
        variable = make_provider(name).capabilities.key_variable
        if environ.get(variable):
            found.setdefault(name, {})["api_key"] = environ[variable]
    for variable, value in environ.items():
        if variable.upper().startswith(_PROVIDER_PREFIX):
            name, _, setting = variable[len(_PROVIDER_PREFIX) :].lower().partition("__")
            found.setdefault(name, {})[setting] = value
    return found
