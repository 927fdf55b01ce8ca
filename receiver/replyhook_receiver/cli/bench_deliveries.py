"""`replyhook bench deliveries`: what workers bring from one PostgreSQL."""

import sys

import click

from replyhook_receiver.cli.bench_live import json_option


@click.command()
@click.option(
    "--database",
    default="new",
    show_default=True,
    help="The postgresql://… to measure on, or a `new` one of its own; databases are made there and removed again.",
)
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Rounds of all cases in turn."
)
@click.option(
    "--count", type=click.IntRange(50, 1_000_000), default=1_000, show_default=True, help="Deliveries a case."
)
@click.option(
    "--round-trip-ms",
    type=click.FloatRange(0, 100),
    default=0.0,
    show_default=True,
    help="Put a wire that takes so long, there and back, between the workers and PostgreSQL.",
)
@click.option("--quick", is_flag=True, help="One round of 200: to see that it runs, not to quote.")
@json_option
def deliveries(database: str, rounds: int, count: int, round_trip_ms: float, quick: bool, as_json: bool) -> None:
    """Drain deliveries that wait, to one endpoint and to a hundred, by one worker and by two, limits as they are set.

    Each is of a job of its own, and ends well without anything being sent: what is measured is the deciding, claiming
    and keeping, which all workers of a database do one after another.
    """
    import uvloop

    from replyhook_receiver.bench.deliveries import DeliveriesOptions, run_deliveries
    from replyhook_receiver.serving import configure_logging

    configure_logging("error")
    options = DeliveriesOptions(
        database=None if database == "new" else database,
        rounds=1 if quick else rounds,
        count=min(count, 200) if quick else count,
        round_trip_ms=round_trip_ms,
    )
    result = uvloop.run(run_deliveries(options, say=lambda text: click.echo(text, err=True)))
    if as_json:
        click.echo(result.as_json())
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        title=f"{result.rounds} rounds of {result.count:,} deliveries; a round trip takes {result.round_trip_ms:g} ms",
    )
    for heading in ("endpoints", "workers", "deliveries/s", "worker µs", "PostgreSQL µs"):
        table.add_column(heading, no_wrap=True, justify="right")
    for case in result.cases:
        of_postgres = "-" if case.postgres_us is None else f"{case.postgres_us:,.0f}"
        figures = (f"{case.per_s:,.0f}", f"{case.worker_us:,.0f}", of_postgres)
        table.add_row(f"{case.endpoints:,}", str(case.workers), *figures)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
