"""Reading the settings: defaults < TOML file < environment < flags, once at the start.

The environment is passed in as a mapping, so that nothing but the entry point touches the real one.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from replyhook.environment import provider_settings_from_env, with_files
from replyhook.errors import ConfigurationError
from replyhook.providers import PROVIDERS, make_provider
from replyhook_receiver.config import PREFIX, Settings
from replyhook_receiver.endpoint_settings import EndpointSettings
from replyhook_receiver.toml_places import KeyPath, TomlFile, read_toml

_OTHER_VARIABLES = {f"{PREFIX}{name}" for name in ("CONFIG", "API_KEY", "RECEIVER_URL", "REQUIRE_ALL")}
_PROVIDER_PREFIX = f"{PREFIX}PROVIDERS__"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What file, environment and flags say, before it is checked; ``origins`` has where each came from, by its path."""

    values: dict[str, Any] = field(repr=False)
    providers: dict[str, dict[str, Any]] = field(repr=False)
    origins: dict[KeyPath, str]

    def origin(self, where: KeyPath) -> str | None:
        """Where this was said, or else what it stands in; None where nobody said it."""
        paths = (where[:length] for length in range(len(where), 0, -1))
        return next((self.origins[path] for path in paths if path in self.origins), None)


def gather(
    environ: Mapping[str, str], *, toml_file: Path | None = None, flags: Mapping[str, Any] | None = None
) -> Said:
    """Bring everything that is said together. Raises ``ConfigurationError``."""
    file = read_toml(toml_file) if toml_file else None
    origins: dict[KeyPath, str] = dict(_origins_of(file)) if file else {}
    values: dict[str, Any] = dict(file.content) if file else {}
    providers: dict[str, dict[str, Any]] = values.pop("providers", {})
    plain = with_files(environ)
    of_environ = {name: value for name, value in _Environ(plain)().items() if name != "providers"}
    if not all(isinstance(entry, dict) for entry in (providers, *_values(providers))):
        raise ConfigurationError('providers holds a table each: [providers.fal] and below it api_key = "…"')
    known = {name.upper() for name in environ}
    for name in of_environ:
        origins = {path: origin for path, origin in origins.items() if path[0] != name}
        origins[name,] = _variable(known, f"{PREFIX}{name.upper()}")
    for name, given in provider_settings_from_env(plain).items():
        providers[name] = {**providers.get(name, {}), **given}
        for setting in given:
            key = PROVIDERS[name]().capabilities.key_variable if name in PROVIDERS and setting == "api_key" else None
            variable = _variable(known, f"{_PROVIDER_PREFIX}{name}__{setting}".upper(), key)
            origins["providers", name, setting] = variable
    of_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    origins |= {(name,): f"--{name.replace('_', '-')}" for name in of_flags}
    return Said(values=values | of_environ | of_flags, providers=providers, origins=origins)


def load(
    environ: Mapping[str, str], *, toml_file: Path | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    """The settings in force. Raises ``ConfigurationError`` naming every problem, and never a value."""
    return checked(gather(environ, toml_file=toml_file, flags=flags))


def checked(said: Said) -> Settings:
    """What was said as settings. Raises ``ConfigurationError`` naming every problem, and never a value."""
    wrong = {name: list(_problems(said, name, given)) for name, given in said.providers.items()}
    problems = [problem for found in wrong.values() for problem in found]
    right = {name: given for name, given in said.providers.items() if not wrong[name]}
    try:
        settings = Settings(**said.values, providers=right)
    except ValidationError as error:
        problems = [_in_words(said, entry["loc"], entry["type"], entry["msg"]) for entry in error.errors()] + problems
    if problems:
        raise ConfigurationError("these settings cannot be right:\n  " + "\n  ".join(problems)) from None
    return settings


def _in_words(said: Said, where: KeyPath, kind: str, words: str) -> str:
    if not where:
        return words.removeprefix("Value error, ")
    name = ".".join(str(step) for step in where)
    origin = said.origin(where) or f"{PREFIX}{str(where[0]).upper()}"
    if kind == "extra_forbidden":
        known = Settings.model_fields if len(where) == 1 else EndpointSettings.model_fields
        return f"{name} ({origin}): there is no such setting{meant(str(where[-1]), known)}"
    return f"{name} ({origin}): {words.removeprefix('Value error, ')}"


def _problems(said: Said, name: str, given: Mapping[str, Any]) -> Iterator[str]:
    """What cannot be right of one provider's settings."""
    kind: Any = PROVIDERS.get(name)
    if kind is None:
        origin = said.origin(("providers", name, *list(given)[:1]))
        hint = meant(name, PROVIDERS) or f"; there are {', '.join(sorted(PROVIDERS))}"
        yield f"providers.{name} ({origin}): there is no such provider{hint}"
        return
    known = [entry.name for entry in dataclasses.fields(kind)]
    for setting in given:
        if setting not in known:
            origin = said.origin(("providers", name, setting))
            hint = meant(setting, known) or f"; it has {', '.join(known)}"
            yield f"providers.{name}.{setting} ({origin}): {name} has no such setting{hint}"
    if set(given) <= set(known):
        try:
            make_provider(name, given)
        except ConfigurationError as error:
            wrong = [each for each in given if _is_wrong(name, each, given[each])]
            path = ("providers", name, *wrong[:1])
            yield f"{'.'.join(path)} ({said.origin(path)}): {error}"


def _is_wrong(name: str, setting: str, value: object) -> bool:
    try:
        make_provider(name, {setting: value})
    except ConfigurationError:
        return True
    return False


def meant(name: str, known: Iterable[str]) -> str:
    """A question after what was probably meant, or nothing."""
    found = get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings of ours and are none: most likely misspelt."""
    ours = (name.upper() for name in environ if name.upper().startswith(PREFIX))
    known = _known_variables()
    return sorted(
        name for name in ours if name.removesuffix("_FILE") not in known and not name.startswith(_PROVIDER_PREFIX)
    )


def meant_variable(name: str) -> str:
    """A question after which variable was probably meant, or nothing."""
    return meant(name, _known_variables())


def _known_variables() -> set[str]:
    return {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | _OTHER_VARIABLES


def _values(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else []


def _origins_of(file: TomlFile) -> Iterator[tuple[KeyPath, str]]:
    return ((path, f"{file.path}, line {line}") for path, line in file.lines.items())


def _variable(known: set[str], name: str, other: str | None = None) -> str:
    """The variable that says it: this one, a file that it names, or the name people know."""
    if name in known:
        return name
    return f"{name}_FILE" if f"{name}_FILE" in known else other or name
