"""The connection that writes the SQLite file: a transaction, its savepoints, and whether it reached the right file."""

import logging
import sqlite3
from collections.abc import Callable
from typing import Any

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stores.sql.batch import Batch, Work
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sqlite.connection import Connection

_log = logging.getLogger(__name__)


class SQLiteEngine:
    """The ``Engine`` over one connection.

    ``check_files`` raises where what was committed is not where it belongs: then it counts as failed.
    """

    errors = (sqlite3.Error,)

    def __init__(self, connection: Connection, *, check_files: Callable[[], None]) -> None:
        self._connection = connection
        self._check_files = check_files

    async def commit(self, batch: Batch) -> list[Any]:
        return await self._connection.work(lambda raw: self._commit(raw, batch))

    def is_locked(self, error: Exception) -> bool:
        is_busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
        return isinstance(error, sqlite3.OperationalError) and is_busy

    def _commit(self, raw: sqlite3.Connection, batch: Batch) -> list[Any]:
        raw.execute("BEGIN IMMEDIATE")
        try:
            results = batch(raw, _run_alone)
            raw.execute("COMMIT")
        except BaseException:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise
        self._check_files()  # what was committed to a file that nobody will find again is not kept
        return results


def _run_alone(raw: Raw, work: Work) -> Any:
    raw.execute("SAVEPOINT one")
    try:
        value = work(raw)
    except Exception as error:
        # Where the failure has ended the whole transaction (a full disk does), this raises, and with it the batch.
        raw.execute("ROLLBACK TO one")
        raw.execute("RELEASE one")
        if isinstance(error, sqlite3.Error):
            _log.exception("one write of a batch failed alone")
            return StoreUnavailable(f"the write failed ({type(error).__name__})")
        return error
    raw.execute("RELEASE one")
    return value
