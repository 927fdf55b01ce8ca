"""What one transaction is about to write: rows read in bulk before, changed in memory, written table by table.

A statement costs Python more than it costs SQLite, an enum that is bound more than a text, and an enum's ``value`` more
than its ``_value_``, so what every callback
leads to is gathered here and written with one ``executemany`` a table. What is rare goes through ``raw``, which writes
everything down first: whoever reads or writes by a statement of its own sees what came before, and nobody after it
works with what it changed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec import structs

from replyhook.ids import new_id
from replyhook.jobs import Asset, AssetStatus
from replyhook.notifications import NotificationType
from replyhook_receiver.endpoints import GIVEN_UP_WITH_IT
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import AssetRecord, JobRecord, NotifyTarget
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql.ahead import erased_of, known_of, uncalled_of
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.inserts import Insert
from replyhook_receiver.stores.sql.rows import (
    from_ms,
    read_job,
    target_from,
    to_ms,
    types_from,
)
from replyhook_receiver.stores.sql.tasks import NewTask, add_tasks

_STANDING = """
    SELECT id, types, disabled_ms, "user" FROM endpoints WHERE job_id IS NULL AND removed_ms IS NULL ORDER BY id
"""
_ADD_JOB = """
    INSERT INTO jobs (id, provider, account, reference, "user", status, request, created_ms)
    VALUES (?, ?, ?, ?, ?, ?, '{}', ?)
"""
_CHANGE_JOB = """
    UPDATE jobs SET status = ?, progress = ?, error_code = ?, error_message = ?, trust = ?, called_back_ms = ?,
        finished_ms = ?
    WHERE id = ?
"""
# Apart, since it has an index, which is written anew by every statement that names the column.
_CALL_JOB = "UPDATE jobs SET provider_job_id = ? WHERE id = ?"
_EXPECT_VIDEO = Insert(
    "assets (job_id, status, url, expires_ms)",
    4,
    """ON CONFLICT (job_id) DO UPDATE SET status = excluded.status, url = excluded.url,
        expires_ms = excluded.expires_ms, problem = NULL,
        dead_answers = CASE WHEN assets.url = excluded.url OR assets.url IS NULL AND excluded.url IS NULL
            THEN assets.dead_answers ELSE 0 END""",
)
_ADD_EVENT = Insert(
    """events (key, id, job_id, provider, account, provider_job_id, callback_id, source, status, word, progress,
        result_url, error_code, error_message, verdict, created_ms)""",
    16,
)
_ADD_CALLBACK = Insert(
    "callbacks (id, provider, account, job_id, source, received_ms, trust, verdict, event_key, headers, body)", 11
)
_ADD_NOTIFICATION = Insert("notifications (sequence, id, job_id, type, body, created_ms)", 6)
_EXPECT_CALLBACK = Insert("deadlines (job_id, due_ms)", 2, "ON CONFLICT DO NOTHING")
_ADD_DELIVERY = Insert("deliveries (id, notification, endpoint_id, status, problem, created_ms)", 6)


_DAY = timedelta(days=1)


class Unit:
    """The rows of one transaction. ``describe`` builds the bodies of notifications."""

    def __init__(self, raw: Raw, describe: Describe) -> None:
        self._raw = raw
        self._describe = describe
        self.found_under_way: list[tuple[JobRecord, datetime]] = []
        """Jobs that a report was the first to tell us of as begun, with when it did."""
        self._clear()

    def _clear(self) -> None:
        self._jobs: dict[str, JobRecord] = {}
        self._absent: dict[str, bool] = {}
        self._called: dict[tuple[str, str, str], str] = {}
        self._uncalled: set[tuple[str, str, str]] = set()
        self._known: dict[str, bool] = {}
        self._endpoints: dict[str, list[tuple[str, NotifyTarget]]] = {}
        self._standing: list[tuple[str, NotifyTarget, str | None]] | None = None
        self._senders: dict[tuple[str, str], bool] = {}
        self._detached: dict[str, int] = {}
        self._last_sequence: int | None = None
        self._new_jobs: dict[str, None] = {}
        self._changed_jobs: dict[str, None] = {}
        self._expected_videos: dict[str, None] = {}
        self._events: list[tuple[object, ...]] = []
        self._callbacks: list[tuple[object, ...]] = []
        self._notifications: list[tuple[object, ...]] = []
        self._deliveries: list[tuple[object, ...]] = []
        self._tasks: list[NewTask] = []
        self._deadlines: list[tuple[object, ...]] = []

    @property
    def raw(self) -> Raw:
        """The connection, with everything written down; nothing that was read before is believed after it."""
        self.flush()
        self._clear()
        return self._raw

    # Reading

    def read_ahead(self, told: Sequence[tuple[str, str | None]]) -> None:
        """Read what is known of jobs, with their endpoints, and which of the facts that are told of them are known.

        ``told`` are the jobs' ids, each with the key of what is told of it.
        """
        self._jobs, self._endpoints, self._known = known_of(self._raw, told)
        self._absent = erased_of(self._raw, [job_id for job_id, _ in told if job_id not in self._jobs])

    def read_names_ahead(self, told: Iterable[tuple[str, str, str, str]]) -> None:
        """Read which of the providers' names for jobs are no job's yet, of jobs that have none.

        ``told`` are the jobs' ids, each with the provider, the account and the name that it was called by.
        """
        self._uncalled |= uncalled_of(
            self._raw,
            (
                (provider, account, name)
                for job_id, provider, account, name in told
                if (job := self._jobs.get(job_id)) is None or job.provider_job_id is None
            ),
        )

    def job(self, job_id: str) -> JobRecord | None:
        """A job as it is after all that was gathered so far."""
        job = self._jobs.get(job_id)
        if job is None and job_id not in self._absent:
            job = read_job(self._raw, "j.id = ?", job_id)
            if job is not None:
                self._jobs[job_id] = job
        return job

    def is_erased(self, job_id: str) -> bool:
        """Whether a job of that id was erased: it is never made again."""
        if job_id in self._absent:
            return self._absent[job_id]
        return self._raw.execute("SELECT 1 FROM erased WHERE job_id = ?", (job_id,)).fetchone() is not None

    def job_called(self, provider: str, account: str, provider_job_id: str) -> JobRecord | None:
        """The job that the provider calls so."""
        gathered = self._called.get((provider, account, provider_job_id))
        if gathered is not None:
            return self._jobs[gathered]
        if (provider, account, provider_job_id) in self._uncalled:
            return None
        where = "provider = ? AND account = ? AND provider_job_id = ?"
        statement = f"SELECT id FROM jobs WHERE {where}"  # noqa: S608 - ours
        row = self._raw.execute(statement, (provider, account, provider_job_id)).fetchone()
        return self.job(row["id"]) if row else None

    def is_known(self, key: str) -> bool:
        """Whether this fact was told before."""
        if key not in self._known:
            self._known[key] = self._raw.execute("SELECT 1 FROM events WHERE key = ?", (key,)).fetchone() is not None
        return self._known[key]

    def has_sender(self, provider: str, account: str) -> bool:
        """Whether it is known who signs this account's callbacks."""
        if (provider, account) not in self._senders:
            statement = "SELECT 1 FROM senders WHERE provider = ? AND account = ?"
            row = self._raw.execute(statement, (provider, account)).fetchone()
            self._senders[provider, account] = row is not None
        return self._senders[provider, account]

    def detached_jobs(self, user: str, now: datetime) -> int:
        """How many of a user's jobs only their tokens told us of within the day before ``now``."""
        if user not in self._detached:
            statement = 'SELECT count(*) AS jobs FROM jobs WHERE "user" = ? AND registration IS NULL AND created_ms > ?'
            self._detached[user] = self._raw.execute(statement, (user, to_ms(now - _DAY))).fetchone()["jobs"]
        return self._detached[user]

    # Writing

    def add_job(self, job: JobRecord) -> None:
        """A job that only its token told us of."""
        self._jobs[job.id] = job
        self._new_jobs[job.id] = None
        self._endpoints[job.id] = []
        if job.user in self._detached:
            self._detached[job.user] += 1

    def change_job(self, job: JobRecord) -> None:
        """What a report changes of a job: its status, progress, error, trust, times, and the provider's id."""
        before = self._jobs.get(job.id)
        self._jobs[job.id] = job
        self._changed_jobs[job.id] = None
        if job.provider_job_id is not None and (before is None or before.provider_job_id != job.provider_job_id):
            self._called[job.provider, job.account, job.provider_job_id] = job.id

    def expect_video(self, job: JobRecord, result: Asset) -> JobRecord:
        """Note the link that is to be tried next, while the video is not stored."""
        if job.asset.status is AssetStatus.STORED:
            return job
        asset = structs.replace(
            job.asset, status=AssetStatus.PENDING, url=result.url, expires_at=result.expires_at, problem=None
        )
        job = structs.replace(job, asset=asset)
        self._jobs[job.id] = job
        self._expected_videos[job.id] = None
        return job

    def add_event(self, key: str, values: tuple[object, ...]) -> None:
        """A fact that was not known."""
        self._known[key] = True
        self._events.append(values)

    def add_callback(self, values: tuple[object, ...]) -> None:
        """A report as it came."""
        self._callbacks.append(values)

    def announce(self, job_id: str, kind: NotificationType, at: datetime) -> None:
        """A notification about a job, a delivery for each endpoint that wants it, and the tasks to bring them."""
        job = self.job(job_id)
        if job is None:
            raise AssertionError(f"a notification about {job_id}, which is not there")
        sequence = self._next_sequence()
        body = self._describe(job, kind, at)
        self._notifications.append((sequence, new_id("ntf", at=at.timestamp()), job_id, kind._value_, body, to_ms(at)))
        for endpoint_id, target in self._endpoints_of(job_id):
            self.add_delivery(sequence, kind, endpoint_id, target, at)
        for endpoint_id, target, user in self.standing_endpoints():
            if user is None or user == job.user:
                self.add_delivery(sequence, kind, endpoint_id, target, at)

    def add_delivery(
        self, sequence: int, kind: NotificationType, endpoint_id: str, target: NotifyTarget, at: datetime
    ) -> None:
        """The duty to bring a notification to an endpoint, where the endpoint wants it; while it is disabled, a duty
        that waits; after a job's own asked not to be called again, one that is given up."""
        if target.wants(kind) and target.keeps(at):
            delivery_id = new_id("dlv", at=at.timestamp())
            state = ("dead", GIVEN_UP_WITH_IT) if target.is_gone else ("pending", None)
            self._deliveries.append((delivery_id, sequence, endpoint_id, *state, to_ms(at)))
            if target.disabled_at is None:
                self.add_task(TaskKind.NOTIFY, delivery_id, at)

    def add_task(self, kind: TaskKind, subject: str, at: datetime, *, revive: bool = False) -> None:
        """Work that is to be done."""
        self._tasks.append(NewTask(kind, subject, at, revive))

    def expect_callback(self, job_id: str, by: datetime) -> None:
        """When a job has to have been called back, where that is not known yet."""
        self._deadlines.append((job_id, to_ms(by)))

    def flush(self) -> None:
        """Write everything down."""
        raw, jobs = self._raw, self._jobs
        if self._new_jobs:
            raw.executemany(_ADD_JOB, [_added(jobs[job_id]) for job_id in self._new_jobs])
        if self._called:
            raw.executemany(_CALL_JOB, [(called, job_id) for (_, _, called), job_id in self._called.items()])
        if self._changed_jobs:
            raw.executemany(_CHANGE_JOB, [_changed(jobs[job_id]) for job_id in self._changed_jobs])
        _EXPECT_VIDEO.write(raw, [_expected(job_id, jobs[job_id].asset) for job_id in self._expected_videos])
        _ADD_EVENT.write(raw, self._events)
        _ADD_CALLBACK.write(raw, self._callbacks)
        _ADD_NOTIFICATION.write(raw, self._notifications)
        _ADD_DELIVERY.write(raw, self._deliveries)
        _EXPECT_CALLBACK.write(raw, self._deadlines)
        add_tasks(raw, self._tasks)

    def _endpoints_of(self, job_id: str) -> Sequence[tuple[str, NotifyTarget]]:
        if job_id not in self._endpoints:
            its = "SELECT * FROM endpoints WHERE job_id = ? AND removed_ms IS NULL ORDER BY id"
            rows = self._raw.execute(its, (job_id,)).fetchall()
            self._endpoints[job_id] = [(row["id"], target_from(row)) for row in rows]
        return self._endpoints[job_id]

    def standing_endpoints(self) -> Sequence[tuple[str, NotifyTarget, str | None]]:
        """Those that are no job's own, each with the user whose jobs it hears of (None: everybody's)."""
        if self._standing is None:
            # Only what decides whether they hear of it: where they lead is looked up when it is brought.
            self._standing = [
                (endpoint_id, NotifyTarget(url="", types=types_from(types), disabled_at=from_ms(disabled_ms)), user)
                for endpoint_id, types, disabled_ms, user in self._raw.execute(_STANDING).fetchall()
            ]
        return self._standing

    def _next_sequence(self) -> int:
        """The next place in the stream. Nobody else gives any away: this is the only transaction that writes."""
        if self._last_sequence is None:
            row = self._raw.execute("SELECT coalesce(max(sequence), 0) AS last FROM notifications").fetchone()
            self._last_sequence = row["last"]  # the newest is never removed, only emptied
        self._last_sequence += 1
        return self._last_sequence


def _added(job: JobRecord) -> tuple[object, ...]:
    return job.id, job.provider, job.account, job.reference, job.user, job.status._value_, to_ms(job.created_at)


def _changed(job: JobRecord) -> tuple[object, ...]:
    return (
        job.status._value_,
        job.progress,
        job.error.code if job.error else None,
        job.error.message if job.error else None,
        job.trust._value_ if job.trust else None,
        None if job.called_back_at is None else to_ms(job.called_back_at),
        None if job.finished_at is None else to_ms(job.finished_at),
        job.id,
    )


def _expected(job_id: str, asset: AssetRecord) -> tuple[object, ...]:
    return job_id, asset.status._value_, asset.url, None if asset.expires_at is None else to_ms(asset.expires_at)
