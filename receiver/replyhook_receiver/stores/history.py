"""The History protocol: what was told of jobs, read by people: callbacks, events, and one job's whole story."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from replyhook.jobs import JobEvent, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import CallbackRecord, JobRecord, ReportSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFilter:
    """Which callbacks are wanted: those of which all that is not None is true.

    ``orphan`` is whether nobody has named their job yet; ``since`` and ``until`` are of their arrival;
    ``reference`` and ``user`` are their job's.
    """

    provider: str | None = None
    job_id: str | None = None
    orphan: bool | None = None
    source: ReportSource | None = None
    trust: Trust | None = None
    verdict: Verdict | None = None
    since: datetime | None = None
    until: datetime | None = None
    reference: str | None = None
    user: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are wanted: those of which all that is not None is true. ``since`` and ``until`` are of when they
    were told first."""

    provider: str | None = None
    job_id: str | None = None
    source: ReportSource | None = None
    status: JobStatus | None = None
    verdict: Verdict | None = None
    since: datetime | None = None
    until: datetime | None = None
    reference: str | None = None
    user: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldCallback:
    """A callback without what came in it, but with what was read there; ``told`` is None where nothing could be."""

    id: str
    provider: str
    account: str
    job_id: str | None
    source: ReportSource
    received_at: datetime
    trust: Trust
    verdict: Verdict | None
    bytes: int
    told: JobEvent | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCallback:
    """A callback as it came, all of it."""

    callback: CallbackRecord
    account: str
    told: JobEvent | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One fact, kept once. ``link_dead`` says that its link was tried and given up."""

    id: str
    provider: str
    account: str
    job_id: str | None
    callback_id: str
    source: ReportSource
    verdict: Verdict | None
    created_at: datetime
    told: JobEvent = field(repr=False)
    link_dead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """One notification, without its body but with what it said of the job."""

    id: str
    type: NotificationType
    at: datetime
    status: JobStatus | None = None
    progress: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRecord:
    """One task about a job: how it stands and how often it was tried."""

    kind: TaskKind
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime
    finished_at: datetime | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStory:
    """One delivery and how it went. ``attempts`` are all its tries; ``counted`` those since it was put back."""

    id: str
    notification_id: str
    type: NotificationType
    endpoint_id: str
    endpoint_name: str | None
    channel: str
    url: str = field(repr=False)
    is_endpoint_removed: bool
    status: str
    attempts: int
    counted: int
    answer: int | None
    problem: str | None
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStory:
    """Everything that is kept of one job, each part oldest first; ``submitting_at`` of a submit of our own.

    ``is_whole`` is False where there was more than is good for anybody: then the oldest of it are left out.
    """

    job: JobRecord
    submitting_at: datetime | None
    callbacks: Sequence[ToldCallback]
    announced: Sequence[Announced]
    work: Sequence[WorkRecord]
    deliveries: Sequence[DeliveryStory]
    is_whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a name stands for: ``what`` it names, and the job it belongs to, where that is known."""

    what: str
    id: str
    job_id: str | None


EVERY_CALLBACK = CallbackFilter()
EVERY_EVENT = EventFilter()


class History(Protocol):
    """Reading what was told. Nothing here writes. All raise ``StoreUnavailable`` when the database cannot be read."""

    async def callbacks(
        self,
        wanted: CallbackFilter = EVERY_CALLBACK,
        *,
        before: str | None = None,
        down_to: str | None = None,
        limit: int = 100,
    ) -> list[ToldCallback]:
        """Kept callbacks, newest first; those that came before the one with the id ``before``, where it is given, and
        none that came before ``down_to``."""
        ...

    async def callback(self, callback_id: str) -> KeptCallback | None:
        """One callback as it came, or None."""
        ...

    async def events(
        self,
        wanted: EventFilter = EVERY_EVENT,
        *,
        before: str | None = None,
        down_to: str | None = None,
        limit: int = 100,
    ) -> list[EventRecord]:
        """Facts, newest first; those that came before the one with the id ``before``, where it is given, and none that
        came before the callback ``down_to``."""
        ...

    async def story(self, job_id: str, *, user: str | None = None) -> JobStory | None:
        """Everything that is kept of a job, all of the same moment, or None; for a ``user`` without the deliveries
        to places that are not the user's."""
        ...

    async def find(self, name: str, *, user: str | None = None, limit: int = 20) -> list[Found]:
        """What is called so: a job by our id, the caller's reference or the provider's id; a callback, event,
        delivery or notification by its id. The newest first; only what is ``user``'s, where one is given."""
        ...
