"""Group commit: whatever arrived while the last commit ran goes into the next one."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from replyhook_receiver.errors import Overloaded, StoreUnavailable
from replyhook_receiver.records import Accepted, Report
from replyhook_receiver.stores.sql.batch import AcceptAll, Engine, Work, run_batch
from replyhook_receiver.stores.sql.connection import Raw

T = TypeVar("T")
Settle = Callable[[Any], None]
"""Hears what a write came to, a value or an error; it is called on the event loop."""

MAX_WAITING = 10_000
MAX_BATCH = 500
HANGS_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Writer:
    """The only one of its process that writes. ``run`` and ``accept`` return once theirs is on disk, or raise.

    One that fails fails alone (``batch``), and a failed commit fails its whole batch: nothing of it is kept. A caller
    that goes away does not take its work back: it is committed with the others. ``after_commit`` is called after every
    commit, whether anybody still waits for it or not.
    """

    def __init__(self, engine: Engine, *, accept_all: AcceptAll, after_commit: Callable[[], None]) -> None:
        self._engine = engine
        self._accept_all = accept_all
        self._after_commit = after_commit
        self._waiting: deque[tuple[Work | Report, Settle]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self.writes = self.commits = self.fsyncs = 0
        self._began_at: float | None = None
        self.failures = 0
        """How many commits have failed so far."""
        self._task = asyncio.create_task(self._write(), name="replyhook-writer")

    @property
    def healthy(self) -> bool:
        """Whether work is being taken."""
        return not self._closing and not self._task.done()

    @property
    def hangs(self) -> bool:
        """Whether one commit has been under way for longer than any takes whose database answers."""
        return self._began_at is not None and time.monotonic() - self._began_at > HANGS_SECONDS

    @property
    def waiting(self) -> int:
        """How many writes wait for a commit."""
        return len(self._waiting)

    async def run(self, work: Callable[[Raw], T]) -> T:
        """Run ``work`` in the next commit. Raises what it raises, ``Overloaded``, ``StoreUnavailable``."""
        result: T = await self._future(work)
        return result

    async def accept(self, report: Report) -> Accepted:
        """Keep ``report`` in the next commit. Raises the same."""
        accepted: Accepted = await self._future(report)
        return accepted

    def accept_then(self, report: Report, settle: Settle) -> None:
        """Keep ``report`` in the next commit, and let ``settle`` hear of it. Raises ``Overloaded`` and
        ``StoreUnavailable`` where it is not even taken on."""
        self._queue(report, settle)

    def _future(self, work: Work | Report) -> asyncio.Future[Any]:
        # Whoever waits for it may go away and so cancel it: the work is queued all the same.
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue(work, partial(_settle, future))
        return future

    def _queue(self, work: Work | Report, settle: Settle) -> None:
        if not self.healthy:
            raise StoreUnavailable("the store is not taking writes")
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} writes are waiting already")
        self._waiting.append((work, settle))
        self._wake.set()

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
                # What has come in meanwhile is read first: the batch is the larger, and each one's share of it smaller.
                await asyncio.sleep(0)
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
                self._began_at = time.monotonic()
                await self._commit(batch)
                self._began_at = None
        finally:
            for _, settle in self._waiting:
                _tell(settle, StoreUnavailable("the store stopped before this was written"))

    async def _commit(self, batch: list[tuple[Work | Report, Settle]]) -> None:
        works = [work for work, _ in batch]
        try:
            results = await self._engine.commit(lambda raw, alone: run_batch(raw, works, self._accept_all, alone))
        except Exception as error:
            self.failures += 1
            _log.exception("a commit of %d writes failed; none of them is kept", len(batch))
            if self._engine.is_locked(error):  # they would each wait as long for it: to be sent again is better
                batch = [*batch, *self._waiting]
                self._waiting.clear()
            for _, settle in batch:
                words = (
                    str(error) if isinstance(error, StoreUnavailable) else f"the commit failed ({type(error).__name__})"
                )
                _tell(settle, StoreUnavailable(words))
            if not isinstance(error, (*self._engine.errors, StoreUnavailable)):
                raise
        except BaseException:
            for _, settle in batch:
                _tell(settle, StoreUnavailable("the store stopped before this was known to be written"))
            raise
        else:
            self.writes += len(batch)
            self.commits += 1
            self.fsyncs += 1
            for (_, settle), result in zip(batch, results, strict=True):
                _tell(settle, result)
            self._after_commit()


def _tell(settle: Settle, result: Any) -> None:
    try:
        settle(result)
    except Exception:  # it is one caller's fault: the others hear of theirs
        _log.exception("a caller could not be told what its write came to")


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
