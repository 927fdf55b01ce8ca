"""How jobs and estimates are printed: data on stdout as a table, JSON, JSON lines, or ids."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from replyhook_receiver.cli.harmless import harmless, harmless_json

if TYPE_CHECKING:
    from replyhook import JobPage, JobResult
    from replyhook.routing import Estimate

_NONE = "-"
_WIDTH_WITHOUT_TERMINAL = 200
_LONGEST_CELL = 500

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "jsonl", "id"]),
    default="table",
    show_default=True,
    help="How the data on stdout looks.",
)


def print_job(job: "JobResult", output: str) -> None:
    """Print one job."""
    if output == "json":
        click.echo(harmless_json(job))
    else:
        _print(job, output)


def print_page(page: "JobPage", output: str) -> None:
    """Print some jobs; whether there are more goes to stderr, except in JSON."""
    if output == "json":
        click.echo(harmless_json(page))
        return
    _print(page.data, output)
    if page.has_more:
        click.echo(f"there are more: --before {harmless(page.next or page.data[-1].id)}", err=True)


def print_estimates(estimates: "Sequence[Estimate]", output: str) -> None:
    """Print what each provider would make of a job; ``id`` names those that would be asked, in that order."""
    plain = [
        {
            "provider": each.provider,
            "price": {"lowest": each.price.lowest, "highest": each.price.highest} if each.price else None,
            "problem": str(each.problem) if each.problem else None,
        }
        for each in estimates
    ]
    if output == "json":
        click.echo(harmless_json({"data": plain}))
    elif output == "jsonl":
        for entry in plain:
            click.echo(harmless_json(entry, indent=False))
    elif output == "id":
        for each in estimates:
            if each.problem is None:
                click.echo(each.provider)
    else:
        has_problems = any(each.problem for each in estimates)
        rows = [
            (
                each.provider,
                str(each.price or (_NONE if each.problem else "not published")),
                *([str(each.problem or "")] if has_problems else []),
            )
            for each in estimates
        ]
        print_rows(("provider", "price", *["why not"] * has_problems), rows)


def _print(jobs: "Sequence[JobResult] | JobResult", output: str) -> None:
    listed = jobs if isinstance(jobs, Sequence) else [jobs]
    if output == "id":
        lines = [job.id for job in listed]
    elif output == "jsonl":
        lines = [harmless_json(job, indent=False) for job in listed]
    else:
        _print_table(listed)
        return
    for line in lines:
        click.echo(line)


def _print_table(jobs: "Sequence[JobResult]") -> None:
    reasons = [_why(job) for job in jobs]
    has_reasons = any(reasons)
    rows = [
        (
            job.id,
            job.provider,
            f"{job.status} {job.progress} %" if job.progress is not None else job.status.value,
            job.video.status.value,
            job.reference,
            f"{job.created_at:%Y-%m-%d %H:%M:%S}",
            *([why] if has_reasons else []),
        )
        for job, why in zip(jobs, reasons, strict=True)
    ]
    print_rows(("job", "provider", "status", "video", "reference", "created", *["why"] * has_reasons), rows)


def _why(job: "JobResult") -> str | None:
    if job.error is not None:
        return job.error.message
    waits = f"waits for {job.waiting_for}" if job.waiting_for else None
    return (None if job.status.is_terminal else job.overdue_reason) or waits or job.video.problem


def print_values(values: dict[str, Any], output: str) -> None:
    """Print one object as it came, readable or as one line; what a terminal would act upon is escaped."""
    click.echo(harmless_json(values, indent=output == "json"))


def print_rows(headings: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    """Print a table; whatever stands in it is text, and moves no cursor."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)
    if sys.stdout.isatty() and _natural_width(headings, rows) > console.width:
        _print_blocks(headings, rows)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for place, heading in enumerate(headings):
        table.add_column(heading, no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(
            *(Text(harmless(cell or _NONE, longest=_LONGEST_CELL)) for cell in row)
        )  # as text: nobody's words are markup
    console.print(table)


def _natural_width(headings: Sequence[str], rows: Sequence[Sequence[str | None]]) -> int:
    columns = zip(headings, *rows, strict=True)
    return sum(max(len(cell or _NONE) for cell in column) + 2 for column in columns)


def _print_blocks(headings: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    """A table too wide for the terminal, row by row: columns of a few letters each nobody can read."""
    widest = max(map(len, headings))
    for first, *rest in rows:
        click.echo(harmless(first or _NONE, longest=_LONGEST_CELL))
        for heading, cell in zip(headings[1:], rest, strict=True):
            if cell is not None:
                click.echo(f"  {heading:<{widest}}  {harmless(cell, longest=_LONGEST_CELL)}")
