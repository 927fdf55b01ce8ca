"""SQLStore: the Store protocol over a database that speaks SQL."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Required, TypedDict

from replyhook.providers import PROVIDERS, make_provider
from replyhook_receiver.deadlines import Deadlines
from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import (
    Accepted,
    JobFilter,
    JobPresent,
    JobRecord,
    NotificationRecord,
    Registration,
    Report,
    StoreCounts,
    Submission,
)
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql import facts, links, outcomes, overdue, registering, relays, tasks
from replyhook_receiver.stores.sql.audit import SQLAudit
from replyhook_receiver.stores.sql.canceling import SQLCanceling
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import MakeDatabase
from replyhook_receiver.stores.sql.deliveries import SQLDeliveries
from replyhook_receiver.stores.sql.departures import Departures
from replyhook_receiver.stores.sql.endpoints import SQLEndpoints
from replyhook_receiver.stores.sql.erasing import SQLErasing
from replyhook_receiver.stores.sql.finishing import End, Finishing, Leases
from replyhook_receiver.stores.sql.gauges import SQLGauges
from replyhook_receiver.stores.sql.history import SQLHistory
from replyhook_receiver.stores.sql.holding import SQLHolding, is_held
from replyhook_receiver.stores.sql.idempotency import SQLIdempotency
from replyhook_receiver.stores.sql.job_lists import read_jobs
from replyhook_receiver.stores.sql.kept import sweep
from replyhook_receiver.stores.sql.keys import SQLKeys
from replyhook_receiver.stores.sql.looks import Looks
from replyhook_receiver.stores.sql.overview import SQLOverview
from replyhook_receiver.stores.sql.owners import SQLOwners
from replyhook_receiver.stores.sql.places import Limits
from replyhook_receiver.stores.sql.relays import SQLRelays
from replyhook_receiver.stores.sql.replaying import SQLReplays
from replyhook_receiver.stores.sql.retention import SQLRetention
from replyhook_receiver.stores.sql.rows import notification_from, read_job, read_present
from replyhook_receiver.stores.sql.sessions import SQLSessions
from replyhook_receiver.stores.sql.steering import SQLSteering
from replyhook_receiver.stores.sql.streams import SQLStreams
from replyhook_receiver.stores.sql.traces import SQLTraces
from replyhook_receiver.stores.sql.track_records import SQLTrackRecords
from replyhook_receiver.stores.sql.turns import Turns, look_again
from replyhook_receiver.stores.sql.windows import SQLWindows
from replyhook_receiver.stores.sql.workers import SQLWorkers
from replyhook_receiver.tasks import Done, Outcome, Task

AT_ONE_ENDPOINT = 8


class Options(TypedDict, total=False):
    """What a store is made with, whatever its database: see ``SQLStore``."""

    describe: Required[Describe]
    deadlines: Deadlines | None
    max_jobs: Mapping[str, int] | None
    at_one_endpoint: int
    limits: Limits | None


def _ignore() -> None:
    return None


class SQLStore:
    """The Store protocol over the database that ``make_database`` makes.

    ``describe`` builds the bodies of notifications inside the transactions that make them.

    ``deadlines`` says how long each job may stay silent; it learns that from this store's own jobs. ``max_jobs`` is how
    many an account may have under way before a relayed one waits, by provider; 0 or nothing: no limit. At most
    ``at_one_endpoint`` deliveries go to one endpoint at a time, whoever claims them; ``limits`` say it
    for hosts and for all of them too.
    """

    def __init__(
        self,
        make_database: MakeDatabase,
        *,
        describe: Describe,
        deadlines: Deadlines | None = None,
        max_jobs: Mapping[str, int] | None = None,
        at_one_endpoint: int = AT_ONE_ENDPOINT,
        limits: Limits | None = None,
    ) -> None:
        self._describe = describe
        self._limits = limits or Limits.of(place=at_one_endpoint, at_once=8 * at_one_endpoint)
        self._deadlines = deadlines or Deadlines(make_provider(name).capabilities for name in PROVIDERS)
        self.database = make_database(accept_all=self._accept_all, after_commit=self._tell)
        self.idempotency = SQLIdempotency(self.database)
        self.relays = SQLRelays(self.database, max_jobs or {})
        self.history = SQLHistory(self.database)
        self.replays = SQLReplays(self.database, accept_all=self._accept_all, describe=describe)
        self.streams = SQLStreams(self.database)
        self.links = links.SQLLinks(self.database, lifetime=self._deadlines.lifetime)
        self.endpoints = SQLEndpoints(self.database)
        self.deliveries = SQLDeliveries(self.database)
        self.retention = SQLRetention(self.database)
        self.erasing = SQLErasing(self.database)
        self.holding = SQLHolding(self.database)
        self.gauges = SQLGauges(self.database)
        self.keys = SQLKeys(self.database)
        self.owners = SQLOwners(self.database)
        self.sessions = SQLSessions(self.database)
        self.audit = SQLAudit(self.database)
        self.steering = SQLSteering(self.database, describe=describe)
        self.overview = SQLOverview(self.database)
        self.track_records = SQLTrackRecords(self.database)
        self.traces = SQLTraces(self.database)
        self.windows = SQLWindows(self.database)
        self.canceling = SQLCanceling(self.database, describe=describe)
        self.workers = SQLWorkers(self.database)
        self._finishing = Finishing(self.database, self._finish_one, limits=self._limits)
        self._looks = Looks(limits=self._limits)
        self._on_tasks: Callable[[], None] = _ignore
        self._on_notifications: Callable[[], None] = _ignore

    async def open(self) -> None:
        await self.database.open()

    async def open_to_read(self) -> None:
        """Open for reading alone, beside whoever serves it. Raises ``ConfigurationError``."""
        await self.database.open_to_read()

    async def close(self) -> None:
        await self.database.close()

    @property
    def has_failed(self) -> bool:
        try:
            return not self.database.writer.healthy
        except StoreUnavailable:  # it is not open
            return False

    async def check(self) -> bool:
        return await self.database.check()

    def on_change(self, *, tasks: Callable[[], None], notifications: Callable[[], None]) -> None:
        self._on_tasks, self._on_notifications = tasks, notifications

    async def counts(self) -> StoreCounts:
        """What the writer has done since the store was opened, and how many callbacks there are in all."""
        stored = await self.database.read(
            lambda raw: raw.execute("SELECT count(*) AS stored FROM callbacks").fetchone()
        )
        writer = self.database.writer
        return StoreCounts(stored=stored["stored"], writes=writer.writes, commits=writer.commits, fsyncs=writer.fsyncs)

    async def register(self, registration: Registration, *, now: datetime) -> JobRecord:
        return await self.database.write(
            lambda raw: registering.register(raw, registration, now=now, describe=self._describe)
        )

    async def record_submission(self, job_id: str, submission: Submission, *, now: datetime) -> JobRecord:
        await self._learn(now)
        return await self.database.write(
            lambda raw: registering.report_submission(
                raw, job_id, submission, now=now, describe=self._describe, deadlines=self._deadlines
            )
        )

    async def begin_submit(self, job_id: str, *, now: datetime) -> bool:
        return await self.database.write(lambda raw: registering.begin_submit(raw, job_id, now=now))

    async def accept(self, report: Report) -> Accepted:
        return await self.database.accept(report)

    def accept_then(self, report: Report, settle: Callable[[Accepted | Exception], None]) -> None:
        self.database.accept_then(report, settle)

    async def job(self, job_id: str) -> JobRecord | None:
        return await self.database.read(lambda raw: read_job(raw, "j.id = ?", job_id))

    async def jobs(
        self, wanted: JobFilter, *, before: str | None = None, down_to: str | None = None, limit: int = 100
    ) -> list[JobRecord]:
        return await self.database.read(lambda raw: read_jobs(raw, wanted, before=before, down_to=down_to, limit=limit))

    async def present(self, job_id: str) -> JobPresent | None:
        return await self.database.read(lambda raw: read_present(raw, job_id))

    async def notifications(
        self, *, after: int, job_id: str | None = None, limit: int = 100
    ) -> list[NotificationRecord]:
        if job_id is None:
            statement = "SELECT * FROM notifications WHERE sequence > ? ORDER BY sequence LIMIT ?"
            values: tuple[object, ...] = (after, limit)
        else:
            statement = "SELECT * FROM notifications WHERE job_id = ? AND sequence > ? ORDER BY sequence LIMIT ?"
            values = (job_id, after, limit)
        rows = await self.database.read(lambda raw: raw.execute(statement, values).fetchall())
        return [notification_from(row) for row in rows]

    async def last_notification(self) -> int:
        row = await self.database.read(
            lambda raw: raw.execute("SELECT max(sequence) AS last FROM notifications").fetchone()
        )
        return row["last"] or 0

    async def senders(self) -> dict[tuple[str, str], tuple[str, ...]]:
        rows = await self.database.read(
            lambda raw: raw.execute("SELECT provider, account, sender FROM senders").fetchall()
        )
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        for row in rows:
            key = (row["provider"], row["account"])
            found[key] = (*found.get(key, ()), row["sender"])
        return found

    async def claim(
        self, kinds: Sequence[TaskKind], *, limit: int, lease: timedelta, now: datetime, at_once: int | None = None
    ) -> list[Task]:
        def work(raw: Raw) -> list[Task]:
            room = limit if at_once is None else min(limit, at_once - tasks.held(raw, kinds, now=now))
            if room <= 0 or is_held(raw):
                return []
            if TaskKind.RECONCILE in kinds:
                overdue.sweep(raw, now)
            if TaskKind.RELAY in kinds:
                relays.admit(raw, self.relays.max_jobs, limit=room, now=now)
            if TaskKind.EXPIRING in kinds:
                links.sweep(raw, now)
            if TaskKind.NOTIFY in kinds:
                self._looks.look(raw, now)
            turns = Turns(raw, limits=self._limits, now=now)
            return tasks.claim(raw, kinds, limit=room, lease=lease, now=now, deliveries=turns)

        return await self.database.write(work)

    async def renew(self, held: Sequence[Task], *, lease: timedelta, now: datetime) -> set[str]:
        return await self.database.write(lambda raw: tasks.renew(raw, held, lease=lease, now=now))

    async def settle_times(self, *, latest_due: datetime, latest_lease: datetime, now: datetime) -> int:
        def work(raw: Raw) -> int:
            look_again(raw, now)
            sweep(raw, now)
            return tasks.settle_times(raw, latest_due=latest_due, latest_lease=latest_lease, now=now)

        return await self.database.write(work)

    async def bring_forward(self, by: timedelta) -> None:
        await self.database.write(lambda raw: tasks.bring_forward(raw, by))

    async def finish(self, task: Task, outcome: Outcome, *, now: datetime) -> bool:
        if isinstance(outcome, Done) and outcome.submission is not None:
            await self._learn(now)
        return await self._finishing.finish(task, outcome, now=now)

    async def next_due(self, *, now: datetime, kinds: Sequence[TaskKind] = tuple(TaskKind)) -> datetime | None:
        def look(raw: Raw) -> datetime | None:
            if is_held(raw):
                return None
            if TaskKind.RELAY in kinds and relays.next_is_free(raw, self.relays.max_jobs):
                return now
            dues = [tasks.next_due(raw, kinds), self._looks.next(raw, now) if TaskKind.NOTIFY in kinds else None]
            return min((due for due in dues if due is not None), default=None)

        due = await self.database.read(look)
        return None if due is None else max(due, now)

    def _accept_all(self, raw: Raw, reports: Sequence[Report]) -> list[Accepted]:
        return facts.accept_all(raw, reports, self._describe, self._deadlines)

    def _finish_one(self, raw: Raw, end: End, departures: Departures, leases: Leases | None) -> bool:
        return outcomes.finish(
            raw,
            end.task,
            end.outcome,
            now=end.now,
            describe=self._describe,
            deadlines=self._deadlines,
            departures=departures,
            leases=leases,
        )

    async def _learn(self, now: datetime) -> None:
        if self._deadlines.is_due_to_learn(now):
            self._deadlines.learn(await self.database.read(overdue.callback_times))

    def _tell(self) -> None:
        self._on_tasks()
        self._on_notifications()
