"""A few connections that only read, each with a thread of its own; one that was lost is made again."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
from psycopg import Connection, errors
from psycopg.pq import TransactionStatus

from replyhook_receiver.errors import Overloaded, StoreUnavailable
from replyhook_receiver.stores.postgres.connection import PostgreSQLRaw, connect, cut_off, named, shown_error
from replyhook_receiver.stores.sql.connection import Raw

T = TypeVar("T")

READERS = 4
PATIENCE_SECONDS = 5.0
_log = logging.getLogger(__name__)

# What was prepared on a connection is worth nothing after somebody has changed a table, or has made it forget.
_OUT_OF_DATE = (errors.FeatureNotSupported, errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)


class Readers:
    """``READERS`` connections, made when they are first needed. Who waits too long for a free one is turned away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._threads = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="replyhook-reader")
        self._free: asyncio.LifoQueue[Connection[Any] | None] = asyncio.LifoQueue()
        for _ in range(READERS):
            self._free.put_nowait(None)
        self._busy: set[Connection[Any]] = set()
        self._is_open = True

    async def read(self, work: Callable[[Raw], T]) -> T:
        """Run ``work``. Raises what it raises, ``Overloaded``, ``StoreUnavailable``."""
        if not self._is_open:
            raise StoreUnavailable("the store is not open")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                connection = await self._free.get()
        except TimeoutError:
            raise Overloaded(f"all {READERS} connections that read are busy") from None
        # Whoever waits for it may go away: the connection comes back all the same, when it is free.
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._read, connection, work)
        running.add_done_callback(self._give_back)
        result, _ = await asyncio.shield(running)
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return] # what work returned

    def cut_off(self) -> None:
        """Let what is under way fail."""
        for connection in list(self._busy):
            cut_off(connection)

    async def close(self) -> None:
        """Disconnect, when what is under way is done."""
        self._is_open = False
        for _ in range(READERS):
            connection = await self._free.get()
            if connection is not None:
                connection.close()
        self._threads.shutdown(wait=False)

    def _give_back(self, running: "asyncio.Future[tuple[Any, Connection[Any] | None]]") -> None:
        _, connection = (None, None) if running.cancelled() or running.exception() else running.result()
        self._free.put_nowait(connection)

    def _read(self, connection: Connection[Any] | None, work: Callable[[Raw], Any]) -> tuple[Any, Any]:
        """What ``work`` comes to, and the connection to go on with. One that was lost meanwhile, or that knows the
        tables as they were, is replaced, once; one on which the database refused anything is used no more.
        """
        was_used = connection is not None
        try:
            if connection is None or connection.closed:
                connection = connect(self._url, read_only=True)
            try:
                return self._work(connection, work), connection
            except psycopg.Error as error:
                if not was_used or not (connection.closed or isinstance(error, _OUT_OF_DATE)):
                    raise
            connection.close()
            connection = None
            connection = connect(self._url, read_only=True)
            return self._work(connection, work), connection
        except psycopg.Error as error:
            if connection is None:  # its words name addresses and paths, which are for the log alone
                _log.warning("PostgreSQL cannot be reached: %s", shown_error(error, self._url))
            else:
                connection.close()
            return StoreUnavailable(f"the store cannot be read ({named(error)})"), None
        except Exception as error:
            return error, _usable(connection)

    def _work(self, connection: Connection[Any], work: Callable[[Raw], Any]) -> Any:
        self._busy.add(connection)
        try:
            return work(PostgreSQLRaw(connection))
        finally:
            self._busy.discard(connection)


def _usable(connection: Connection[Any] | None) -> Connection[Any] | None:
    """The connection, if the next read can begin on it."""
    if connection is None or connection.closed:
        return None
    if connection.info.transaction_status is TransactionStatus.IDLE:
        return connection
    connection.close()
    return None
