"""`replyhook providers`: what each takes, whether it is set up, and the URL for those whose webhook a console makes."""

import os
from pathlib import Path
from typing import Any

import click

from replyhook.environment import with_files
from replyhook.errors import ConfigurationError
from replyhook.providers import PROVIDERS, CallbackKind, Capabilities, make_provider
from replyhook_receiver.cli.asking import ask_plain
from replyhook_receiver.cli.findings_shown import output_option, print_findings
from replyhook_receiver.cli.settings import config_file, settings_from, tell_of_unread_file

_NONE = "-"
_SETTINGS = ("duration", "quality", "style", "audio", "motion_mode", "model", "watermark")


@click.group()
def providers() -> None:
    """What each provider takes, whether it is set up as it must be, and what to enter in its console."""


@providers.command("list")
def list_providers() -> None:
    """Print the table of what each provider takes (Markdown, as in the README)."""
    click.echo(capabilities_table())
    click.echo()
    click.echo(capabilities_notes())


@providers.command()
@click.argument("name", type=click.Choice(sorted(PROVIDERS)))
@click.option("--account", help="Which of the provider's accounts.  [default: the one in its settings]")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="The receiver's, if not the default."
)
@click.option("--port", type=click.IntRange(1, 65535), help="The receiver's, if not the default.")
@click.option("--public-url", help="The receiver's, if it is not in its settings.")
def url(
    name: str, account: str | None, config: Path | None, data_dir: Path | None, port: int | None, public_url: str | None
) -> None:
    """Print the callback URL to enter in the console of a provider with one webhook per account (pixverse).

    It is signed with the receiver's key, so give the same settings as `replyhook serve` has.
    """
    from replyhook.tokens import TokenKeys, build_reply_url
    from replyhook_receiver.own_secrets import signing_keys_of
    from replyhook_receiver.web.parts import public_url_of

    settings = settings_from(config, {"data_dir": data_dir, "port": port, "public_url": public_url})
    provider = settings.make_providers()[name]
    if provider.capabilities.callback is not CallbackKind.ACCOUNT:
        is_told = provider.capabilities.callback is CallbackKind.PER_JOB
        how = "is told a URL with each job" if is_told else "calls nobody back: its answers are relayed by the receiver"
        raise ConfigurationError(f"{name} {how}: there is nothing to enter in a console")
    token = TokenKeys(signing_keys_of(settings)).mint_account(provider=name, account=account or provider.account)
    where = public_url_of(settings)
    if where.startswith("http://"):  # which is on this machine alone
        click.echo("nobody on the internet can call this back: set REPLYHOOK_PUBLIC_URL (or --public-url)", err=True)
    click.echo(build_reply_url(where, provider=name, token=token))


@providers.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(sorted(PROVIDERS)))
@click.option("--local", "is_local", is_flag=True, help="Look at the settings and the database here; so do the next.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="The receiver's, if not the default."
)
@click.option("--port", type=click.IntRange(1, 65535), help="The receiver's, if not the default.")
@click.option("--public-url", help="The receiver's, if it is not in its settings.")
@click.option("--strict", is_flag=True, help="Exit 1 for a warning too.")
@output_option
def check(names: tuple[str, ...], is_local: bool, config: Path | None, strict: bool, output: str, **flags: Any) -> None:
    """Look whether each provider is set up as it must be, and say what to do where it is not.

    Tells of keys, webhooks, reply URLs, media hosts, public keys, pinned users and the last callback. Those that are
    not set up and have no jobs are passed over, unless they are named.

    Asks the receiver of REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY. With --local, or any of the receiver's settings
    as options, it looks for itself, as `replyhook doctor` does: where the receiver runs, which may be up or down.

    Exit code 0: no failure; 1: at least one.
    """
    from replyhook_receiver.doctor.examined import Examined
    from replyhook_receiver.doctor.providers import check_local, check_told

    if is_local or config is not None or any(value is not None for value in flags.values()):
        tell_of_unread_file(config)
        settings = settings_from(config, flags)
        examined = Examined(settings=settings, config=config_file(config), environ=os.environ)
        print_findings(check_local(examined, names), output, strict=strict)
    elif not with_files(os.environ).get("REPLYHOOK_RECEIVER_URL"):
        words = "set REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY, or give --local to look at the settings here"
        raise ConfigurationError(words)
    else:
        print_findings(check_told(ask_plain("GET", "/v1/providers"), names), output, strict=strict)


def capabilities_table() -> str:
    """What every provider can and cannot do, as a Markdown table: printed from ``capabilities`` alone."""
    known = [make_provider(name).capabilities for name in sorted(PROVIDERS)]
    rows = [
        ["", *(each.title for each in known)],
        ["---"] * (len(known) + 1),
        ["name", *(f"`{each.name}`" for each in known)],
        ["key in the environment", *(f"`{each.key_variable}`" for each in known)],
        ["video taken as it is", *(_words(each.takes) for each in known)],
        ["video uploaded first", *(_words(each.uploads) for each in known)],
        *([f"`{name}`", *(_field(each, name) for each in known)] for name in _SETTINGS),
        ["own `options`", *(", ".join(entry.wire for entry in each.options) or _NONE for each in known)],
        ["calls back by", *(each.callback.value for each in known)],
        ["callback signed", *(_yes(each.signed) for each in known)],
        ["reports progress", *(_yes(each.reports_progress) for each in known)],
        ["can be canceled there", *(_yes(each.can_cancel) for each in known)],
        ["price", *(str(each.pricing or "not published") for each in known)],
        ["when too many at a time", *(_busy(each) for each in known)],
        ["link lives", *(_lifetime(each) for each in known)],
        ["media hosts", *(", ".join(f"`{host}`" for host in each.media_hosts) or "not published" for each in known)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def capabilities_notes() -> str:
    """What does not fit the table: limits that hold only in company, and what no document settles."""
    lines = []
    for name in sorted(PROVIDERS):
        each = make_provider(name).capabilities
        limits = [rule.words for rule in each.rules]
        lines.append(f"- **{each.title}**: {'; '.join([*limits, *each.notes]) or 'nothing more'}.")
    return "\n".join(lines)


def _field(capabilities: Capabilities, name: str) -> str:
    entry = capabilities.field(name)
    if entry is None:
        return _NONE
    if entry.type is bool:
        return "yes"
    if entry.choices:
        allowed = ", ".join(str(choice) for choice in entry.choices)
    else:
        allowed = f"{entry.minimum} to {entry.maximum}" if entry.maximum is not None else "any"
    usual = entry.fill if entry.fill is not None else entry.default
    return allowed if usual is None or len(entry.choices) == 1 else f"{allowed} ({usual})"


def _words(kinds: frozenset[str]) -> str:
    names = {"url": "URL", "file": "file", "data": "bytes", "upload": "", "provider_job": "earlier video's id"}
    return ", ".join(names[kind] for kind in names if kind in kinds and names[kind]) or _NONE


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _busy(capabilities: Capabilities) -> str:
    if capabilities.busy_pause_seconds is None:
        return "not asked again, unless it says when"
    shortest, longest = capabilities.busy_pause_seconds
    return f"asked again after {shortest:g} to {longest:g} s, or when it says"


def _lifetime(capabilities: Capabilities) -> str:
    if capabilities.result_lifetime is None:
        return "not published: taken as 1 hour"
    hours = capabilities.result_lifetime.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours > 48 else f"{hours:g} hours" if hours > 1 else "1 hour"
