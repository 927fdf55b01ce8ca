"""`replyhook demo`: the main job, end to end, on this machine."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook_receiver.cli.sandbox import FaultOption
from replyhook_receiver.extras import how_to_install

if TYPE_CHECKING:
    from replyhook_receiver.demo import DemoResult
    from replyhook_receiver.own_secrets import Secrets

FAILURE = 1


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("replyhook-demo"),
    show_default=True,
    help="Folder that gets the videos.",
)
@click.option("--serve", is_flag=True, help="Keep everything running afterwards, to look around; end with Ctrl-C.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds to wait for each video.")
@click.option("--fault", default="none", show_default=True, cls=FaultOption)
@click.option(
    "--listener-answer",
    type=click.IntRange(200, 599),
    default=200,
    show_default=True,
    help="What the listener answers: 500 refuses every notification.",
)
def demo(as_json: bool, directory: Path, serve: bool, timeout: float, fault: str, listener_answer: int) -> None:
    """Extend a video at every provider, be called back, store, notify: all on this machine.

    Starts imitation providers and a receiver on free loopback ports, submits one job to each provider through the
    Python client, and waits for the pushes; nobody polls. Exit code 0 only if every job ended with a stored, playable
    video and one verified notification.
    """
    from replyhook_receiver.demo import DemoOptions, run_demo
    from replyhook_receiver.media import HAS_PYAV
    from replyhook_receiver.sandbox import Fault
    from replyhook_receiver.serving import configure_logging

    if not HAS_PYAV:
        raise click.ClickException(f"the demo makes and checks real videos: {how_to_install('all')}")
    if fault not in {known.value for known in Fault}:
        raise click.BadParameter(f"{fault!r} is none of {', '.join(Fault)}", param_hint="--fault")
    configure_logging("error")

    def say(text: str) -> None:
        click.echo(text, err=True)

    with tempfile.TemporaryDirectory(prefix="replyhook-demo-") as work_directory:
        options = DemoOptions(
            directory=directory,
            work_directory=Path(work_directory),
            timeout_seconds=timeout,
            fault=Fault(fault),
            listener_answer=listener_answer,
        )
        result = asyncio.run(
            run_demo(options, say=say, show=lambda found: _show(found, as_json), serve=_serve if serve else None)
        )
    if not result.ok:
        sys.exit(FAILURE)


async def _serve(receiver_url: str, secrets: "Secrets") -> None:
    click.echo(f"still running: receiver {receiver_url}, API key {secrets.api_keys[0]}; Ctrl-C ends it", err=True)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        click.echo("ending", err=True)


def _show(result: "DemoResult", as_json: bool) -> None:
    if as_json:
        click.echo(result.as_json())
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title="One job to each provider: called back, stored, notified; nobody polled",
        caption="in seconds; stored, and push → notified, from the callback's arrival; calls are submit/status/upload",
    )
    for heading in ("provider", "trust", "callback", "stored", "push → notified", "video", "bytes", "calls"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("provider", "trust") else "right")
    for job in result.jobs:
        calls = job.provider_calls
        table.add_row(
            job.provider,
            job.trust or "-",
            _seconds(job.seconds_to_callback),
            _seconds(job.seconds_to_stored),
            _seconds(job.seconds_to_notified),
            "-" if job.duration is None else f"{job.duration:.1f} s",
            "-" if job.bytes is None else f"{job.bytes:,}",
            f"{calls.submit}/{calls.status}/{calls.upload}",
        )
    console = Console()
    console.print(table)
    for job in result.jobs:
        if job.path:
            console.print(f"{job.provider}: {job.path}", markup=False, soft_wrap=True)
        if job.problem:
            console.print(f"{job.provider}: {job.problem}", markup=False, style="red", soft_wrap=True)
    if result.seconds_to_notified_p50 is not None:
        console.print(f"push → notified: {result.seconds_to_notified_p50 * 1000:.0f} ms at the median", highlight=False)
    console.print("all right" if result.ok else "not all right", style="green" if result.ok else "red")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
