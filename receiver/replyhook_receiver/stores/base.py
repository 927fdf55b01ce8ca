"""The Store protocol: what the rest of the receiver asks of a database, whichever it is."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import (
    Accepted,
    JobFilter,
    JobPresent,
    JobRecord,
    NotificationRecord,
    Registration,
    Report,
    Submission,
)
from replyhook_receiver.stores.audit import Audit
from replyhook_receiver.stores.canceling import Canceling
from replyhook_receiver.stores.deliveries import Deliveries
from replyhook_receiver.stores.endpoints import Endpoints
from replyhook_receiver.stores.erasing import Erasing
from replyhook_receiver.stores.gauges import Gauges
from replyhook_receiver.stores.history import History
from replyhook_receiver.stores.holding import Holding
from replyhook_receiver.stores.idempotency import IdempotencyStore
from replyhook_receiver.stores.keys import Keys
from replyhook_receiver.stores.links import Links
from replyhook_receiver.stores.overview import Overview
from replyhook_receiver.stores.owners import Owners
from replyhook_receiver.stores.relays import Relays
from replyhook_receiver.stores.replaying import Replays
from replyhook_receiver.stores.retention import Retention
from replyhook_receiver.stores.sessions import Sessions
from replyhook_receiver.stores.steering import Steering
from replyhook_receiver.stores.streams import StreamStore
from replyhook_receiver.stores.traces import Traces
from replyhook_receiver.stores.track_records import TrackRecords
from replyhook_receiver.stores.windows import Windows
from replyhook_receiver.stores.workers import Workers
from replyhook_receiver.tasks import Outcome, Task

Describe = Callable[[JobRecord, NotificationType, datetime], bytes]
"""Builds a notification's body as it is kept (``told``), inside the transaction that makes the fact."""


class Store(Protocol):
    """One database. Every method that writes returns only after the write is on disk, or raises.

    All raise ``StoreUnavailable`` when the database cannot; the same call may then be made again.
    """

    @property
    def idempotency(self) -> IdempotencyStore:
        """The keys of requests that are to be done once."""
        ...

    @property
    def relays(self) -> Relays:
        """What relayed submits wait for."""
        ...

    @property
    def history(self) -> History:
        """What was told, for people to read."""
        ...

    @property
    def replays(self) -> Replays:
        """What was told, taken once more."""
        ...

    @property
    def streams(self) -> StreamStore:
        """Notifications, in their order."""
        ...

    @property
    def links(self) -> Links:
        """Which video is fetched next, and from where."""
        ...

    @property
    def endpoints(self) -> Endpoints:
        """The registered places to notify."""
        ...

    @property
    def deliveries(self) -> Deliveries:
        """The outbox."""
        ...

    @property
    def retention(self) -> Retention:
        """Throwing away what is old."""
        ...

    @property
    def erasing(self) -> Erasing:
        """Removing one user's jobs."""
        ...

    @property
    def holding(self) -> Holding:
        """Pausing the work."""
        ...

    @property
    def gauges(self) -> Gauges:
        """How much waits."""
        ...

    @property
    def keys(self) -> Keys:
        """API keys."""
        ...

    @property
    def owners(self) -> Owners:
        """Whose a thing is."""
        ...

    @property
    def sessions(self) -> Sessions:
        """Who is signed in to the dashboard."""
        ...

    @property
    def audit(self) -> Audit:
        """What was done by hand."""
        ...

    @property
    def track_records(self) -> TrackRecords:
        """How providers have done of late."""
        ...

    @property
    def overview(self) -> Overview:
        """How things went lately."""
        ...

    @property
    def steering(self) -> Steering:
        """What is done about a job before its time comes."""
        ...

    @property
    def traces(self) -> Traces:
        """Which trace a job belongs to."""
        ...

    @property
    def windows(self) -> Windows:
        """How far down a list is looked at once."""
        ...

    @property
    def canceling(self) -> Canceling:
        """Ending a relayed job before it is submitted."""
        ...

    @property
    def workers(self) -> Workers:
        """Who is at work."""
        ...

    async def open(self) -> None:
        """Connect, bring the schema up to date, check that what we rely on is in force."""
        ...

    async def close(self) -> None:
        """Finish what was taken on, then disconnect."""
        ...

    @property
    def has_failed(self) -> bool:
        """Whether it will take no write any more, by a fault of ours: only a new process helps."""
        ...

    async def check(self) -> bool:
        """Whether writes are taken and reach the disk, told soon; costs no write unless one has failed."""
        ...

    def on_change(self, *, tasks: Callable[[], None], notifications: Callable[[], None]) -> None:
        """Set what is called, after a commit, when there are new tasks or new notifications."""
        ...

    async def register(self, registration: Registration, *, now: datetime) -> JobRecord:
        """Make a job known. The same contents again change nothing; a job that only its callback's token told us of is
        filled in, and its endpoints hear what has happened so far. Raises ``RegistrationConflict``."""
        ...

    async def record_submission(self, job_id: str, submission: Submission, *, now: datetime) -> JobRecord:
        """Keep what became of a submit. Raises ``UnknownJob``, ``SubmissionConflict``."""
        ...

    async def begin_submit(self, job_id: str, *, now: datetime) -> bool:
        """Note, before a relayed submit is sent, that it is; False when it was begun before, since it is never sent
        twice, and when the job was canceled."""
        ...

    async def accept(self, report: Report) -> Accepted:
        """Keep a report with everything it leads to (event, job change, notifications, tasks) in one transaction."""
        ...

    def accept_then(self, report: Report, settle: Callable[[Accepted | Exception], None]) -> None:
        """As ``accept``, for callers that do not wait: ``settle`` hears, on the event loop, what became of it.

        What is not even taken on is raised at once.
        """
        ...

    async def job(self, job_id: str) -> JobRecord | None:
        """A job, or None."""
        ...

    async def jobs(
        self, wanted: JobFilter, *, before: str | None = None, down_to: str | None = None, limit: int = 100
    ) -> list[JobRecord]:
        """Jobs, newest first by their ids; those before the id ``before``, and none below ``down_to``, where given."""
        ...

    async def present(self, job_id: str) -> JobPresent | None:
        """A job with the place of its last notification, both of the same moment; or None."""
        ...

    async def notifications(
        self, *, after: int, job_id: str | None = None, limit: int = 100
    ) -> list[NotificationRecord]:
        """Notifications after a place in the stream, oldest first."""
        ...

    async def last_notification(self) -> int:
        """The last place in the stream, 0 where there is none."""
        ...

    async def senders(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """The senders learned so far, by provider and account."""
        ...

    async def claim(
        self, kinds: Sequence[TaskKind], *, limit: int, lease: timedelta, now: datetime, at_once: int | None = None
    ) -> list[Task]:
        """Take up to ``limit`` due tasks (or tasks whose lease has run out), counting the attempt.

        With ``at_once`` no more of these kinds are held at a time, by all workers together.
        A job that is past its deadline becomes a ``reconcile`` task in the same transaction, once; a link that is about
        to end an ``expiring`` one. Downloads that are to be in the order of their links are claimed from ``links``.
        """
        ...

    async def renew(self, held: Sequence[Task], *, lease: timedelta, now: datetime) -> set[str]:
        """Prolong the claims of tasks that are still being worked on; the leases that were not lost."""
        ...

    async def settle_times(self, *, latest_due: datetime, latest_lease: datetime, now: datetime) -> int:
        """Let tasks that are due after ``latest_due``, or held beyond ``latest_lease``, be due now; how many."""
        ...

    async def bring_forward(self, by: timedelta) -> None:
        """Let every waiting task and every deadline be so much earlier: the clock was set back, and a wait is a time,
        not a date."""
        ...

    async def finish(self, task: Task, outcome: Outcome, *, now: datetime) -> bool:
        """Keep a task's outcome with everything it leads to. False when the lease was lost: then nothing is kept."""
        ...

    async def next_due(self, *, now: datetime, kinds: Sequence[TaskKind] = tuple(TaskKind)) -> datetime | None:
        """When the earliest task of these kinds will be due, or its lease run out, or, for ``reconcile``, the earliest
        deadline be past (now, if one is); or None."""
        ...
