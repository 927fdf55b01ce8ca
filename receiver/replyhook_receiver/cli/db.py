"""`replyhook db`: the database itself: migrations, backups, copies, what is old, one user's data."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook.errors import ConfigurationError
from replyhook_receiver.cli.db_copy import copy_database
from replyhook_receiver.cli.exit_codes import NOT_FOUND
from replyhook_receiver.cli.harmless import harmless, harmless_json
from replyhook_receiver.cli.settings import settings_from

if TYPE_CHECKING:
    from replyhook_receiver.config import Settings
    from replyhook_receiver.stores.sql.store import SQLStore

_config = click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="The receiver's settings file (TOML)."
)
_data_dir = click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="The receiver's data folder."
)
_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group()
def db() -> None:
    """The receiver's database: migrations, backups, copies, what is old, one user's data.

    Works on it directly, with the receiver's own settings (flags, REPLYHOOK_…, the file of REPLYHOOK_CONFIG); the
    receiver may go on running meanwhile.
    """


db.add_command(copy_database)


@db.command()
@_config
@_data_dir
@click.option("--dry-run", is_flag=True, help="Only say what is pending; exit code 1 if anything is.")
def migrate(config: Path | None, data_dir: Path | None, dry_run: bool) -> None:
    """Bring the database up to date, and say with what. `replyhook serve` does the same when it starts."""
    from replyhook_receiver.stores import chosen

    settings = _settings(config, data_dir)
    found = chosen.pending_migrations(settings) if dry_run else chosen.migrate(settings)
    for name in found:
        click.echo(name)
    click.echo("nothing is pending" if not found else f"{len(found)} {'pending' if dry_run else 'done'}", err=True)
    if dry_run and found:
        sys.exit(1)


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_config
@_data_dir
def backup(file: Path, config: Path | None, data_dir: Path | None) -> None:
    """Copy the SQLite database to FILE, as it is at one moment, and check the copy. For PostgreSQL there is pg_dump.

    \b
    replyhook db backup "backups/replyhook-$(date +%F).db"

    The copy holds secrets (links, endpoints' secrets) and is readable for you alone. Videos and secrets.json are beside
    the database and are to be backed up, too. To restore: stop the receiver, put the copy in the place of replyhook.db,
    and remove replyhook.db-wal and -shm.
    """
    from replyhook_receiver.stores.sqlite import upkeep

    settings = _settings(config, data_dir)
    if settings.postgres_url is not None:
        raise ConfigurationError(
            "the database is PostgreSQL, which has its own: pg_dump --format=custom --file=… for a copy, or "
            "pg_basebackup with archived WAL to come back to any moment"
        )
    size = upkeep.back_up(settings.database_path, file)
    click.echo(file)
    click.echo(f"{size / 1e6:.1f} MB, checked", err=True)


@db.command()
@_config
@_data_dir
@click.option("--dry-run", is_flag=True, help="Only say how much would go, at most.")
@_output
def prune(config: Path | None, data_dir: Path | None, dry_run: bool, output: str) -> None:
    """Throw away what is older than the keep_…_days settings say, as the receiver does once a day.

    Never what unfinished work needs. In small steps, between which a running receiver's callbacks go first.
    """
    settings = _settings(config, data_dir)
    swept = asyncio.run(_prune(settings, dry_run=dry_run))
    if output == "json":
        click.echo(harmless_json({"dry_run": dry_run, "pruned": dict(swept)}))
        return
    for what, count in sorted(swept.items()):
        click.echo(f"{count}\t{what}")
    if not swept:
        click.echo("nothing is old enough", err=True)
    elif dry_run:
        click.echo("would go, at most; nothing was changed", err=True)


@db.command()
@click.option("--user", required=True, help="Whose jobs: the user they were registered with.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@_config
@_data_dir
@_output
def erase(user: str, yes: bool, config: Path | None, data_dir: Path | None, output: str) -> None:
    """Erase a user: their jobs, callbacks, events, notifications and stored videos. It cannot be undone.

    What remains of a job is its id, so that a late callback never makes it again. Backups hold what they held.
    """
    settings = _settings(config, data_dir)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this cannot be undone: say --yes")
        click.confirm(f"erase everything of {harmless(user)}?", abort=True, err=True)
    jobs, videos = asyncio.run(_erase(settings, user))
    if output == "json":
        click.echo(harmless_json({"jobs": jobs, "videos": videos}))
    else:
        click.echo(f"{jobs} jobs and {videos} videos are erased")
    if jobs == 0:
        click.echo(f"there is no job of {harmless(user)}", err=True)
        sys.exit(NOT_FOUND)


def _settings(config: Path | None, data_dir: Path | None) -> "Settings":
    return settings_from(config, {"data_dir": data_dir})


@asynccontextmanager
async def _opened(settings: "Settings") -> "AsyncIterator[SQLStore]":
    """The store, beside a receiver that may be running. Raises ``ConfigurationError`` where it is not up to date."""
    from replyhook_receiver.stores.chosen import pending_migrations, store_for

    if pending_migrations(settings):
        raise ConfigurationError("the database is of an older replyhook: run replyhook db migrate first")

    def describe(*_: object) -> bytes:
        raise AssertionError("nobody is notified of what is thrown away")

    store = store_for(settings, describe=describe)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _prune(settings: "Settings", *, dry_run: bool) -> Counter[str]:
    from replyhook_receiver.storage.chosen import storage_for
    from replyhook_receiver.work.housekeeping import at_leisure, keep_for, remove_rejected, remove_unwanted

    swept: Counter[str] = Counter()
    async with _opened(settings) as store:
        now = datetime.now(UTC)
        steps = store.retention.prune(keep_for(settings), now=now, dry_run=dry_run)
        async for step in steps if dry_run else at_leisure(steps):
            swept[step.what] += step.count
        if not dry_run:
            storage = storage_for(settings)
            await remove_unwanted(store, storage, now=now)
            swept["rejected files"] += await remove_rejected(storage, now=now)
    return +swept


async def _erase(settings: "Settings", user: str) -> tuple[int, int]:
    from replyhook_receiver.storage.chosen import storage_for
    from replyhook_receiver.work.housekeeping import remove_unwanted

    async with _opened(settings) as store:
        now = datetime.now(UTC)
        jobs = 0
        async for _ in store.erasing.erase(user, now=now):
            jobs += 1
        return jobs, await remove_unwanted(store, storage_for(settings), now=now)
