"""`replyhook config init`: a first settings file, from questions on a terminal or from flags."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from replyhook.errors import ConfigurationError
from replyhook.providers import PROVIDERS, make_provider

_KEYS = ("signing_keys", "api_keys", "notification_secrets")


@dataclass(kw_only=True)
class _Wanted:
    """What is to stand in the file, as far as it is known."""

    public_url: str | None
    host: str | None
    port: int | None
    data_dir: Path | None
    notify: str | None
    providers: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)


@click.command()
@click.argument("file", default="replyhook.toml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--public-url", help="Where providers reach the receiver, such as https://hooks.example.com")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8080]")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for database and videos.")
@click.option(
    "--provider",
    "names",
    multiple=True,
    type=click.Choice(sorted(PROVIDERS)),
    help="One to set up; may be repeated. Its key is taken from its variable (FAL_KEY, …).",
)
@click.option("--notify", help="Where to send all notifications: https://…")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def init(
    file: Path,
    public_url: str | None,
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    names: tuple[str, ...],
    notify: str | None,
    force: bool,
) -> None:
    """Write a commented settings FILE with fresh keys, readable for you alone.

    On a terminal it asks for what no flag says; otherwise the flags and the providers' variables are all there is.
    """
    from replyhook_receiver.settings_writing import settings_text, write_settings

    if file.exists() and not force:  # before any question
        raise ConfigurationError(f"{file} is there already: name another file, or overwrite it with --force")
    wanted = _Wanted(public_url=public_url, host=host, port=port, data_dir=data_dir, notify=notify)
    is_asking = sys.stdin.isatty()
    if is_asking:
        _ask(wanted)
    for name in names or (_asked_providers() if is_asking else ()):
        wanted.providers[name] = _provider(name, is_asking=is_asking)
    values = _values(wanted)
    _check(values, wanted)
    write_settings(file, settings_text(file.name, values, wanted.providers, wanted.notify), force=force)
    click.echo(f"{file} is written, with fresh keys, readable for you alone. What to do next:", err=True)
    click.echo(
        f"  replyhook config check {file}\n  replyhook serve --config {file}\n  replyhook doctor --config {file}",
        err=True,
    )
    _tell_programs(file, wanted)
    for name, given in wanted.providers.items():
        if "api_key" not in given:
            variable = make_provider(name).capabilities.key_variable
            click.echo(f"{name} has no key yet: set {variable}, or api_key under [providers.{name}]", err=True)


def _tell_programs(file: Path, wanted: _Wanted) -> None:
    """What `replyhook submit` and programs with the library need; the key itself is not shown."""
    name = shlex.quote(str(file))
    key = f"""export REPLYHOOK_API_KEY="$(sed -n 's/^api_keys = \\["\\(.*\\)"\\]$/\\1/p' {name})\""""
    click.echo("Programs, and `replyhook submit`, need its address and the entry of api_keys in that file:", err=True)
    url = _own_url(wanted)
    known = "   # the address that `replyhook serve` prints" if url is None else shlex.quote(url)
    click.echo(f"  export REPLYHOOK_RECEIVER_URL={known}\n  {key}", err=True)
    if wanted.public_url:
        click.echo(f"On another machine its address is {wanted.public_url}", err=True)


def _own_url(wanted: _Wanted) -> str | None:
    """Where it is reached on this machine; None where it is to choose a port itself."""
    if wanted.port == 0:
        return None
    host = {None: "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(wanted.host, wanted.host)  # noqa: S104 - not bound
    return f"http://{f'[{host}]' if ':' in str(host) else host}:{wanted.port or 8080}"


def _ask(wanted: _Wanted) -> None:
    if wanted.public_url is None:
        wanted.public_url = click.prompt(
            "Public https:// URL (empty: this machine only)", default="", show_default=False
        )
    if wanted.host is None:
        wanted.host = click.prompt(
            "Address to listen on (behind a proxy on this machine: as it is)", default="127.0.0.1"
        )
    if wanted.port is None:
        wanted.port = click.prompt("Port", default=8080, type=click.IntRange(0, 65535))
    if wanted.data_dir is None:
        wanted.data_dir = Path(click.prompt("Folder for the database and the videos", default="replyhook-data"))
    if wanted.notify is None:
        words = "Where to send all notifications (https://…; empty: nowhere yet)"
        wanted.notify = click.prompt(words, default="", show_default=False) or None


def _asked_providers() -> list[str]:
    chosen = click.prompt(
        f"Providers, with commas between ({', '.join(sorted(PROVIDERS))})", default="", show_default=False
    )
    names = [name.strip().lower() for name in chosen.split(",") if name.strip()]
    unknown = [name for name in names if name not in PROVIDERS]
    if unknown:
        raise ConfigurationError(f"there is no provider {unknown[0]!r}; there are {', '.join(sorted(PROVIDERS))}")
    return names


def _provider(name: str, *, is_asking: bool) -> dict[str, Any]:
    variable = make_provider(name).capabilities.key_variable
    key = os.environ.get(variable, "")
    if not key and is_asking:
        words = f"API key for {name} (empty: set {variable} later)"
        key = click.prompt(words, default="", show_default=False, hide_input=True)
    return {"api_key": key} if key else {}


def _values(wanted: _Wanted) -> dict[str, Any]:
    from replyhook_receiver.own_secrets import made_key

    plain = {
        "public_url": wanted.public_url or None,
        "host": wanted.host,
        "port": wanted.port,
        "data_dir": wanted.data_dir,
    }
    return {**plain, **{name: [made_key(name)] for name in _KEYS}}


def _check(values: Mapping[str, Any], wanted: _Wanted) -> None:
    """Raise ``ConfigurationError`` before anything is written that could not be served."""
    from replyhook_receiver.configuring import load
    from replyhook_receiver.web.parts import public_url_of

    if wanted.notify and not wanted.notify.startswith("https://"):
        raise ConfigurationError(
            "--notify is an https:// URL here; for mail or chat write the file without it, and then [[endpoints]] in "
            "it as deploy/replyhook.example.toml shows (mail needs smtp_host and smtp_from too)"
        )
    endpoints = {"endpoints": [{"name": "first", "url": wanted.notify}]} if wanted.notify else {}
    settings = load({}, flags={**values, **endpoints, "providers": None})
    public_url_of(settings)
    for name, given in wanted.providers.items():
        make_provider(name, given)
