"""An operator's work on the PostgreSQL database, beside receivers that may be running: migrations and questions."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from psycopg import Connection

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.postgres import connection as connecting
from replyhook_receiver.stores.postgres import migrations
from replyhook_receiver.stores.schema_steps import newest


def pending_migrations(url: str) -> list[str]:
    """The steps that are still to be taken. Raises ``ConfigurationError``."""
    with _connected(url) as connection:
        return migrations.pending(connection)


def migrate(url: str) -> list[str]:
    """Take them, all in one transaction; the names of those. Raises ``ConfigurationError``."""
    with _connected(url, read_only=False) as connection:
        connecting.check_in_force(connection)
        return migrations.migrate(connection)


def examine(url: str) -> tuple[int, int]:
    """The schema's number, and the newest. Raises ``ConfigurationError`` for what keeps a receiver from starting."""
    with _connected(url) as connection:
        connecting.check_in_force(connection)
        return migrations.schema_of(connection), newest("postgres")


def rows(url: str, statement: str, *values: str) -> list[Any]:
    """What a question finds. Raises ``ConfigurationError``."""
    with _connected(url) as connection:
        return connecting.PostgreSQLRaw(connection).execute(statement, values).fetchall()


@contextmanager
def _connected(url: str, *, read_only: bool = True) -> Iterator[Connection[Any]]:
    try:
        with closing(connecting.connect(url, read_only=read_only)) as connection:
            yield connection
    except psycopg.Error as error:
        raise ConfigurationError(f"PostgreSQL cannot be used: {connecting.shown_error(error, url)}") from None
