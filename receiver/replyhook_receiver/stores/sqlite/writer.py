"""Group commit: whatever arrived while the last commit ran goes into the next one, each under its own savepoint."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from replyhook_receiver.errors import Overloaded, StoreUnavailable
from replyhook_receiver.stores.sqlite.connection import Connection

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

MAX_WAITING = 10_000
MAX_BATCH = 500

_log = logging.getLogger(__name__)


class Writer:
    """The only one that writes. ``run`` returns once the work is committed and on disk, or raises.

    ``after_commit`` is called after every commit, whether anybody still waits for it or not. One that fails fails
    alone, and a failed commit fails its whole batch: nothing of it is kept. A caller that goes away does not take its
    work back: it is committed with the others.
    """

    def __init__(self, connection: Connection, *, after_commit: Callable[[], None]) -> None:
        self._connection = connection
        self._after_commit = after_commit
        self._waiting: deque[tuple[Work, asyncio.Future[Any]]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self.failures = 0
        """How many commits have failed so far."""
        self._task = asyncio.create_task(self._write(), name="replyhook-writer")

    @property
    def healthy(self) -> bool:
        """Whether work is being taken."""
        return not self._closing and not self._task.done()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in the next commit. Raises what it raises, ``Overloaded``, ``StoreUnavailable``."""
        if not self.healthy:
            raise StoreUnavailable("the store is not taking writes")
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} writes are waiting already")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_mark_seen)
        self._waiting.append((work, future))
        self._wake.set()
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Commit what was taken on, then stop."""
        self._closing = True
        self._wake.set()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self._waiting or not self._closing:
                if not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
                await self._commit(batch)
        finally:
            for _, future in self._waiting:
                _settle(future, StoreUnavailable("the store stopped before this was written"))

    async def _commit(self, batch: list[tuple[Work, asyncio.Future[Any]]]) -> None:
        works = [work for work, _ in batch]
        try:
            results = await self._connection.work(lambda raw: _commit_batch(raw, works))
        except Exception as error:
            self.failures += 1
            _log.exception("a commit of %d writes failed; none of them is kept", len(batch))
            for _, future in batch:
                _settle(future, StoreUnavailable(f"the commit failed ({type(error).__name__})"))
            if not isinstance(error, sqlite3.Error):
                raise
        except BaseException:
            for _, future in batch:
                _settle(future, StoreUnavailable("the store stopped before this was known to be written"))
            raise
        else:
            for (_, future), result in zip(batch, results, strict=True):
                _settle(future, result)
            self._after_commit()


class _Result:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _commit_batch(raw: sqlite3.Connection, works: list[Work]) -> list[_Result | Exception]:
    raw.execute("BEGIN IMMEDIATE")
    try:
        results = [_run_alone(raw, work) for work in works]
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise
    return results


def _run_alone(raw: sqlite3.Connection, work: Work) -> _Result | Exception:
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
    return _Result(value)


def _settle(future: asyncio.Future[Any], result: "_Result | Exception") -> None:
    if future.done():
        return
    if isinstance(result, _Result):
        future.set_result(result.value)
    else:
        future.set_exception(result)


def _mark_seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # a caller that went away leaves nobody to hear of it
