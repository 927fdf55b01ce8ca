"""How what the receiver tells of callbacks and events is printed: tables, JSON, JSON lines, ids."""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from replyhook_receiver.cli.harmless import harmless, harmless_json
from replyhook_receiver.cli.shown import print_rows

LONGEST_CELL = 200
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Row = Callable[[dict[str, Any]], Sequence[str | None]]


def print_found(page: dict[str, Any], output: str, headings: Sequence[str], row: Row) -> None:
    """Print a page of what has ids; whether there is more goes to stderr, except in JSON."""
    listed = page["data"]
    if output == "json":
        click.echo(harmless_json(page))
        return
    if output == "table":
        print_rows(headings, [row(entry) for entry in listed])
    for entry in listed if output != "table" else ():
        click.echo(harmless(entry["id"]) if output == "id" else harmless_json(entry, indent=False))
    if page.get("has_more"):
        click.echo(f"there are more: --before {harmless(page['next'])}", err=True)


def told_in_words(told: dict[str, Any] | None) -> str:
    """What was read in a callback, in a few words."""
    if told is None:
        return "nothing that could be read"
    status = told["status"] or f"an unknown word, {told['word']!r}"
    progress = "" if told["progress"] is None or told["status"] == "succeeded" else f" {told['progress']} %"
    no_result = ", without its result" if told["status"] == "succeeded" and not told["has_result"] else ""
    error = told["error"] or {}
    code = f" ({error['code']})" if error.get("code") else ""
    reason = f": {error['message']}{code}" if error else ""
    return harmless(f"{status}{progress}{no_result}{reason}", longest=LONGEST_CELL)


def when(text: str) -> str:
    """A time of the receiver's as a person reads it, UTC."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"


def read_moment(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """An option's time: 2026-11-21T09:30:00Z, or so long ago: 90s, 30m, 2h, 7d. In ISO 8601, with its zone."""
    if value is None:
        return None
    try:
        if value[-1:] in _UNITS and value[:-1].isascii() and value[:-1].isdecimal() and len(value) < 8:
            return (datetime.now(UTC) - timedelta(**{_UNITS[value[-1]]: int(value[:-1])})).isoformat()
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        words = f"{value!r} is neither a time such as 2026-11-21T09:30:00Z nor one ago such as 2h"
        raise click.BadParameter(words, ctx=ctx, param=param) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def is_terminal() -> bool:
    """Whether a person reads what is printed."""
    return sys.stdout.isatty()
