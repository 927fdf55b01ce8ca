"""A PostgreSQL database as one side of a copy: whoever else would write to it waits, and is turned away."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from psycopg import Connection

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.postgres import migrations
from replyhook_receiver.stores.postgres.connection import (
    PostgreSQLRaw,
    check_in_force,
    connect,
    named,
    options_of,
    shown_error,
)
from replyhook_receiver.stores.schema_steps import COPY
from replyhook_receiver.stores.sql.connection import Raw

_LEDGER = ("rowid", "id", "provider", "account", "job_id", "source", "received_ms", "trust", "verdict", "event_key")
_KEEP_LEDGER = f"""
    INSERT INTO callback_ledger ({", ".join(_LEDGER)}, bytes) OVERRIDING SYSTEM VALUE
    VALUES ({", ".join("?" for _ in _LEDGER)}, ?)
"""  # noqa: S608 - our own names
_KEEP_BODY = "INSERT INTO callback_bodies (callback_id, headers, body, raw_bytes) VALUES (?, ?, ?, ?)"
_GO_ON = "SELECT setval(pg_get_serial_sequence('callback_ledger', 'rowid'), max(rowid)) FROM callback_ledger"
_TABLES = """
    SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
_OTHERS = b"""
    SELECT count(*) AS others FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'replyhook' AND pid <> pg_backend_pid()
"""
# The lock that every writer's transaction takes: what it keeps out waits, and gives up.
_BE_ALONE = b"SELECT pg_try_advisory_lock(hashtextextended('replyhook ' || current_schema(), 0)) AS mine"
_PATIENCE = b"SELECT set_config('statement_timeout', '0', false), set_config('application_name', $1, false)"


class PostgreSQLSide:
    """The ``Side`` over one connection."""

    def __init__(self, connection: Connection[Any], name: str) -> None:
        self.raw: Raw = PostgreSQLRaw(connection)
        self.name = name
        self.emptying = _emptying(self.raw)
        self._connection = connection

    @contextmanager
    def transaction(self) -> Iterator[Raw]:
        with self._connection.transaction(), self._connection.pipeline() as pipeline:
            raw = PostgreSQLRaw(self._connection, pipeline)
            yield raw
            raw.wait()

    def tables(self) -> set[str]:
        found = {row["name"] for row in self.raw.execute(_TABLES)}
        if {"callback_ledger", "callback_bodies"} <= found:  # "callbacks" shows both as one
            found = found - {"callback_ledger", "callback_bodies"} | {"callbacks"}
        return found

    def insert(self, raw: Raw, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if table == "callbacks":
            _insert_callbacks(raw, [dict(zip(columns, row, strict=True)) for row in rows])
            return
        named, marks = ", ".join(f'"{column}"' for column in columns), ", ".join("?" for _ in columns)
        raw.executemany(f"INSERT INTO {table} ({named}) VALUES ({marks})", rows)  # noqa: S608 - ours

    def settle(self) -> None:
        self.raw.execute(_GO_ON).fetchone()
        self.raw.execute("ANALYZE")


def _emptying(raw: Raw) -> str:
    """The command, which finds the database in a variable: its URL is shown to nobody."""
    row = raw.execute("SELECT quote_ident(current_schema()) AS schema").fetchone()
    schema = row["schema"]
    statements = shlex.quote(f"DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}")
    return f'psql "$DATABASE_URL" -c {statements}'


def _insert_callbacks(raw: Raw, rows: Sequence[dict[str, Any]]) -> None:
    raw.executemany(
        _KEEP_LEDGER,
        [
            (
                *(row[column] for column in _LEDGER),
                len(row["body"]) if row["raw_bytes"] is None else row["raw_bytes"],
            )
            for row in rows
        ],
    )
    # A body that was dropped is not there, neither here nor there.
    kept = [row for row in rows if row["raw_bytes"] is None or row["body"]]
    raw.executemany(_KEEP_BODY, [(row["id"], row["headers"], row["body"], row["raw_bytes"]) for row in kept])


@contextmanager
def a_side(url: str, *, is_target: bool) -> Iterator[PostgreSQLSide]:
    """The database, with all other writers kept out. Raises ``ConfigurationError``, also where there are any."""
    name = f"the PostgreSQL database {options_of(url).get('dbname', '')}".strip()
    try:
        with closing(connect(url)) as connection:
            connection.execute(_PATIENCE, ("replyhook copy",))
            _be_alone(connection, name)
            _prepare(connection, name, is_target=is_target)
            if not is_target:
                connection.execute(b"SET default_transaction_read_only = on")
            yield PostgreSQLSide(connection, name)
    except psycopg.OperationalError as error:
        raise ConfigurationError(f"PostgreSQL cannot be used: {shown_error(error, url)}") from None
    except psycopg.Error as error:  # whose message may hold the values of a row
        raise ConfigurationError(f"{name} does not take the copy ({named(error)})") from None


def _be_alone(connection: Connection[Any], name: str) -> None:
    for row in connection.execute(_OTHERS):
        if row["others"]:
            raise ConfigurationError(
                f"{name} is used by receivers or workers ({row['others']} connections). A copy needs it still: pause "
                "the work (replyhook hold on), let what is under way end, stop all of them, then copy"
            )
    for row in connection.execute(_BE_ALONE):
        if not row["mine"]:
            raise ConfigurationError(f"{name} is being written, or copied, by somebody else at this moment")


def _prepare(connection: Connection[Any], name: str, *, is_target: bool) -> None:
    if is_target:
        check_in_force(connection)
        if not migrations.has_table(connection, COPY):
            migrations.migrate(connection)
    if migrations.pending(connection):
        raise ConfigurationError(f"{name} is of an older replyhook: run replyhook db migrate on it first")
