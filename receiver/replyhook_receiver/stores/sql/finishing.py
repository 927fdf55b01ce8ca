"""Ends of tasks, written together: what ends while a commit runs goes into one piece of work of the next."""

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.sql.among import run_among
from replyhook_receiver.stores.sql.connection import Cursor, Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.departures import Departures
from replyhook_receiver.stores.sql.places import Limits
from replyhook_receiver.tasks import Done, NotNow, Outcome, Task

Leases = dict[str, bool]
"""The leases that are held, with whether their tasks begin anew; read once for many."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class End:
    """A task's end, on its way to the database."""

    task: Task
    outcome: Outcome
    now: datetime
    kept: "asyncio.Future[bool]" = field(repr=False)


class FinishOne(Protocol):
    """Keeps one end, with everything it leads to; False when the lease was lost."""

    def __call__(self, raw: Raw, end: End, departures: Departures, leases: Leases | None) -> bool: ...


class Finishing:
    """Gathers ends. One that cannot be kept with the others is kept alone, or fails alone."""

    def __init__(self, database: Database, finish_one: FinishOne, *, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._finish_one = finish_one
        self._gathered: list[End] = []
        self._guard = threading.Lock()  # the writer takes them on a thread of its own
        self._writing: set[asyncio.Task[None]] = set()

    async def finish(self, task: Task, outcome: Outcome, *, now: datetime) -> bool:
        """Keep an end. False when the lease was lost: then nothing is kept."""
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with self._guard:
            is_first = not self._gathered
            self._gathered.append(End(task=task, outcome=outcome, now=now, kept=kept))
        if is_first:
            # Nobody's own: whoever was first may be cancelled, and the others wait for it, too.
            writing = asyncio.create_task(self._write(), name="replyhook-ends")
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
        return await kept

    async def _write(self) -> None:
        taken: list[End] = []

        def work(raw: Raw) -> list[bool]:
            if not taken:  # a batch may be run once more
                with self._guard:
                    taken.extend(self._gathered)
                    self._gathered.clear()
            return finish_all(raw, taken, self._finish_one, self._limits)

        try:
            found = await self._database.write(work)
        except Exception as error:
            if len(taken) > 1:  # one of them may be to blame
                await asyncio.gather(*(self._write_alone(end) for end in taken))
            else:
                self._fail(taken, error)
        else:
            for end, kept in zip(taken, found, strict=True):
                if not end.kept.done():
                    end.kept.set_result(kept)

    async def _write_alone(self, end: End) -> None:
        def work(raw: Raw) -> bool:
            return finish_all(raw, [end], self._finish_one, self._limits)[0]

        try:
            kept = await self._database.write(work)
        except Exception as error:
            self._fail([end], error)
        else:
            if not end.kept.done():
                end.kept.set_result(kept)

    def _fail(self, taken: Sequence[End], error: Exception) -> None:
        ends = list(taken)
        if not ends:  # the database was not reached at all
            with self._guard:
                ends = list(self._gathered)
                self._gathered.clear()
        for end in ends:
            with contextlib.suppress(asyncio.InvalidStateError):
                end.kept.set_exception(error)


def finish_all(raw: Raw, ends: Sequence[End], finish_one: FinishOne, limits: Limits) -> list[bool]:
    """Keep all of them. Of those that come last what they need to know is looked up together: first of deliveries, then
    of those that change nothing but themselves."""
    found: dict[int, bool] = {}
    departures = Departures(raw, limits=limits, now=max((end.now for end in ends), default=_EARLIEST))
    plain = [end for end in ends if _is_plain(end)]
    deliveries = [end for end in ends if _is_delivery(end)]
    for end in ends:
        if not (_is_plain(end) or _is_delivery(end)):
            found[id(end)] = finish_one(raw, end, departures, None)
    if deliveries:
        asked = _ask(raw, TaskKind.NOTIFY, deliveries)
        departures.read_ahead([end.task.subject for end in deliveries])
        departures.leases = _leases([asked])
        for end in deliveries:
            found[id(end)] = finish_one(raw, end, departures, None)
        departures.settle()
    leases = _leases([_ask(raw, kind, plain) for kind in {end.task.kind for end in plain}])
    for end in plain:
        found[id(end)] = finish_one(raw, end, departures, leases)
    return [found[id(end)] for end in ends]


def _is_plain(end: End) -> bool:
    """Whether the end changes no other task."""
    return end.outcome == _NOTHING and end.task.kind in _ALONE


def _is_delivery(end: End) -> bool:
    """Whether a try to deliver has ended."""
    return end.task.kind is TaskKind.NOTIFY and not isinstance(end.outcome, NotNow)


_NOTHING = Done()
_ALONE = frozenset(TaskKind) - {TaskKind.NOTIFY}
_EARLIEST = datetime.min.replace(tzinfo=UTC)
# The state is looked at afterwards: SQLite would go through all that are leased.
_HELD = "SELECT lease, again, state FROM tasks WHERE kind = ? AND subject IN (SELECT value FROM json_each(?))"


def _ask(raw: Raw, kind: TaskKind, ends: Sequence[End]) -> Cursor:
    return run_among(raw, _HELD, kind.value, ids=[end.task.subject for end in ends if end.task.kind is kind])


def _leases(asked: Iterable[Cursor]) -> Leases:
    return {row["lease"]: bool(row["again"]) for cursor in asked for row in cursor if row["state"] == "leased"}
