"""An operator's work on the SQLite file beside a receiver that may be running: what is pending, and backups."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.sqlite import connection
from replyhook_receiver.stores.sqlite.private import make_private

_SECONDS = 10.0


def pending_migrations(path: Path) -> list[str]:
    """The migrations that are still to be run. Raises ``ConfigurationError`` where there is no database of ours."""
    with _opened(path) as raw:
        return connection.pending(raw)


def migrate(path: Path) -> list[str]:
    """Run what is pending, each in a transaction of its own; the names of those. Makes the file where there is none."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_private(path)
    with _errors(path), closing(sqlite3.connect(path, isolation_level=None, timeout=_SECONDS)) as raw:
        found = connection.pending(raw)
        connection.migrate(raw)
        return found


def back_up(path: Path, target: Path) -> int:
    """Copy the database as it is at one moment, check the copy, then let it appear; its bytes.

    The receiver may go on: it is copied in one read transaction, which holds up no write. The copy is one file,
    readable for its owner alone. Raises ``ConfigurationError``.
    """
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with _opened(path) as source, closing(sqlite3.connect(beside)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            _check(copy)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.link(beside, target)  # never over another one
        return target.stat().st_size
    except FileExistsError:
        raise ConfigurationError(f"{target} is there already: name another file") from None
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def _check(copy: sqlite3.Connection) -> None:
    found = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise ConfigurationError(f"the copy is damaged, and so may be the database: {'; '.join(found)[:300]}")
    if copy.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise ConfigurationError("the copy holds rows that belong to none: so does the database")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise ConfigurationError(f"there is no database {path}: is this the receiver's data_dir?")
    with _errors(path), closing(sqlite3.connect(path, isolation_level=None, timeout=_SECONDS)) as raw:
        raw.execute("PRAGMA query_only = ON")
        yield raw


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ConfigurationError(f"the database {path} cannot be used: {error}") from error
