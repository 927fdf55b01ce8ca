"""`replyhook bench ingest --database`: receivers on one PostgreSQL."""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook.errors import ConfigurationError
from replyhook_receiver.extras import how_to_install

if TYPE_CHECKING:
    from replyhook_receiver.bench.shared import SharedResult


def ingest_shared(
    *,
    folder: Path | None,
    database: str | None,
    receivers: str,
    rounds: int,
    requests: int,
    connections: int,
    already_stored: int,
    as_json: bool,
) -> None:
    """Measure, and print."""
    if find_spec("psycopg") is None:
        raise ConfigurationError(f"to measure PostgreSQL needs more: {how_to_install('bench')}")
    import uvloop

    from replyhook_receiver.bench.shared import SharedOptions, run_shared

    numbers = receivers.replace(" ", "").split(",")
    if not all(number.isdecimal() and 1 <= int(number) <= 16 for number in numbers):
        raise click.BadParameter("--receivers is a list like 1,2: from 1 to 16 each")
    with tempfile.TemporaryDirectory(prefix="replyhook-bench-", dir=folder) as place:
        options = SharedOptions(
            folder=Path(place),
            database=database,
            receivers=tuple(int(number) for number in numbers),
            rounds=rounds,
            requests=requests,
            connections=connections,
            already_stored=already_stored,
        )
        result = uvloop.run(run_shared(options, say=lambda text: click.echo(text, err=True)))
    if as_json:
        click.echo(result.as_json())
    else:
        _show(result)


def _show(result: "SharedResult") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, title=f"{result.rounds} rounds of {result.requests:,} callbacks, PostgreSQL"
    )
    for heading in (
        "receivers",
        "stored",
        "requests/s",
        "ratio",
        "p50, p99 ms",
        "receiver µs",
        "PostgreSQL µs",
        "a commit",
    ):
        table.add_column(heading, no_wrap=True, justify="right")
    for case in result.cases:
        table.add_row(
            str(case.receivers),
            f"{case.stored:,}",
            f"{case.requests_per_s:,.0f}",
            f"{case.ratio:.2f}",
            f"{case.p50_ms:.1f}, {case.p99_ms:.1f}",
            f"{case.receiver_us:.0f}",
            _microseconds(case.postgres_us),
            f"{case.callbacks_per_commit:.1f}",
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(
        f"the same rows alone, {result.limit_batch} callbacks' a commit: {result.limit_per_s:,.0f}/s, "
        f"{_microseconds(result.limit_us)} µs of PostgreSQL; one receiver reaches {result.one_to_limit:.2f} of it",
        highlight=False,
    )
    drained = ", ".join(f"{many}: {speed:,.0f}/s" for many, speed in result.tasks_per_s.items())
    console.print(
        f"tasks that do nothing, by worker processes: {drained}; {result.worker_us:.0f} µs of the worker, "
        f"{_microseconds(result.postgres_us_of_a_task)} µs of PostgreSQL each",
        highlight=False,
    )
    console.print(
        f"deliveries to 100 endpoints, without their sending, one worker: {result.deliveries_per_s:,.0f}/s; "
        f"{result.delivery_worker_us:.0f} µs of the worker, {_microseconds(result.delivery_postgres_us)} µs of "
        "PostgreSQL each",
        highlight=False,
    )


def _microseconds(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.0f}"
