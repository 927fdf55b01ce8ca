"""A process with our own worker, as `replyhook bench engine` starts it; its handlers do next to nothing."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from replyhook_receiver.announcements import Announcer
from replyhook_receiver.answers import Answer
from replyhook_receiver.bench.stored import new_report
from replyhook_receiver.config import Settings
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.retries import RESULTS
from replyhook_receiver.stores.postgres import PostgreSQLStore
from replyhook_receiver.stores.sql.places import Limits
from replyhook_receiver.tasks import Done, Task
from replyhook_receiver.work.worker import Handler, Worker

CAP = 3
_AT_A_TIME = 256
_AT_ONE_ENDPOINT: int = Settings.model_fields["endpoint_concurrency"].default
_DELIVERIES_AT_ONCE: int = Settings.model_fields["delivery_concurrency"].default
_LONG_SECONDS = 300.0
_SHORT_SECONDS = 0.05
_BEGAN = "INSERT INTO bench_runs (subject, process, attempt, began) VALUES (?, ?, ?, ?)"
_ENDED = "UPDATE bench_runs SET ended = ? WHERE subject = ? AND process = ?"


def _now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def store_at(url: str, *, at_one_endpoint: int = CAP) -> AsyncIterator[PostgreSQLStore]:
    """The store, open; of deliveries to one endpoint it lets so many go at a time."""
    describe = Announcer(public_url="http://127.0.0.1:8080", personal=frozenset()).body
    store = PostgreSQLStore(
        url, describe=describe, limits=Limits.of(place=at_one_endpoint, at_once=_DELIVERIES_AT_ONCE)
    )
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def work(url: str, what: str, begin: Callable[[], Awaitable[None]]) -> None:
    """Work until cancelled, from the moment that ``begin`` returns.

    ``what`` is ``nothing``, ``long``, ``deliveries`` or ``capped``, which are deliveries too.
    """
    async with store_at(url, at_one_endpoint=_AT_ONE_ENDPOINT if what == "deliveries" else CAP) as store:

        async def nothing(task: Task) -> Done:
            return Done(answer=Answer(status=200) if task.kind is TaskKind.NOTIFY else None)

        async def noted(task: Task) -> Done:
            values = (task.subject, os.getpid(), task.attempt, time.time())
            await store.database.write(lambda raw: raw.execute(_BEGAN, values).rowcount)
            await asyncio.sleep(_LONG_SECONDS if what == "long" else _SHORT_SECONDS)
            ended = (time.time(), task.subject, os.getpid())
            await store.database.write(lambda raw: raw.execute(_ENDED, ended).rowcount)
            return Done(answer=Answer(status=200) if task.kind is TaskKind.NOTIFY else None)

        run = nothing if what in ("nothing", "deliveries") else noted
        kind = TaskKind.NOTIFY if what in ("capped", "deliveries") else TaskKind.FETCH_RESULT
        concurrency = _DELIVERIES_AT_ONCE if kind is TaskKind.NOTIFY else _AT_A_TIME
        handlers = {kind: Handler(run=run, policy=RESULTS, concurrency=concurrency)}
        worker = Worker(store=store, handlers=handlers, now=_now)
        store.on_change(tasks=worker.wake, notifications=lambda: None)
        await begin()
        await worker.start()
        try:
            await worker.broken()
        finally:
            await worker.stop()


async def accept(url: str, begin: Callable[[], Awaitable[None]]) -> None:
    """Take callbacks without end, several at a time: each with its job, event, video and task."""
    async with store_at(url) as store:
        await begin()

        async def some() -> None:
            while True:
                await store.accept(new_report(_now()))

        await asyncio.gather(*(some() for _ in range(16)))
