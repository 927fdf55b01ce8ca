"""A SQLite file as one side of a copy: nobody serves it meanwhile."""

import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.schema_steps import COPY
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sqlite import connection
from replyhook_receiver.stores.sqlite.private import make_private
from replyhook_receiver.stores.sqlite.serving_lock import held, holder_of

_SECONDS = 10.0
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


class SQLiteSide:
    """The ``Side`` over one file."""

    def __init__(self, raw: sqlite3.Connection, path: Path) -> None:
        self.raw: Raw = raw
        self.name = f"the database {path}"
        self.emptying = shlex.join(["rm", "-f", "--", *(f"{path}{end}" for end in ("", "-wal", "-shm"))])
        self._sqlite = raw

    @contextmanager
    def transaction(self) -> Iterator[Raw]:
        self._sqlite.execute("BEGIN IMMEDIATE")
        try:
            yield self.raw
        except BaseException:
            self._sqlite.execute("ROLLBACK")
            raise
        self._sqlite.execute("COMMIT")

    def tables(self) -> set[str]:
        return {row["name"] for row in self.raw.execute(_TABLES)}

    def insert(self, raw: Raw, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        named, marks = ", ".join(f'"{column}"' for column in columns), ", ".join("?" for _ in columns)
        raw.executemany(f"INSERT INTO {table} ({named}) VALUES ({marks})", rows)  # noqa: S608 - ours

    def settle(self) -> None:
        """Nothing: SQLite goes on after the largest number that there was."""


@contextmanager
def a_side(path: Path, *, is_target: bool) -> Iterator[SQLiteSide]:
    """The file, held as if it were served. Raises ``ConfigurationError``, also where somebody does serve it."""
    if not is_target and not path.is_file():
        raise ConfigurationError(f"there is no database {path}: is this the receiver's data_dir?")
    if path.is_file() and (holder := holder_of(path)) is not None:
        raise ConfigurationError(
            f"the database {path} is served by {holder}. A copy needs it still: pause the work (replyhook hold on), "
            "let what is under way end, stop the receiver, then copy"
        )
    try:
        with held(path):
            if is_target:
                make_private(path)
            with closing(sqlite3.connect(path, isolation_level=None, timeout=_SECONDS)) as raw:
                raw.row_factory = sqlite3.Row
                _prepare(raw, path, is_target=is_target)
                yield SQLiteSide(raw, path)
    except sqlite3.Error as error:
        raise ConfigurationError(f"the database {path} cannot be used: {error}") from error


def _prepare(raw: sqlite3.Connection, path: Path, *, is_target: bool) -> None:
    if is_target:
        raw.execute("PRAGMA journal_mode = WAL").fetchone()
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA foreign_keys = ON")
        if raw.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (COPY,)).fetchone() is None:
            connection.migrate(raw)
            path.chmod(0o600)
    if connection.pending(raw):
        raise ConfigurationError(f"the database {path} is of an older replyhook: run replyhook db migrate on it first")
    if not is_target:
        raw.execute("PRAGMA query_only = ON")
