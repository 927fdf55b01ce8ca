"""`replyhook keys`: API keys: make, list, revoke; over the API, or straight on the database file."""

import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import msgspec

from replyhook.errors import JobNotFound
from replyhook_receiver.cli.asking import ask
from replyhook_receiver.cli.harmless import harmless, harmless_json
from replyhook_receiver.cli.history_shown import when
from replyhook_receiver.cli.on_file import reads_database, sqlite_file
from replyhook_receiver.cli.shown import output_option, print_rows

T = TypeVar("T")

_HEADINGS = ("key", "begins with", "name", "scopes", "user", "state", "last used", "expires")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST_COUNT = 5

database_option = click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    callback=sqlite_file,
    help="The receiver's database file, to work on it without the API; the receiver may be running on it.",
)


@click.group()
def keys() -> None:
    """API keys, each with scopes, perhaps a user and an end.

    \b
    submit   submit jobs
    read     see jobs, videos, callbacks, events, deliveries, endpoints; hear the stream
    operate  read, and replay, retry, and change endpoints
    admin    everything, these keys too

    Needs REPLYHOOK_RECEIVER_URL and, in REPLYHOOK_API_KEY, a key with admin: the receiver's settings hold the first
    one. With --database FILE it needs neither.
    """


@keys.command()
@click.option("--name", help="What you call it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["submit", "read", "operate", "admin"]),
    default=("submit", "read"),
    show_default="submit and read",
    help="What it may do; several times for several.",
)
@click.option("--user", help="Only this user's jobs and what belongs to them; not with admin.  [default: everybody's]")
@click.option("--expires", metavar="WHEN", help="When it ends: 90d, 12h, or 2027-01-31T12:00:00Z.  [default: never]")
@database_option
@click.option(
    "-o", "--output", type=click.Choice(["key", "json"]), default="key", show_default=True, help="What is on stdout."
)
def create(
    name: str | None, scopes: tuple[str, ...], user: str | None, expires: str | None, database: Path | None, output: str
) -> None:
    """Make a key and print it, this once: the receiver keeps a hash of it.

    \b
    export REPLYHOOK_API_KEY=$(replyhook keys create --name "the web shop")
    replyhook keys create --scope operate --user u_7 --expires 90d
    replyhook keys create --scope admin --database replyhook-data/replyhook.db
    """
    expires_at = None if expires is None else _time(expires, datetime.now(UTC))
    content = {"name": name, "scopes": list(dict.fromkeys(scopes)), "user": user, "expires_at": expires_at}
    made = ask("POST", "/v1/keys", content=_json(content)) if database is None else _create(database, content)
    if output == "json":
        click.echo(harmless_json(made))
        return
    click.echo(made["key"])
    click.echo(f"{made['id']}: shown this once; replyhook keys revoke {made['id']} takes it back", err=True)


@keys.command("list")
@click.option("--before", help="Only those older than this key.")
@click.option("--limit", type=click.IntRange(1, 100), default=50, show_default=True, help="At most so many.")
@reads_database
@output_option
def list_keys(before: str | None, limit: int, output: str) -> None:
    """List the keys, newest first, the revoked ones too. Those in the receiver's settings are not among them."""
    page = ask("GET", "/v1/keys", query={"before": before, "limit": limit})
    if output == "json":
        click.echo(harmless_json(page))
        return
    _print(page["data"], output)
    if page["has_more"]:
        click.echo(f"there are more: --before {harmless(page['next'])}", err=True)


@keys.command()
@click.argument("key")
@database_option
def revoke(key: str, database: Path | None) -> None:
    """Take a key back, by its id (key_...): it opens nothing from now on; streams that it opened end within 30 s."""
    if database is None:
        ask("DELETE", f"/v1/keys/{quote(key, safe='')}")
    else:
        _revoke(database, key)
    click.echo(f"{harmless(key)} is revoked", err=True)


def _create(database: Path, content: dict[str, Any]) -> dict[str, Any]:
    from replyhook_receiver.keys import checked_key
    from replyhook_receiver.stores.sql.keys import create_key
    from replyhook_receiver.web.keys import shown_key

    now = datetime.now(UTC)
    wanted = checked_key(**content, now=now)
    record, key = _on_file(database, lambda raw: create_key(raw, wanted, now))
    return _json({**shown_key(record, now), "key": key})


def _revoke(database: Path, key_id: str) -> None:
    from replyhook_receiver.stores.sql.keys import revoke_key

    _on_file(database, lambda raw: revoke_key(raw, key_id, datetime.now(UTC)))


def _on_file(database: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    from replyhook_receiver.errors import StoreUnavailable, UnknownKey
    from replyhook_receiver.stores.sqlite.beside import work_beside

    try:
        return work_beside(database, work)
    except UnknownKey as error:
        raise JobNotFound(str(error)) from error  # as the API's 404 is called here
    except StoreUnavailable as error:
        raise click.ClickException(str(error)) from error


def _json(content: dict[str, Any]) -> dict[str, Any]:
    """As the API would take or tell it."""
    plain: dict[str, Any] = msgspec.to_builtins(content)
    return plain


def _time(text: str, now: datetime) -> datetime:
    found = re.fullmatch(rf"([0-9]{{1,{_LONGEST_COUNT}}})([{''.join(_UNITS)}])", text)
    if found is not None:
        return now + timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--expires {text[:40]}: wanted is 90d, 12h, or 2027-01-31T12:00:00Z") from None
    return when if when.tzinfo else when.astimezone()


def _print(listed: list[dict[str, Any]], output: str) -> None:
    if output == "jsonl":
        for each in listed:
            click.echo(harmless_json(each, indent=False))
    elif output == "id":
        for each in listed:
            click.echo(each["id"])
    else:
        print_rows(_HEADINGS, [_row(each) for each in listed])


def _row(each: dict[str, Any]) -> tuple[str | None, ...]:
    scopes, user = " ".join(each["scopes"]), each["user"] or "everybody"
    times = tuple(when(each[name]) if each[name] else "never" for name in ("last_used_at", "expires_at"))
    return each["id"], f"{each['starts_with']}…", each["name"], scopes, user, each["state"], *times
