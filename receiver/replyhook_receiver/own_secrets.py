"""Keys a receiver on loopback makes for itself, kept in its data folder for it alone to read."""

import base64
import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from replyhook.errors import ConfigurationError
from replyhook_receiver.config import Settings, is_loopback

_FILE_NAME = "secrets.json"


_MAKE: dict[str, Callable[[], str]] = {
    "signing_keys": lambda: secrets.token_urlsafe(32),
    "api_keys": lambda: "rhk_" + secrets.token_urlsafe(32),
    "notification_secrets": lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The keys in force, newest first. ``made_here`` is the file of those nobody configured, if there are such."""

    signing_keys: tuple[str, ...] = field(repr=False)
    api_keys: tuple[str, ...] = field(repr=False)
    notification_secrets: tuple[str, ...] = field(repr=False)
    made_here: Path | None = None


def secrets_for(settings: Settings) -> Secrets:
    """The configured keys; what is missing is made and kept on loopback.

    Raises ``ConfigurationError`` on any other address: keys that a public receiver made up by itself would be lost with
    its disk, and every reply URL with them.
    """
    given = {
        name: tuple(key.get_secret_value() for key in getattr(settings, name))
        for name in ("signing_keys", "api_keys", "notification_secrets")
    }
    missing = [name for name, keys in given.items() if not keys]
    if not missing:
        return _of(given, None)
    if settings.postgres_url is not None:
        variables = ", ".join(f"REPLYHOOK_{name.upper()}" for name in missing)
        raise ConfigurationError(
            f"receivers on one PostgreSQL share their keys, so none makes up its own: set {variables}, the same for "
            "all of them. `replyhook config init replyhook.toml` makes them"
        )
    if not is_loopback(settings.host):
        names = [*missing, *(() if settings.public_url else ("public_url",))]
        variables = ", ".join(f"REPLYHOOK_{name.upper()}" for name in names)
        raise ConfigurationError(
            f"listening on {settings.host} needs what a receiver on loopback makes up itself: {variables}. "
            "Two commands mend it:\n"
            f"  replyhook config init replyhook.toml --host {settings.host} --public-url https://…\n"
            "  replyhook serve --config replyhook.toml"
        )
    path = kept_path(settings)
    try:
        made = _read_or_make(path, missing)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {settings.data_dir} cannot be written ({error.strerror}): the receiver keeps its keys and its "
            "database there. Make it writable for this user, or name another with --data-dir"
        ) from error
    return _of({name: keys or (made[name],) for name, keys in given.items()}, path)


def signing_keys_of(settings: Settings) -> tuple[str, ...]:
    """The signing keys that the receiver with these settings has; none is made. Raises ``ConfigurationError``."""
    keys = kept_secrets(settings)["signing_keys"]
    if not keys:
        raise ConfigurationError(
            f"there is no signing key here (neither REPLYHOOK_SIGNING_KEYS nor {kept_path(settings)}): give the "
            "settings that `replyhook serve` has, or its --data-dir"
        )
    return keys


def kept_secrets(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The keys in force by their settings' names, as far as there are any: nothing is made. Raises like the above."""
    path = kept_path(settings)
    makes_its_own = is_loopback(settings.host) and settings.postgres_url is None
    kept = _read(path) if path.is_file() and makes_its_own else {}
    configured = {name: tuple(key.get_secret_value() for key in getattr(settings, name)) for name in _MAKE}
    return {name: keys or ((kept[name],) if name in kept else ()) for name, keys in configured.items()}


def kept_path(settings: Settings) -> Path:
    """The file of the keys that a receiver on loopback makes for itself."""
    return settings.data_dir / _FILE_NAME


def made_key(name: str) -> str:
    """A new key for the setting called ``name``."""
    return _MAKE[name]()


def _of(keys: dict[str, tuple[str, ...]], made_here: Path | None) -> Secrets:
    return Secrets(
        signing_keys=keys["signing_keys"],
        api_keys=keys["api_keys"],
        notification_secrets=keys["notification_secrets"],
        made_here=made_here,
    )


def _read_or_make(path: Path, names: Sequence[str]) -> dict[str, str]:
    """What is kept, with what is wanted of ``names`` besides: a key that is configured is not made up as well."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = {name: _MAKE[name]() for name in names}
    beside = _written_beside(path, fresh)
    try:
        os.link(beside, path)  # whole, or not at all, and never over another's
    except FileExistsError:
        kept = _read(path)
    else:
        return fresh
    finally:
        beside.unlink()
    missing = {name: value for name, value in fresh.items() if name not in kept}
    if missing:
        _written_beside(path, {**kept, **missing}).replace(path)
    return {**missing, **kept}


def _written_beside(path: Path, content: dict[str, str]) -> Path:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    return beside


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__}); restore it or remove it") from error
