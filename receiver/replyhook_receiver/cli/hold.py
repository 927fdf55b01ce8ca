"""`replyhook hold`: pausing the receiver's work, while callbacks are taken as always."""

from typing import Any

import click

from replyhook_receiver.cli.asking import ask
from replyhook_receiver.cli.harmless import harmless
from replyhook_receiver.cli.shown import print_values

_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group()
def hold() -> None:
    """Pause the receiver's work (downloads, notifications, submits, questions), and let it go on.

    Callbacks are taken and kept as always, and nothing is lost: what is due meanwhile is done afterwards. Mind that
    providers' links to videos end. Needs REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY.
    """


@hold.command()
@click.option("--reason", default="", help="What for: shown to whoever asks.")
@_output
def on(reason: str, output: str) -> None:
    """Pause: nothing new is begun, what is being done is finished. It survives restarts."""
    _show(ask("PUT", "/v1/hold", query={"reason": reason}), output)


@hold.command()
@_output
def off(output: str) -> None:
    """Go on."""
    _show(ask("DELETE", "/v1/hold"), output)


@hold.command()
@_output
def status(output: str) -> None:
    """Say whether the work is paused, since when and what for."""
    _show(ask("GET", "/v1/hold"), output)


def _show(answer: dict[str, Any], output: str) -> None:
    if output == "json":
        print_values(answer, output)
    elif answer["held"]:
        reason = f": {harmless(answer['reason'])}" if answer["reason"] else ""
        click.echo(f"on hold since {answer['since']}{reason}")
    else:
        click.echo("going on")
