"""`replyhook bench pruning`: whether throwing away what is old holds up callbacks."""

import asyncio
import sys
import tempfile
from pathlib import Path

import click

from replyhook_receiver.cli.bench_live import directory_option, json_option


@click.command()
@click.option(
    "--stored",
    type=click.IntRange(500, 10_000_000),
    default=3_000,
    show_default=True,
    help="Old callbacks to throw away.",
)
@click.option("--rate", type=click.FloatRange(1, 5_000), default=400.0, show_default=True, help="Callbacks a second.")
@click.option(
    "--windows",
    type=click.IntRange(1, 1_000),
    default=6,
    show_default=True,
    help="Windows of 4 s of each kind, in turn.",
)
@click.option("--quick", is_flag=True, help="One short window of each: to see that it runs, not to quote.")
@directory_option
@json_option
def pruning(stored: int, rate: float, windows: int, quick: bool, directory: Path | None, as_json: bool) -> None:
    """Keep callbacks on SQLite at a steady rate, with and without a round of throwing away beside them.

    The database holds callbacks of over a year ago, whose bodies, notifications and rows may all go. Windows without
    and with the round at work take turns. Exit code 1 unless rows were thrown away and every new callback was kept.
    """
    from replyhook_receiver.bench.pruning import PruningOptions, run_pruning

    with tempfile.TemporaryDirectory(prefix="replyhook-bench-", dir=directory) as folder:
        options = PruningOptions(
            folder=Path(folder),
            stored=min(stored, 1_000) if quick else stored,
            per_s=rate,
            windows=1 if quick else windows,
            seconds=1.5 if quick else 4.0,
        )
        result = asyncio.run(run_pruning(options, say=lambda text: click.echo(text, err=True)))
    if as_json:
        click.echo(result.as_json())
    else:
        for name, waits in (("without a round", result.alone), ("with one at work", result.beside)):
            click.echo(
                f"{name}: {waits.callbacks:,} callbacks, on disk after p50 {waits.p50_ms:g}, p99 {waits.p99_ms:g}, "
                f"at most {waits.max_ms:g} ms"
            )
        thrown = ", ".join(f"{count:,} {what}" for what, count in result.thrown_away.items() if count)
        click.echo(f"p99 with to without: {result.p99_ratio:g}; thrown away meanwhile: {thrown or 'nothing'}")
        click.echo(f"new callbacks that were not kept: {result.lost:,}")
    if not result.ok:
        sys.exit(1)
