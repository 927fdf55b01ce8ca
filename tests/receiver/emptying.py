"""A database that a test is done with, emptied for the next: it is had far sooner than a new one.

Only where nothing but rows was changed, and where nobody is connected any more.
"""

import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql

_SECONDS = 5.0
_LARGEST = 2**20
_FIRST_OF_OURS = 16384
# A row of a catalog is another one, elsewhere in its file, after any change; copying a database changes none.
_CATALOGS = {
    "pg_class": "oid",
    "pg_attribute": "attrelid",
    "pg_attrdef": "oid",
    "pg_index": "indexrelid",
    "pg_constraint": "oid",
    "pg_trigger": "oid",
    "pg_rewrite": "oid",
    "pg_proc": "oid",
    "pg_type": "oid",
    "pg_inherits": "inhrelid",
}
_ROWS = "SELECT ctid::text || ' ' || xmin::text AS row FROM {}"
_OURS_ALONE = sql.SQL(f"{_ROWS} WHERE {{}} >= {_FIRST_OF_OURS}")
_ALL = sql.SQL(_ROWS)
_SIZES = b"""
    SELECT oid::regclass::text, pg_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND oid >= $1 AND pg_relation_size(oid) > 0
"""
_SEQUENCES = b"SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S' AND oid >= $1"
_OTHERS = b"""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True, kw_only=True)
class Emptying:
    """What a database is like that no test has had yet."""

    filled: frozenset[str]
    """The tables that have rows from the start."""
    mark: tuple[Any, ...]

    @classmethod
    def to_be_like(cls, url: str) -> "Emptying":
        """Learn it from such a database."""
        with _connected(url) as connection:
            filled = frozenset(_sizes(connection))
            return cls(filled=filled, mark=_mark(connection, filled))

    def empty(self, url: str) -> bool:
        """Whether this one is like it again; False: it has to be thrown away."""
        try:
            with _connected(url) as connection:
                if not _is_left_alone(connection) or _mark(connection, self.filled) != self.mark:
                    return False
                sizes = _sizes(connection)
                if sum(sizes.values()) > _LARGEST:
                    return False
                # Rows in any order, whatever they refer to.
                connection.execute(b"SET session_replication_role = replica")
                for name in sizes.keys() - self.filled:
                    connection.execute(sql.SQL("DELETE FROM ONLY {}").format(sql.Identifier(name)))
                connection.execute(_SEQUENCES, (_FIRST_OF_OURS,))
                return True
        except psycopg.Error:
            return False


def _connected(url: str) -> Connection[Any]:
    return psycopg.connect(url, autocommit=False, cursor_factory=psycopg.RawCursor)


def _is_left_alone(connection: Connection[Any]) -> bool:
    """Whether all others are gone. Who has just hung up is for a moment still there."""
    end = time.monotonic() + _SECONDS
    while connection.execute(_OTHERS).fetchone() != (0,):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
        connection.rollback()  # what is going on is looked at once a transaction
    return True


def _sizes(connection: Connection[Any]) -> dict[str, int]:
    return dict(connection.execute(_SIZES, (_FIRST_OF_OURS,)).fetchall())


def _mark(connection: Connection[Any], filled: frozenset[str]) -> tuple[Any, ...]:
    """What is another after a change of the schema, of the database's settings, or of the rows in ``filled``."""
    parts = [
        *(_OURS_ALONE.format(sql.Identifier(name), sql.Identifier(key)) for name, key in _CATALOGS.items()),
        *(_ALL.format(sql.Identifier(name)) for name in ("pg_namespace", *sorted(filled))),
    ]
    rows = sql.SQL(" UNION ALL ").join(parts)
    counted = sql.SQL("SELECT count(*), sum(hashtextextended(row, 0)) FROM ({}) AS rows").format(rows)
    settings = b"""
        SELECT count(*) FROM pg_db_role_setting WHERE setdatabase IN
            (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    return (*(connection.execute(counted).fetchone() or ()), *(connection.execute(settings).fetchone() or ()))
