"""The schema in PostgreSQL: brought up to date by whoever starts first, while the others wait."""

from typing import Any

import psycopg
from psycopg import Connection

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.postgres.connection import named
from replyhook_receiver.stores.schema_steps import COPY, HALF_COPIED, number_of, pending_steps

_LOCK = b"SELECT pg_advisory_xact_lock(hashtextextended('replyhook schema ' || current_schema(), 0))"
_PATIENCE = b"SET LOCAL lock_timeout = '120s'; SET LOCAL statement_timeout = 0"
_TABLE = b"CREATE TABLE IF NOT EXISTS replyhook_schema (one BIGINT PRIMARY KEY CHECK (one = 1), step BIGINT)"
_EXISTS = b"SELECT to_regclass('replyhook_schema') IS NOT NULL AS there"


def has_table(connection: Connection[Any], name: str) -> bool:
    """Whether there is such a table in our schema."""
    row = connection.execute(b"SELECT to_regclass($1) IS NOT NULL AS there", (name,)).fetchone()
    return bool(row and row["there"])


def schema_of(connection: Connection[Any]) -> int:
    """The number of the last step that the schema has taken; 0 for an empty one."""
    row = connection.execute(_EXISTS).fetchone()
    if row is None or not row["there"]:
        return 0
    found = connection.execute(b"SELECT step FROM replyhook_schema").fetchone()
    return int(found["step"]) if found else 0


def pending(connection: Connection[Any]) -> list[str]:
    """The names of the steps that are still to be taken. Raises ``ConfigurationError`` for a newer schema."""
    return [step.name.removesuffix(".sql") for step in pending_steps("postgres", schema_of(connection))]


def migrate(connection: Connection[Any]) -> list[str]:
    """Take the steps that are pending, all in one transaction; the names of those.

    Raises ``ConfigurationError`` for a newer schema, and for a step that the database does not take.
    """
    name = "the schema's lock"
    try:
        with connection.transaction():
            connection.execute(_PATIENCE)
            connection.execute(_LOCK)
            _check_place(connection)
            if has_table(connection, COPY):
                raise HALF_COPIED
            found = pending_steps("postgres", schema_of(connection))
            for step in found:
                name = step.name
                connection.execute(step.read_bytes())
                connection.execute(_TABLE)
                connection.execute(
                    b"INSERT INTO replyhook_schema VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET step = excluded.step",
                    (number_of(step),),
                )
            return [step.name.removesuffix(".sql") for step in found]
    except psycopg.Error as error:
        said = error.diag.message_primary or named(error)
        raise ConfigurationError(
            f"the database does not take the step {name} of its schema ({said}), and nothing of it was kept. Its user "
            "has to be allowed to make tables there: GRANT CREATE ON SCHEMA … TO …; a database that was changed by "
            "hand has to be restored from its backup"
        ) from None


def _check_place(connection: Connection[Any]) -> None:
    row = connection.execute(b"SELECT current_schema() AS name").fetchone()
    if row is None or row["name"] is None:
        raise ConfigurationError("none of the schemas in the database's search_path is there: CREATE SCHEMA first")
