"""The connection that writes: one lock for all processes, a batch in few round trips, and a new one when it dies."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg import Connection, errors

from replyhook.errors import ConfigurationError
from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stores.postgres.connection import (
    IDLE_MILLISECONDS,
    PostgreSQLRaw,
    check_in_force,
    connect,
    cut_off,
    named,
    shown_error,
)
from replyhook_receiver.stores.sql.batch import Batch, Work
from replyhook_receiver.stores.sql.connection import Raw

BETWEEN_CONNECTS_SECONDS = 0.5

_log = logging.getLogger(__name__)

_LOCKED = (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled)
_NOT_BY_ONE_OF_THEM = (*_LOCKED, errors.ReadOnlySqlTransaction)
_IS_OURS = b"""
    SELECT hashtextextended('replyhook ' || current_schema(), 0) AS key,
        'replyhook_' || substr(md5(current_schema()), 1, 16) AS channel
"""
# Who has our lock and has not sent a word for seconds, in the middle of a transaction: a process that is stopped, or
# whose host is cut off. No time-out of PostgreSQL's ends it, since in a pipeline it does not count as idle.
_END_THE_STILL = b"""
    SELECT pg_terminate_backend(a.pid) AS ended FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((CAST(l.classid AS BIGINT) << 32) | CAST(l.objid AS BIGINT)) = $1
        AND a.application_name = 'replyhook' AND a.wait_event = 'ClientRead'
        AND a.xact_start < clock_timestamp() - CAST($2 AS BIGINT) * interval '1 millisecond'
"""


class _NobodyCan(StoreUnavailable):
    """What kept one batch from being written keeps the others, too: they need not wait as long for it."""


class PostgreSQLEngine:
    """The ``Engine`` over one connection, which is made again when it is lost.

    Every transaction begins by taking one lock that all processes on this database share, and keeps it until it is
    committed: so they follow one upon another, as on SQLite, and whatever holds there holds here. What they cost each
    other is made up for by batches. ``name`` tells others whose nudge it is.
    """

    errors = ()  # what the database raises may hold the values of a row, so it is not passed on, nor logged

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = name
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="replyhook-writer")
        self._connection: Connection[Any] | None = None
        self._lock_key = 0
        self._tried_at = float("-inf")
        self.channel = ""
        """What is notified when there is something new; known when it is open."""

    async def open(self, prepare: Callable[[Connection[Any]], object]) -> None:
        """Connect, see that what we rely on is in force, and ``prepare``.

        Raises ``ConfigurationError``, ``psycopg.Error``.
        """

        def work() -> None:
            prepare(self._connected())

        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def commit(self, batch: Batch) -> list[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, batch)

    async def close(self) -> None:
        """Disconnect, when what is under way is done."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    def cut_off(self) -> None:
        """Let what is under way fail."""
        cut_off(self._connection)

    def is_locked(self, error: Exception) -> bool:
        return isinstance(error, _NobodyCan)

    def _connected(self) -> Connection[Any]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        self._connection = None
        if time.monotonic() - self._tried_at < BETWEEN_CONNECTS_SECONDS:
            raise StoreUnavailable("PostgreSQL cannot be reached")
        self._tried_at = time.monotonic()
        connection = connect(self._url)
        try:
            check_in_force(connection)
            for row in connection.execute(_IS_OURS):
                self._lock_key, self.channel = row["key"], row["channel"]
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._tried_at = float("-inf")
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _commit(self, batch: Batch) -> list[Any]:
        try:
            return self._committed(self._ready(), batch)
        except _LOCKED as error:
            self._end_the_still()
            raise _NobodyCan(f"another program holds what is to be written ({named(error)})") from None
        except psycopg.Error as error:
            raise StoreUnavailable(f"the commit failed ({named(error)})") from None

    def _ready(self) -> Connection[Any]:
        """The connection, made anew where there is none. Raises ``StoreUnavailable``."""
        try:
            return self._connected()
        except psycopg.Error as error:
            raise _NobodyCan(f"PostgreSQL cannot be reached: {shown_error(error, self._url)}") from None
        except ConfigurationError as error:  # it is another one now, or was set up anew: that may be put right again
            raise _NobodyCan(str(error)) from None

    def _end_the_still(self) -> None:
        """Let nobody be waited for who stands still: what it had begun is taken back, as if it had been killed."""
        try:
            ended = self._ready().execute(_END_THE_STILL, (self._lock_key, IDLE_MILLISECONDS)).fetchall()
        except (psycopg.Error, StoreUnavailable):
            self._drop()
            return
        if ended:
            _log.warning("a process that stood still in the middle of a transaction was cut off from PostgreSQL")

    def _committed(self, connection: Connection[Any], batch: Batch) -> list[Any]:
        """Commit ``batch``. After a failure the connection is used no more: what a pipeline was to prepare behind it
        psycopg takes for prepared (3.3.9), and the server knows nothing of it. It would fail again, and for ever.
        """
        try:
            with connection.pipeline() as pipeline:
                return self._run(PostgreSQLRaw(connection, pipeline), batch, _run_unasked)
        except BaseException as error:
            is_lost = connection.closed
            self._drop()
            if is_lost or not isinstance(error, psycopg.Error) or isinstance(error, _NOT_BY_ONE_OF_THEM):
                raise
            # Which of them failed is not known in a pipeline: all is taken back, and done one after another.
            _log.debug("a batch is done again, one by one: %s", named(error))
        try:
            return self._run(PostgreSQLRaw(self._ready()), batch, _run_alone)
        except BaseException:
            self._drop()
            raise

    def _run(self, raw: PostgreSQLRaw, batch: Batch, alone: Any) -> list[Any]:
        raw.execute("BEGIN")
        raw.execute("SELECT pg_advisory_xact_lock(?)", (self._lock_key,))
        results = batch(raw, alone)
        if raw.made_work:
            raw.execute("SELECT pg_notify(?, ?)", (self.channel, self._name))
        end = raw.execute("COMMIT")
        raw.wait()
        if end.status != "COMMIT":  # a transaction that has failed is rolled back by it, without a word
            raise errors.InFailedSqlTransaction("the transaction was rolled back")
        return results


def _run_unasked(raw: Raw, work: Work) -> Any:
    """In a pipeline: whether the database took it is known at the end, and for all of them."""
    raw.execute("SAVEPOINT one")
    try:
        value = work(raw)
    except psycopg.Error:
        raise
    except Exception as error:
        raw.execute("ROLLBACK TO one")
        raw.execute("RELEASE one")
        return error
    raw.execute("RELEASE one")
    return value


def _run_alone(raw: Raw, work: Work) -> Any:
    raw.execute("SAVEPOINT one")
    try:
        value = work(raw)
    except Exception as error:
        if isinstance(error, _LOCKED):
            raise
        raw.execute("ROLLBACK TO one")  # raises where the connection is lost, and with it the batch
        raw.execute("RELEASE one")
        if isinstance(error, psycopg.Error):
            _log.error("one write of a batch failed alone: %s", named(error))
            return StoreUnavailable(f"the write failed ({named(error)})")
        return error
    raw.execute("RELEASE one")
    return value
