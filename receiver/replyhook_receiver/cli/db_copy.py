"""`replyhook db copy`: from one database to another, such as from SQLite to PostgreSQL."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook.errors import ConfigurationError

if TYPE_CHECKING:
    from replyhook_receiver.stores.copying import Copied


@click.command("copy")
@click.option("--from", "source", required=True, help="The database there is: a URL, or @FILE with one in it.")
@click.option("--to", "target", required=True, help="The empty one: a URL, or @FILE with one in it.")
@click.option("--without-hold", is_flag=True, help="Copy what is not on hold, too: served, its work begins at once.")
def copy_database(source: str, target: str, without_hold: bool) -> None:
    """Copy everything to another, empty database: from SQLite to PostgreSQL, or back.

    \b
    replyhook hold on                  # nothing new is begun; let what is under way end
    systemctl stop replyhook           # nobody may serve either database meanwhile
    replyhook db copy --from sqlite:///var/lib/replyhook/replyhook.db --to @/run/secrets/replyhook-database-url
    systemctl start replyhook          # with database_url = the new one: it starts on hold
    replyhook hold off

    The source is only read; one that is not on hold is refused. A copy that was cut goes on when the same command is
    run again; until it is whole, no receiver starts on the target. At the end every table of both is read and compared;
    its checksum is printed.
    @FILE keeps a password out of the list of processes. Videos and secrets.json stay where they are.
    """
    from replyhook_receiver.stores.chosen import copy_side
    from replyhook_receiver.stores.copying import copy

    with (
        copy_side(_read(source), is_target=False) as read,
        copy_side(_read(target), is_target=True) as written,
    ):
        for step in copy(read, written, without_hold=without_hold):
            _show(step)
    click.echo("the copy is whole: every table was compared", err=True)


def _show(step: "Copied") -> None:
    if step.digest is None:
        click.echo(f"{step.table}: {step.rows:,} of {step.of:,}", err=True)
    else:
        click.echo(f"{step.table}\t{step.rows}\t{step.digest}")


def _read(named: str) -> str:
    """The URL itself, or what is in the file that is named."""
    if not named.startswith("@"):
        return named
    try:
        return Path(named[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{named[1:]} cannot be read: {getattr(error, 'strerror', None) or 'no text'}"
        ) from error
