"""`replyhook verify`: whether a callback that somebody pasted would be believed, and if not, why."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook.errors import ConfigurationError, KeysUnavailable, VerificationError
from replyhook.providers import PROVIDERS, Provider, VerificationKeys
from replyhook_receiver.cli.findings_shown import output_option, print_findings
from replyhook_receiver.cli.settings import settings_from

if TYPE_CHECKING:
    from replyhook_receiver.config import Settings
    from replyhook_receiver.doctor.findings import Finding
    from replyhook_receiver.doctor.pasted import Pasted

_MAX_BYTES = 16 * 1024 * 1024
_file = click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True)


@click.command()
@click.option(
    "--provider", "name", required=True, type=click.Choice(sorted(PROVIDERS)), help="Who is said to have sent it."
)
@click.option("--request", type=_file, help="The whole request: headers, an empty line, the body.  [default: stdin]")
@click.option("--headers", type=_file, help="The headers alone, as lines or JSON; with --body.")
@click.option("--body", type=_file, help="The body alone, byte by byte; with --headers.")
@click.option("--url", help="The reply URL that it came to, if the request does not begin with it.")
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S"]),
    help="When it came, in UTC.  [default: now]",
)
@click.option("--account", help="Which of the provider's accounts.  [default: the token's, or the one in its settings]")
@click.option("--jwks", type=_file, help="The provider's public keys as a file.  [default: fetched from the provider]")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="The receiver's, if not the default."
)
@output_option
def verify(
    name: str,
    request: Path | None,
    headers: Path | None,
    body: Path | None,
    url: str | None,
    at: datetime | None,
    account: str | None,
    jwks: Path | None,
    config: Path | None,
    data_dir: Path | None,
    output: str,
) -> None:
    """Say whether a pasted callback would be believed, which check fails, and why.

    Paste the request as a proxy's log or a debugger shows it: perhaps its first line, the headers, an empty line, the
    body, then Ctrl-D. Uses the receiver's settings and keys; sends nothing but a question for public keys, keeps
    nothing, and never shows the signature that would have been right.

    Exit code 0: believed; 1: not.
    """
    from replyhook_receiver.doctor.pasted import Pasted, read_headers, read_request

    if (headers is None) is not (body is None) or (request and headers):
        raise click.UsageError("give --headers and --body, or --request, or paste the whole request")
    if headers is not None and body is not None:
        pasted = Pasted(headers=read_headers(_read(headers)), body=_read(body))
    else:
        if request is None and sys.stdin.isatty():
            click.echo("paste headers, an empty line and the body, then Ctrl-D", err=True)
        pasted = read_request(_read(request or Path("-")))
    settings = settings_from(config, {"data_dir": data_dir})
    now = at.replace(tzinfo=UTC) if at else datetime.now(UTC)
    print_findings(
        _findings(settings, name, pasted, url=url or pasted.url, account=account, jwks=jwks, now=now), output
    )


def _findings(
    settings: "Settings",
    name: str,
    pasted: "Pasted",
    *,
    url: str,
    account: str | None,
    jwks: Path | None,
    now: datetime,
) -> "Iterator[Finding]":
    from replyhook.messages import Callback
    from replyhook.tokens import TokenKeys
    from replyhook_receiver.doctor.findings import fail, warn
    from replyhook_receiver.doctor.pasted import token_in
    from replyhook_receiver.doctor.verification import Judge, judge_token
    from replyhook_receiver.own_secrets import kept_secrets

    provider = settings.make_providers()[name]
    token, read = token_in(url), None
    if token is None:
        yield warn(
            "token", "not looked at: the reply URL is not known", "give it with --url, or in the request's first line"
        )
    else:
        signing_keys = kept_secrets(settings)["signing_keys"]
        finding, read = judge_token(
            token[1],
            provider=name,
            kind=provider.capabilities.callback,
            tokens=TokenKeys(signing_keys) if signing_keys else None,
            reply_keys=settings.make_reply_keys(),
        )
        yield (
            finding
            if token[0] == name
            else fail(
                "token", f"the URL is {token[0]!r}'s, not {name}'s", "say --provider, or paste the URL, as it came"
            )
        )
    whose = account or (read.account if read else str(getattr(provider, "account", "default")))
    keys = _keys(settings, name, provider, whose, jwks)
    callback = Callback(provider=name, headers=pasted.headers, body=pasted.body, received_at=now)
    yield from Judge(provider=provider, keys=keys, now=now).judge(callback)


def _keys(settings: "Settings", name: str, provider: Provider, account: str, jwks: Path | None) -> VerificationKeys:
    """What there is to check it with. Raises ``ConfigurationError``, ``KeysUnavailable``."""
    from replyhook.messages import read_json
    from replyhook_receiver.doctor.examined import Examined
    from replyhook_receiver.doctor.public_keys import fetch_keys
    from replyhook_receiver.errors import ReceiverTrouble
    from replyhook_receiver.jwks import read_jwks

    try:
        secrets = tuple(provider.callback_secrets(account))
    except VerificationError as error:
        variable = f"REPLYHOOK_PROVIDERS__{name.upper()}__WEBHOOK_SECRETS"
        raise ConfigurationError(f"{error} ({account}): give the receiver's settings, with {variable}") from error
    public: tuple[bytes, ...] = ()
    if jwks is not None:
        public = read_jwks(read_json(_read(jwks)))
    elif provider.jwks_url:
        try:
            public = fetch_keys(provider.jwks_url, settings.allowed_networks).keys
        except ReceiverTrouble as error:
            raise KeysUnavailable(
                f"the public keys of {name} cannot be fetched ({error}): give them with --jwks"
            ) from error
    return VerificationKeys(
        public_keys=public, secrets=secrets, senders=Examined(settings=settings).senders(name, account)
    )


def _read(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read(_MAX_BYTES)
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)
