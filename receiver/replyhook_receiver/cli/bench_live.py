"""`replyhook bench streams` and `replyhook bench latency`: how soon people hear, and what listening costs."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook_receiver.extras import how_to_install

if TYPE_CHECKING:
    from replyhook_receiver.bench.latency import LatencyResult
    from replyhook_receiver.bench.streams import StreamsResult

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder on the disk to be used; what is made there is removed.  [default: the system's temporary one]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of words.")
quick_option = click.option("--quick", is_flag=True, help="A few seconds: to see that it runs, not to quote.")


@click.command()
@click.option("--listeners", type=click.IntRange(1, 10_000), default=2_000, show_default=True, help="Open streams.")
@click.option("--events", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Callbacks to send.")
@click.option("--rate", type=click.FloatRange(0.1, 1_000), default=10.0, show_default=True, help="Callbacks a second.")
@quick_option
@directory_option
@json_option
def streams(listeners: int, events: int, rate: float, quick: bool, directory: Path | None, as_json: bool) -> None:
    """Let many listen to one receiver process, and see what each costs it and when the last one hears.

    The receiver runs in a process of its own; listeners and callbacks are another. Exit code 1 unless every listener
    is told everything, once.
    """
    import uvloop

    from replyhook_receiver.bench.streams import StreamsOptions, TooFewFiles, run_streams

    with tempfile.TemporaryDirectory(prefix="replyhook-bench-", dir=directory) as folder:
        options = StreamsOptions(
            folder=Path(folder),
            listeners=min(listeners, 200) if quick else listeners,
            events=min(events, 10) if quick else events,
            events_per_s=rate,
        )
        try:
            result = uvloop.run(run_streams(options, say=_say))
        except TooFewFiles as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(result.as_json())
    else:
        _show_streams(result)
    if not result.ok:
        sys.exit(1)


@click.command()
@click.option("--jobs", type=click.IntRange(2, 100_000), default=300, show_default=True, help="Jobs that end.")
@click.option("--rate", type=click.FloatRange(0.1, 500), default=15.0, show_default=True, help="Jobs a second.")
@click.option(
    "--load", type=click.FloatRange(0, 5_000), default=100.0, show_default=True, help="Other callbacks a second."
)
@click.option(
    "--poll",
    "poll_seconds",
    type=click.FloatRange(0.1, 60),
    default=5.0,
    show_default=True,
    help="Seconds between polls.",
)
@quick_option
@directory_option
@json_option
def latency(
    jobs: int, rate: float, load: float, poll_seconds: float, quick: bool, directory: Path | None, as_json: bool
) -> None:
    """From the end of a job to its user's knowing: by push, and for the same jobs by polling.

    Pushed: the provider's callback (fal's signed, useapi.net's with its token), this receiver in a process of its own,
    the video fetched, checked and stored, a signed notification at a real endpoint. Polled: a status call for each job
    every few seconds, then the video fetched. Exit code 1 unless every job was heard of both ways.
    """
    import uvloop

    from replyhook_receiver.bench.latency import LatencyOptions, run_latency
    from replyhook_receiver.media import HAS_PYAV
    from replyhook_receiver.serving import configure_logging

    if not HAS_PYAV:
        raise click.ClickException(f"this bench makes and checks a real video: {how_to_install('all')}")
    configure_logging("error")
    with tempfile.TemporaryDirectory(prefix="replyhook-bench-", dir=directory) as folder:
        options = LatencyOptions(
            folder=Path(folder),
            jobs=min(jobs, 40) if quick else jobs,
            jobs_per_s=rate,
            load_per_s=load,
            poll_seconds=min(poll_seconds, 1.0) if quick else poll_seconds,
        )
        result = uvloop.run(run_latency(options, say=_say))
    if as_json:
        click.echo(result.as_json())
    else:
        _show_latency(result)
    if not result.ok:
        sys.exit(1)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _show_streams(result: "StreamsResult") -> None:
    after, before = result.receiver_bytes / 2**20, result.receiver_bytes_before / 2**20
    for line in (
        f"{result.listeners:,} listeners, opened in {result.connect_seconds:g} s; {result.events:,} callbacks, each "
        f"answered in {result.callback_p50_ms:g} ms (median)",
        f"told: {result.received:,} of {result.expected:,} events",
        f"memory: {result.bytes_per_listener / 1024:.1f} KiB a listener ({before:.0f} MiB before, {after:.0f} after)",
        f"from the callback, commit included, to the first listener {result.first_listener_p50_ms:g} ms, to the last "
        f"{result.last_listener_p50_ms:g} ms (medians; {result.last_listener_max_ms:g} ms at most)",
    ):
        click.echo(line)


def _show_latency(result: "LatencyResult") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    title = (
        f"{result.jobs:,} jobs, {result.jobs_per_s:g} a second, beside {result.load_per_s:g} other callbacks a second; "
        f"a video of {result.video_bytes:,} bytes"
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title, caption="milliseconds")
    for heading in ("way", "heard of", "p50", "p99", "most", "status calls"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "way" else "right")
    ways = (
        ("push", result.told, result.push, result.push_status_calls),
        (f"polling every {result.poll_seconds:g} s", result.polled, result.polling, result.polling_status_calls),
    )
    for name, heard, spread, calls in ways:
        figures = (f"{each:,.1f}" for each in (spread.p50_ms, spread.p99_ms, spread.max_ms))
        table.add_row(name, f"{heard:,}", *figures, f"{calls:,}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    steps = ", ".join(f"{name} {each:g}" for name, each in result.steps_p50_ms.items())
    console.print(f"a push, step by step (ms, p50): {steps}", highlight=False)
