"""`replyhook bench`: how fast this receiver is, beside others, on this machine."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook_receiver.cli.bench_deliveries import deliveries
from replyhook_receiver.cli.bench_engine import engine
from replyhook_receiver.cli.bench_live import latency, streams
from replyhook_receiver.cli.bench_pruning import pruning
from replyhook_receiver.cli.bench_shared import ingest_shared
from replyhook_receiver.extras import how_to_install

if TYPE_CHECKING:
    from replyhook_receiver.bench import IngestResult


@click.group()
def bench() -> None:
    """Measure this receiver beside other ways, in one run, as ratios.

    Nothing here needs an account or the network; everything that is started is on loopback and ends with the command.
    """


bench.add_command(streams)
bench.add_command(latency)
bench.add_command(engine)
bench.add_command(pruning)
bench.add_command(deliveries)


@bench.command()
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="Rounds of all cases in turn."
)
@click.option(
    "--requests", type=click.IntRange(100, 1_000_000), default=5_000, show_default=True, help="Callbacks a round."
)
@click.option("--connections", type=click.IntRange(1, 1_000), default=64, show_default=True, help="Senders at a time.")
@click.option(
    "--stored",
    type=click.IntRange(0, 100_000_000),
    default=0,
    show_default=True,
    help="Also measure a database that holds so many callbacks already; a million takes minutes to make.",
)
@click.option("--quick", is_flag=True, help="2 rounds of 1,000: to see that it runs, not to quote.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder on the disk to be measured; what is made there is removed.  [default: the system's temporary one]",
)
@click.option("--database", help="Measure receivers on this postgresql://… instead, or on a `new` one of its own.")
@click.option("--receivers", default="1,2", show_default=True, help="With --database: how many of them, in turn.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def ingest(
    rounds: int,
    requests: int,
    connections: int,
    stored: int,
    quick: bool,
    directory: Path | None,
    database: str | None,
    receivers: str,
    as_json: bool,
) -> None:
    """Take callbacks as fast as they come: verified, stored with fsync, each with its event, job and task.

    Compared in one run, in turn, with the server on one core and the load on another: a bare Starlette route that only
    reads the body (bare), this receiver with a token alone (token) and with fal's signatures (fal), and the usual
    hand-written way, FastAPI and SQLAlchemy with a commit for each callback (handwritten, when
    the extra [bench] has brought its packages).

    With --database one and two receivers on one PostgreSQL, with the CPU time of each, beside what that PostgreSQL
    takes of the same rows with nothing around them; databases are made there and removed again.
    """
    import uvloop

    from replyhook_receiver.bench import IngestOptions, has_handwritten, run_ingest
    from replyhook_receiver.serving import configure_logging

    configure_logging("error")
    if database is not None:
        ingest_shared(
            folder=directory,
            database=None if database == "new" else database,
            receivers=receivers,
            rounds=2 if quick else rounds,
            requests=1_000 if quick else requests,
            connections=connections,
            already_stored=min(stored, 20_000) if quick else stored,
            as_json=as_json,
        )
        return
    if not has_handwritten():
        click.echo(f"the hand-written case is left out: {how_to_install('bench')}", err=True)
    with tempfile.TemporaryDirectory(prefix="replyhook-bench-", dir=directory) as folder:
        options = IngestOptions(
            folder=Path(folder),
            rounds=2 if quick else rounds,
            requests=1_000 if quick else requests,
            connections=connections,
            already_stored=stored,
        )
        result = uvloop.run(run_ingest(options, say=lambda text: click.echo(text, err=True)))
    if as_json:
        click.echo(result.as_json())
    else:
        _show(result)


@bench.command()
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="Rounds of all cases in turn."
)
@click.option(
    "--mebibytes", type=click.IntRange(1, 100_000), default=256, show_default=True, help="Size of the video in MiB."
)
@click.option("--quick", is_flag=True, help="2 rounds of 32 MiB: to see that it runs, not to quote.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder on the disk to be measured; what is made there is removed.  [default: the system's temporary one]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def download(rounds: int, mebibytes: int, quick: bool, directory: Path | None, as_json: bool) -> None:
    """Fetch a video as the receiver does: address checked, sniffed, hashed, resumable, synced, renamed.

    Compared in one run, in turn, with a bare httpx stream into a file, and with one that waits for the disk, too. The
    media host is a process of its own on loopback.
    """
    import uvloop

    from replyhook_receiver.bench import DownloadOptions, run_download
    from replyhook_receiver.serving import configure_logging

    configure_logging("error")
    with tempfile.TemporaryDirectory(prefix="replyhook-bench-", dir=directory) as folder:
        options = DownloadOptions(
            folder=Path(folder), rounds=2 if quick else rounds, mebibytes=32 if quick else mebibytes
        )
        result = uvloop.run(run_download(options, say=lambda text: click.echo(text, err=True)))
    if as_json:
        click.echo(result.as_json())
    else:
        click.echo(f"bare httpx stream to disk      {result.bare:8,.0f} MiB/s")
        click.echo(f"the same, and fsync            {result.bare_synced:8,.0f} MiB/s")
        click.echo(f"replyhook                      {result.ours:8,.0f} MiB/s")
        met = "reached" if result.met else "not reached"
        click.echo(
            f"ratio to bare: {result.ratio:.2f} (aim 0.8: {met}); to bare and fsync: {result.ratio_to_synced:.2f}"
        )
        click.echo(f"memory added by a video of {result.mebibytes} MiB: {result.added_memory_mib:.1f} MiB")


def _show(result: "IngestResult") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    title = f"{result.rounds} rounds of {result.requests:,} callbacks over {result.connections} connections"
    pinned = "server on one core, load on another" if result.pinned else "not pinned to cores: too few of them here"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title, caption=pinned)
    headings = (
        "case",
        "requests/s",
        "ratio",
        "p50 ms",
        "p99 ms",
        "CPU µs",
        "ok",
        "stored",
        "a commit",
        "fsyncs",
    )
    for heading in headings:
        table.add_column(heading, no_wrap=True, justify="left" if heading == "case" else "right")
    for case in result.cases:
        table.add_row(
            case.name,
            f"{case.requests_per_s:,.0f}",
            f"{case.ratio:.3f}",
            f"{case.p50_ms:.2f}",
            f"{case.p99_ms:.2f}",
            f"{case.cpu_us_per_request:.0f}",
            f"{case.acknowledged:,}",
            "-" if case.stored is None else f"{case.stored:,}",
            "-" if case.callbacks_per_commit is None else f"{case.callbacks_per_commit:.1f}",
            "-" if case.fsyncs_per_callback is None else f"{case.fsyncs_per_callback:.3f}",
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for comparison in result.comparisons:
        if comparison.figure is not None:
            met = "reached" if comparison.met else "not reached"
            console.print(f"{comparison.what}: {comparison.figure:g} (aim {comparison.wanted}: {met})", highlight=False)
    steps = ", ".join(f"{name} {microseconds:g}" for name, microseconds in result.steps_us.items())
    console.print(f"µs a step: {steps}; the disk's fsync takes {result.fsync_us:g} µs", highlight=False)
