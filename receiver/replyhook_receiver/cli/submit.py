"""`replyhook submit`: submit one extend job and wait for its video, or say what it would cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from replyhook.providers import PROVIDERS
from replyhook_receiver.cli.jobs import download_option, open_client, timeout_option
from replyhook_receiver.cli.shown import output_option, print_estimates
from replyhook_receiver.cli.waiting import bar, going_on, print_as_known, print_called, wait_and_print

if TYPE_CHECKING:
    from replyhook import Client, JobHandle
    from replyhook.routing import Tried


@click.command()
@click.argument("video")
@click.argument("prompt")
@click.option(
    "--provider",
    metavar="NAME[,NAME]|auto",
    help="Who is asked: one, several in this order, or all (auto); `replyhook providers list` tells what each takes.",
)
@click.option("--prefer", type=click.Choice(["order", "price"]), help="Of several, ask as they stand or the cheapest.")
@click.option(
    "--max-price", type=click.FloatRange(min=0), help="Dollars; who may cost more, or does not say, is not asked."
)
@click.option(
    "--patience", type=click.FloatRange(min=0), help="Seconds to wait where too many jobs run.  [default: 60]"
)
@click.option(
    "--estimate", "is_estimate", is_flag=True, help="Print each provider's price, or why not; submit nothing."
)
@click.option("--duration", type=int, help="Seconds to add.")
@click.option("--quality", help="Such as 540p.")
@click.option("--style")
@click.option("--seed", type=int)
@click.option("--negative-prompt")
@click.option("--audio/--no-audio", default=None, help="With sound, or without.")
@click.option("--motion-mode")
@click.option("--model")
@click.option("--watermark/--no-watermark", default=None)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="A field of the provider's own.")
@click.option("--video-is-id", is_flag=True, help="VIDEO is the provider's own id of an earlier video.")
@click.option("--ref", "reply_ref", help="Your own reference; it comes back in every notification.")
@click.option("--user", help="Whose job it is; it comes back in every notification.")
@click.option("--notify", multiple=True, metavar="URL", help="Post signed notifications there; may be repeated.")
@click.option("--wait/--no-wait", "is_waited_for", default=True, show_default=True, help="Wait for the video.")
@timeout_option
@download_option
@output_option
def submit(
    video: str,
    provider: str | None,
    is_estimate: bool,
    options: tuple[str, ...],
    video_is_id: bool,
    notify: tuple[str, ...],
    is_waited_for: bool,
    timeout: float | None,
    download: Path | None,
    output: str,
    **given: Any,
) -> None:
    """Extend VIDEO (a URL, or a file) as PROMPT says, and wait for the new video, told by pushes.

    Needs REPLYHOOK_RECEIVER_URL, REPLYHOOK_API_KEY and the provider's key. Of several providers the first that can do
    the job gets it, the next one only after a refusal that certainly started nothing. Exit code 3: the job failed; 6:
    time is over, or it is overdue. It goes on then: `replyhook jobs wait`.
    """
    from replyhook import VideoSource

    if provider is None and not is_estimate:
        raise click.UsageError("Missing option '--provider': a name, several with commas, or auto")
    if download is not None and is_estimate:
        raise click.UsageError("--estimate submits nothing: leave --download out")
    if download is not None and not is_waited_for:
        raise click.UsageError("--download waits for the video: leave --no-wait out")
    arguments = {name: value for name, value in given.items() if value is not None}
    arguments["video"] = VideoSource.provider_job(video) if video_is_id else video
    if provider is not None:
        arguments["provider"] = _providers(provider)
    if options:
        arguments["options"] = dict(_option(entry) for entry in options)
    if notify:
        arguments["notify"] = list(notify)
    with open_client() as client:
        if is_estimate:
            print_estimates(client.estimate(**arguments), output)
            return
        job = _submitted(client, arguments, is_waited_for, output)
        with going_on(job):
            _tell_submitted(job)
            if is_waited_for:
                wait_and_print(job, output, timeout=timeout, download=download)
            else:
                _print_submitted(client, job, output)


def _tell_submitted(job: "JobHandle") -> None:
    _tell_tried(job.tried)
    click.echo(f"{job.id}: submitted to {job.provider}", err=True)
    for warning in job.warnings:
        click.echo(f"warning: {warning}", err=True)


def _submitted(client: "Client", arguments: dict[str, Any], is_waited_for: bool, output: str) -> "JobHandle":
    from replyhook import ConfigurationError, NoProviderLeft, ReplyhookError, SubmitOutcomeUnknown

    if is_waited_for and client.is_detached:
        raise ConfigurationError("a detached client is told nothing, so it cannot wait: submit with --no-wait")
    try:
        with bar("uploading", is_shown_at_once=False) as show:
            job = client.submit(**arguments, on_upload=show)
    except NoProviderLeft:  # its words name them all
        raise
    except ReplyhookError as error:
        _tell_tried(error.tried)
        if isinstance(error, SubmitOutcomeUnknown):
            told = f"{error.job.id} may have been started; it is never sent again: `replyhook jobs wait` it"
            click.echo(told, err=True)
            _print_submitted(client, error.job, output)
        raise
    return job


def _tell_tried(tried: "Tried") -> None:
    for name, error in tried:
        click.echo(f"went on from {name}: {error}", err=True)


def _print_submitted(client: "Client", job: "JobHandle", output: str) -> None:
    if client.is_detached:
        print_called(job, output)
    else:
        print_as_known(job, output)


def _providers(text: str) -> str | list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise click.BadParameter(f"{text!r} is not NAME, NAME,NAME or auto", param_hint="--provider")
    for name in names:
        if name not in PROVIDERS and name != "auto":
            words = f"there is no provider {name!r}; there are {', '.join(sorted(PROVIDERS))}"
            raise click.BadParameter(words, param_hint="--provider")
    return names[0] if len(names) == 1 else names


def _option(entry: str) -> tuple[str, Any]:
    name, equals, text = entry.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{entry!r} is not NAME=VALUE", param_hint="--option")
    try:
        return name, msgspec.json.decode(text)
    except msgspec.DecodeError:
        return name, text
