"""Reading the settings: defaults < TOML file < environment < flags, once at the start.

The environment is passed in as a mapping, so that nothing but the entry point touches the real one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from replyhook.environment import provider_settings_from_env, with_files
from replyhook.errors import ConfigurationError
from replyhook_receiver.config import PREFIX, Settings

_OTHER_VARIABLES = {f"{PREFIX}{name}" for name in ("CONFIG", "API_KEY", "RECEIVER_URL", "REQUIRE_ALL")}


class _Environ(EnvSettingsSource):
    """pydantic's reader of the environment, over a mapping that is passed in."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {name.lower(): value for name, value in environ.items()}
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._environ

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """JSON, where a setting is a table or a list of them."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            raise ConfigurationError(f"{PREFIX}{field_name.upper()} is not JSON, or use the settings file") from None


def load(
    environ: Mapping[str, str], *, toml_file: Path | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    """The settings in force. Raises ``ConfigurationError`` naming every problem, and never a value."""
    environ = with_files(environ)
    values: dict[str, Any] = dict(_from_toml(toml_file)) if toml_file else {}
    providers: dict[str, dict[str, Any]] = values.pop("providers", {})
    values |= {name: value for name, value in _Environ(environ)().items() if name != "providers"}
    if not all(isinstance(entry, dict) for entry in (providers, *_values(providers))):
        raise ConfigurationError('providers holds a table each: [providers.fal] and below it api_key = "…"')
    for name, given in provider_settings_from_env(environ).items():
        providers[name] = {**providers.get(name, {}), **given}
    values |= {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Settings(**values, providers=providers)
    except ValidationError as error:
        problems = [_in_words(entry["loc"], entry["type"], entry["msg"]) for entry in error.errors()]
        raise ConfigurationError("these settings cannot be right:\n  " + "\n  ".join(problems)) from None


def _in_words(where: tuple[int | str, ...], kind: str, words: str) -> str:
    name = ".".join(str(step) for step in where)
    if not where:
        return words.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{name}: there is no such setting"
    return f"{name} ({PREFIX}{str(where[0]).upper()}): {words.removeprefix('Value error, ')}"


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings of ours and are none: most likely misspelt."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | _OTHER_VARIABLES
    ours = (name.upper() for name in environ if name.upper().startswith(PREFIX))
    return sorted(
        name for name in ours if name.removesuffix("_FILE") not in known and not name.startswith(f"{PREFIX}PROVIDERS__")
    )


def _values(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else []


def _from_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigurationError(f"there is no settings file {path}")
    try:
        return TomlConfigSettingsSource(Settings, toml_file=path)()
    except ValueError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
