"""A time limit for what is nearly always there at once: one timer for all who wait, not one for each."""

import asyncio
from types import TracebackType


class Patience:
    """``with patience:`` around what may take ``seconds``: then its task is cancelled, and ``TimeoutError`` raised.

    ``asyncio.timeout`` sets a timer and takes it back for each, which costs a callback more than its token's check.
    Here each is noted, in the order in which their time is up, and the one timer looks at the first.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        task = _this_task()
        loop = task.get_loop()
        self._until[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = _this_task()
        self._until.pop(task, None)
        if self._late and task in self._late:
            self._late.discard(task)
            # Somebody else may have cancelled it as well: then that is what it ends by.
            if task.uncancel() == 0 and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._until:
            task, until = next(iter(self._until.items()))
            if until > now:
                self._timer = loop.call_later(until - now, self._look, loop)
                return
            del self._until[task]
            self._late.add(task)
            task.cancel()
        self._timer = None


def _this_task() -> "asyncio.Task[object]":
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("patience is for tasks")
    return task
