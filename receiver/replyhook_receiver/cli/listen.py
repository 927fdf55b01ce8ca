"""`replyhook listen`: the receiver's events on this machine, printed and handed on to a local program."""

import asyncio
import base64
import secrets
import sys
from typing import TYPE_CHECKING

import click

from replyhook.errors import ConfigurationError
from replyhook.notifications import NotificationType
from replyhook.receiver_api import LOOPBACK_HOSTS
from replyhook.signatures import standard_webhooks_key
from replyhook.urls import http_parts
from replyhook_receiver.cli.asking import receiver_from_environ

if TYPE_CHECKING:
    from replyhook_receiver.cli.listening import Heard

_TYPES = ", ".join(kind.value for kind in NotificationType)


@click.command()
@click.option("-f", "--forward-to", "url", metavar="URL", help="Post each event to this address, signed.")
@click.option("-e", "--events", "types", metavar="TYPES", multiple=True, help=f"Only these, of {_TYPES}.")
@click.option("--job", "jobs", multiple=True, help="Only this job's, from its first; may be repeated.")
@click.option("--user", "users", multiple=True, help="Only this user's; may be repeated.")
@click.option("--provider", "providers", multiple=True, help="Only this provider's; may be repeated.")
@click.option("--ref", "references", multiple=True, help="Only those with this reference of yours; may be repeated.")
@click.option("--secret", help="Sign with this whsec_… instead of a fresh one.")
@click.option("--after", type=click.IntRange(min=0), help="Begin after this place in the stream; 0: with the first.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--allow-remote", is_flag=True, help="Let -f name another machine than this one.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["lines", "jsonl"]),
    default="lines",
    show_default=True,
    help="A line of words an event, or one of JSON.",
)
def listen(
    url: str | None,
    types: tuple[str, ...],
    jobs: tuple[str, ...],
    users: tuple[str, ...],
    providers: tuple[str, ...],
    references: tuple[str, ...],
    secret: str | None,
    after: int | None,
    count: int | None,
    allow_remote: bool,
    output: str,
) -> None:
    """Hear what happens, as it happens; with -f, hand it on to a program on this machine. No tunnel is needed.

    The program gets each event as a webhook endpoint would: the same body, signed after Standard Webhooks with the
    secret that is printed at the start. What it answers is shown. A receiver that restarts is waited for, and heard
    from where it stopped. Ends with Ctrl-C.

    \b
    replyhook listen -e job.failed,video.failed
    replyhook listen -f http://localhost:3000/hooks --user u_7
    replyhook listen -o jsonl | jq .data.id

    Needs REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY.
    """
    from replyhook_receiver.cli.listening import Forward, Listening

    receiver = receiver_from_environ()
    forward = None
    if url is not None:
        _check_local(url, allow_remote=allow_remote)
        if secret is None:
            secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
            click.echo(f"signed with {secret}", err=True)
        standard_webhooks_key(secret)
        forward = Forward(url=url, secret=secret)
    elif secret is not None or allow_remote:
        raise click.UsageError("--secret and --allow-remote are for -f")
    filters = {"types": types, "job": jobs, "user": users, "provider": providers, "reference": references}
    show = _show_json if output == "jsonl" else _show_line
    listening = Listening(receiver=receiver, filters=filters, forward=forward, show=show, say=_say)
    asyncio.run(listening.run(after=after, count=count))


def _check_local(url: str, *, allow_remote: bool) -> None:
    parts = http_parts(url)
    if parts is None:
        raise ConfigurationError("-f needs an address such as http://localhost:3000/hooks")
    if parts.hostname not in LOOPBACK_HOSTS and not allow_remote:
        raise ConfigurationError(
            f"-f names {parts.hostname}, which is not this machine: events would leave it. If that is meant, add "
            "--allow-remote"
        )


def _say(text: str) -> None:
    click.echo(text, err=True)


def _show_json(heard: "Heard", answer: str | None) -> None:
    from replyhook_receiver.cli.listening import as_json

    click.echo(as_json(heard))
    sys.stdout.flush()
    if answer is not None:
        _say(f"{heard.type} → {answer}")


def _show_line(heard: "Heard", answer: str | None) -> None:
    from replyhook_receiver.cli.listening import as_line

    click.echo(as_line(heard) + ("" if answer is None else f"  → {answer}"))
    sys.stdout.flush()
