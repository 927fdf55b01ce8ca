"""The database file, read by a program beside the receiver that may be serving it; nothing is ever written."""

import sqlite3
from pathlib import Path

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.schema_steps import newest
from replyhook_receiver.stores.sqlite.connection import Connection, connect, schema_of


async def connect_to_read(path: Path) -> Connection:
    """A connection that SQLite itself lets write nothing.

    Raises ``ConfigurationError`` for a file that cannot be opened, is no database of ours, or has another schema.
    """
    connection = await connect(path, read_only=True, never_writes=True)
    try:
        found, ours = await connection.work(schema_of), newest("sqlite")
    except sqlite3.Error as error:
        await connection.close()
        raise ConfigurationError(
            f"the database {path} cannot be read ({error}): is it one of replyhook's, and may this user read its "
            "folder? A copy made by `replyhook db backup` can be read anywhere"
        ) from error
    if found != ours:
        await connection.close()
        way = (
            "upgrade" if found > ours else "`replyhook db migrate` brings it up to date, and so does `replyhook serve`"
        )
        raise ConfigurationError(f"the database {path} has the schema {found}, this replyhook reads {ours}: {way}")
    return connection
