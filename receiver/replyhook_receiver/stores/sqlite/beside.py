"""One short transaction on the database file, beside a receiver that may be running on it.

SQLite lets one write at a time: the receiver's next commit waits the few milliseconds that this takes. What is written
here must be nothing that the receiver counts or holds in memory.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from replyhook.errors import ConfigurationError
from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stores.sqlite.connection import connect, newest_schema

T = TypeVar("T")


def work_beside(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do ``work`` in one transaction; it is on disk when this returns.

    Raises ``ConfigurationError`` for a file that is not there or has another schema than ours, and
    ``StoreUnavailable`` for one that is locked or cannot be written.
    """
    if not path.is_file():
        raise ConfigurationError(f"there is no database {path}: start `replyhook serve` once, which makes it")
    return asyncio.run(_worked(path, work))


async def _worked(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    connection = await connect(path)
    try:
        return await connection.work(lambda raw: _in_one_transaction(raw, path, work))
    except sqlite3.Error as error:
        raise StoreUnavailable(f"the database {path} did not take it: {error}; nothing is changed") from error
    finally:
        await connection.close()


def _in_one_transaction(raw: sqlite3.Connection, path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    found, ours = raw.execute("PRAGMA user_version").fetchone()[0], newest_schema()
    if found != ours:
        older = found < ours
        way = "start this version's `replyhook serve` once, which brings it up to date" if older else "upgrade"
        raise ConfigurationError(f"the database {path} has the schema {found}, ours is {ours}: {way}")
    raw.execute("BEGIN IMMEDIATE")
    try:
        result = work(raw)
    except BaseException:
        raw.execute("ROLLBACK")
        raise
    raw.execute("COMMIT")
    return result
