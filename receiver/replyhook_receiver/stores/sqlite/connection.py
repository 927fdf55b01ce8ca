"""Connections to the SQLite file: the settings durability rests on, verified, and the schema's migrations."""

import asyncio
import sqlite3
from collections.abc import Callable
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

import aiosqlite

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.schema_steps import COPY, HALF_COPIED, newest, number_of, pending_steps, steps
from replyhook_receiver.stores.sqlite.private import make_private

T = TypeVar("T")

_BUSY_MILLISECONDS = 2_000
_ROWS_READ_AT_A_TIME = 64
_SYNCHRONOUS_FULL = 2


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a whole piece of plain ``sqlite3`` work in one visit to its thread.

    aiosqlite's own methods cost a thread switch per statement; a batch of callbacks is hundreds of statements.
    """

    async def work(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``function`` on the connection's thread."""
        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call] # aiosqlite types it not
        return result


async def connect(path: Path, *, read_only: bool = False, never_writes: bool = False) -> Connection:
    """Open ``path`` with everything set that we rely on. Raises ``ConfigurationError`` when it is not in force.

    What ``never_writes`` does not even move the log into the file when it is the last to close it.
    """

    def open_file() -> sqlite3.Connection:
        if not (read_only or never_writes):
            make_private(path)
        name = f"{path.absolute().as_uri()}?mode=ro" if never_writes else path
        raw = sqlite3.connect(name, isolation_level=None, check_same_thread=False, uri=never_writes)
        raw.row_factory = sqlite3.Row
        return raw

    connection = Connection(open_file, _ROWS_READ_AT_A_TIME)
    try:
        await connection
        await connection.work(_prepare_reader if read_only else _prepare_writer)
    except sqlite3.Error as error:
        await asyncio.shield(connection.close())
        raise ConfigurationError(f"the database {path} cannot be used: {error}") from error
    except BaseException:
        # An unclosed connection's thread keeps the process alive at its end.
        await asyncio.shield(connection.close())
        raise
    return connection


def _prepare_writer(raw: sqlite3.Connection) -> None:
    raw.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    mode = raw.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("PRAGMA foreign_keys = ON")
    synchronous = raw.execute("PRAGMA synchronous").fetchone()[0]
    foreign_keys = raw.execute("PRAGMA foreign_keys").fetchone()[0]
    if mode != "wal" or synchronous != _SYNCHRONOUS_FULL or foreign_keys != 1:
        raise ConfigurationError(
            f"the database does not run as it must (journal_mode={mode}, synchronous={synchronous}, "
            f"foreign_keys={foreign_keys}): is it on a network file system? Move data_dir to a local disk"
        )


def keep_undo_in_memory(raw: sqlite3.Connection) -> None:
    """Let what a savepoint needs to be taken back stay in memory.

    SQLite would write every page that a batch changes to a temporary file first, in two calls each: a fifth of what
    writing the rows cost. A batch is small; a migration, which may sort a whole table, is to be run before.
    """
    raw.execute("PRAGMA temp_store = MEMORY")


def _prepare_reader(raw: sqlite3.Connection) -> None:
    raw.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    raw.execute("PRAGMA query_only = ON")


def pending(raw: sqlite3.Connection) -> list[str]:
    """The names of the migrations that are still to be run. Raises ``ConfigurationError`` for a newer schema."""
    return [script.name.removesuffix(".sql") for script in _pending(raw)]


def migrate(raw: sqlite3.Connection) -> None:
    """Bring the schema up to date, one numbered file a transaction.

    Raises ``ConfigurationError`` for a newer one, for a step that the database does not take, and for half a copy.
    """
    if raw.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (COPY,)).fetchone():
        raise HALF_COPIED
    for script in _pending(raw):
        statements = script.read_text(encoding="utf-8")
        try:
            raw.executescript(f"BEGIN IMMEDIATE;\n{statements}\nPRAGMA user_version = {number_of(script)};\nCOMMIT;")
        except sqlite3.Error as error:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise ConfigurationError(
                f"the database does not take the step {script.name} of its schema ({error}), and nothing of it was "
                "kept. Free the disk or end what locks the file, then start again; a database that was changed by "
                "hand has to be restored from its backup"
            ) from error


def _pending(raw: sqlite3.Connection) -> list[Traversable]:
    return pending_steps("sqlite", schema_of(raw))


def schema_of(raw: sqlite3.Connection) -> int:
    """The number of the last step that a database's schema has taken; 0 for an empty one."""
    return int(raw.execute("PRAGMA user_version").fetchone()[0])


def newest_schema() -> int:
    """The number of the last step that there is."""
    return newest("sqlite")


def schema_steps() -> list[int]:
    """The numbers of all steps that there are, in order."""
    return [number_of(step) for step in steps("sqlite")]
