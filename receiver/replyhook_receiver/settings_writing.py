"""Writing a settings file: every setting with what it means, those that are chosen switched on."""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from replyhook.errors import ConfigurationError
from replyhook.providers import PROVIDERS, make_provider
from replyhook_receiver.config import Settings

_OPENING = """\
# The settings of replyhook's receiver: `replyhook serve --config {name}`, `replyhook config check {name}`.
# What is commented out has its default. Each is also an environment variable: REPLYHOOK_ and its name.
# It holds keys: keep it readable for the receiver's user alone, and back it up. No reply URL outlives its signing key.
"""


def settings_text(
    name: str, values: Mapping[str, Any], providers: Mapping[str, Mapping[str, Any]], notify: str | None = None
) -> str:
    """The file called ``name``; ``notify`` is where all jobs are told of."""
    parts = [_OPENING.format(name=name), *_settings(values, has_endpoint=notify is not None)]
    if notify is not None:
        parts.append(f'[[endpoints]]\nname = "first"\nurl = {toml(notify)}\n')
    parts += [_provider(each, providers.get(each)) for each in sorted(PROVIDERS)]
    return "\n".join(parts)


def write_settings(path: Path, text: str, *, force: bool) -> None:
    """Write it for this user alone, whole or not at all. Raises ``ConfigurationError`` for a file that is there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if force:
            beside.replace(path)
        else:
            os.link(beside, path)
    except FileExistsError:
        raise ConfigurationError(f"{path} is there already: name another file, or overwrite it with --force") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool | int | float | str):
        # TOML's plain strings are JSON's, but for one letter.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml(entry) for entry in value)}]"
    return toml("" if value is None else str(value))


def _settings(values: Mapping[str, Any], *, has_endpoint: bool) -> Iterator[str]:
    for name, entry in Settings.model_fields.items():
        if name == "providers" or (name == "endpoints" and has_endpoint):
            continue
        chosen = values.get(name)
        default = entry.get_default(call_default_factory=True)
        line = f"# {name} = {toml(default)}" if chosen is None else f"{name} = {toml(chosen)}"
        yield f"# {entry.description}\n{line}\n"


def _provider(name: str, given: Mapping[str, Any] | None) -> str:
    default, mark = make_provider(name), "# " if given is None else ""
    lines = [f"{mark}[providers.{name}]"]
    for entry in dataclasses.fields(PROVIDERS[name]):  # type: ignore[arg-type] # the protocol's classes are dataclasses
        chosen = (given or {}).get(entry.name)
        value = getattr(default, entry.name) if chosen is None else chosen
        lines.append(f"{'# ' if chosen is None else ''}{entry.name} = {toml(value)}")
    return "\n".join(lines) + "\n"
