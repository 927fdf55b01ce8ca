"""What can be told from the settings alone: keys, providers, whom fal's callbacks are believed for."""

import stat
from collections.abc import Iterator
from pathlib import Path

from replyhook.providers import CallbackKind, Capabilities
from replyhook_receiver.configuring import unknown_variables
from replyhook_receiver.doctor.examined import Examined
from replyhook_receiver.doctor.fal_users import shortened, users_finding
from replyhook_receiver.doctor.findings import Finding, fail, ok, warn
from replyhook_receiver.file_secrets import secrets_in
from replyhook_receiver.own_secrets import kept_path


def check_configured(examined: Examined) -> Iterator[Finding]:
    """The settings, one after the other."""
    yield from _settings(examined)
    yield from _keys(examined)
    for name, provider in examined.settings.make_providers().items():
        yield provider_finding(
            provider.capabilities,
            has_key=bool(provider.api_key),
            has_secret=bool(getattr(provider, "webhook_secrets", ())),
            is_used=examined.uses(name),
        )
    yield fal_users(examined)


def _settings(examined: Examined) -> Iterator[Finding]:
    unknown = unknown_variables(examined.environ)
    if unknown:
        yield warn("settings", f"no such setting: {', '.join(unknown)}", "correct the names, or unset them")
    elif examined.config is None:
        yield ok("settings", "from the environment and the defaults; no file")
    else:
        yield ok("settings", f"from {examined.config}, the environment and the defaults")
    inside = secrets_in(examined.config) if examined.config is not None else []
    if examined.config is not None and inside and _is_open_to_others(examined.config):
        found = f"others on this machine may read {examined.config}, and {', '.join(inside)} in it"
        yield warn("settings file", found, f"chmod 600 {examined.config}")


def _keys(examined: Examined) -> Iterator[Finding]:
    settings, path = examined.settings, kept_path(examined.settings)
    made = False
    for name, keys in examined.secrets.items():
        if getattr(settings, name):
            yield ok(name, f"{len(keys)} configured")
        elif keys:
            made = True
            yield ok(name, f"made by the receiver, in {path}")
        elif settings.postgres_url is not None:
            found = "none, and receivers on one PostgreSQL share theirs: they do not start without"
            yield fail(name, found, "`replyhook config init` makes them; give the same to each")
        elif examined.public_url:
            yield ok(name, f"none here: a receiver that is given none makes one and keeps it in {path}")
        else:
            yield fail(name, f"none, and listening on {settings.host} needs one", "`replyhook config init` makes them")
    if made and _is_open_to_others(path):
        yield fail("secrets file", f"others on this machine may read {path}", f"chmod 600 {path}")


def provider_finding(known: Capabilities, *, has_key: bool, has_secret: bool, is_used: bool) -> Finding:
    """Whether what the receiver needs for a provider is there: the secret of its webhook, its API key."""
    name, check, variable = known.name, f"provider {known.name}", known.key_variable
    needs_secret = known.signed and known.callback is CallbackKind.ACCOUNT
    if needs_secret and is_used and not has_secret:
        return fail(
            check,
            "no webhook secret: its callbacks cannot be believed",
            f"enter `replyhook providers url {name}` in its console, and set providers.{name}.webhook_secrets",
        )
    if has_key:
        return ok(check, "its API key is set")
    if known.callback is CallbackKind.NONE and is_used:
        return fail(check, "no API key, and the receiver itself submits its jobs", f"set {variable}")
    if is_used:
        return warn(
            check,
            "no API key here: a job that is never called back cannot be asked about (no_provider_key)",
            f"set {variable} where the receiver runs",
        )
    return ok(check, "not set up, and no jobs")


def fal_users(examined: Examined) -> Finding:
    """Whom fal's callbacks are believed for."""
    configured = getattr(examined.settings.make_providers()["fal"], "user_ids", ())
    learned = examined.rows("SELECT sender FROM senders WHERE provider = 'fal' ORDER BY learned_ms")
    return users_finding(configured=len(configured), learned=", ".join(shortened(row["sender"]) for row in learned))


def _is_open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False
