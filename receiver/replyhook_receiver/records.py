"""What the store keeps, as plain values: jobs, videos, callbacks, notifications, deliveries, tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from replyhook.jobs import DEFAULT_ACCOUNT, AssetStatus, JobError, JobEvent, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.endpoint_rules import WEBHOOK
from replyhook_receiver.endpoints import PAUSED_FOR, SigningSecret
from replyhook_receiver.lifecycle import JobState, Verdict


class ReportSource(StrEnum):
    """Where a report came from."""

    CALLBACK = "callback"
    RELAY = "relay"
    RECONCILE = "reconcile"
    REPLAY = "replay"


SUBMIT_UNKNOWN = "submit_unknown"
"""With what the reason begins, where a submit's outcome is not known and nothing could ever tell it."""


class SubmissionOutcome(StrEnum):
    """What became of a submit."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyTarget:
    """A place to notify. Without secrets of its own the receiver's are used."""

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    types: tuple[NotificationType, ...] = ()
    channel: str = WEBHOOK
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[SigningSecret, ...] = field(default=(), repr=False)
    disabled_at: datetime | None = None
    is_gone: bool = False

    def wants(self, kind: NotificationType) -> bool:
        """Whether it is told of ``kind``: what it named, or everything but progress."""
        return kind in self.types if self.types else not kind.is_progress

    def keeps(self, at: datetime) -> bool:
        """Whether what happens at ``at`` is to be brought, or kept for it: not when it is disabled for long."""
        return self.disabled_at is None or at - self.disabled_at <= PAUSED_FOR

    def signing_secrets(self, now: datetime) -> list[str]:
        """Its own secrets in force, newest first."""
        own = [secret.value for secret in self.secrets if secret.signs_at(now)]
        return own or ([self.secret] if self.secret else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A job as its caller registers it, before it is submitted.

    ``relay_video`` is the video's URL where the receiver is to submit the job itself.
    """

    job_id: str
    provider: str
    reference: str | None
    user: str | None
    notify: tuple[NotifyTarget, ...]
    request: Mapping[str, Any] = field(repr=False)
    account: str = DEFAULT_ACCOUNT
    relay_video: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a caller reports of its submit. ``passed_on``: it was refused, and another provider is asked instead."""

    outcome: SubmissionOutcome
    passed_on: bool = False
    provider_job_id: str | None = field(default=None, repr=False)
    error: str | None = None


class AssetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job's video on its way into our storage. ``name`` is its name there; ``url`` is the provider's link."""

    status: AssetStatus = AssetStatus.NONE
    url: str | None = None
    expires_at: datetime | None = None
    name: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    content_type: str | None = None
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    stored_at: datetime | None = None
    problem: str | None = None

    def __repr__(self) -> str:
        return f"<AssetRecord {self.status}>"  # its link may be signed


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job as we know it. ``registered`` is False while only its callback's token told us of it."""

    id: str
    provider: str
    account: str
    registered: bool
    status: JobStatus
    created_at: datetime
    reference: str | None = None
    user: str | None = None
    provider_job_id: str | None = None
    progress: int | None = None
    trust: Trust | None = None
    error: JobError | None = None
    request: Mapping[str, Any] = msgspec.field(default_factory=dict)
    relay_video: str | None = None
    submission: SubmissionOutcome | None = None
    submitted_at: datetime | None = None
    called_back_at: datetime | None = None
    finished_at: datetime | None = None
    overdue_at: datetime | None = None
    overdue_reason: str | None = None
    asset: AssetRecord = AssetRecord()

    def __repr__(self) -> str:
        return (
            f"<JobRecord {self.id} {self.status}>"  # what was asked for, and the provider's id, are nobody's business
        )

    @property
    def state(self) -> JobState:
        """What a decision needs to know of it."""
        return JobState(
            id=self.id,
            status=self.status,
            progress=self.progress,
            error=self.error,
            provider_job_id=self.provider_job_id,
            asset_status=self.asset.status,
        )


class VideoWanted(StrEnum):
    """Where the video of a job that is looked for stands, in ``AssetStatus``'s words; ``LOST``: failed or expired."""

    NONE = "none"
    PENDING = "pending"
    DOWNLOADING = "downloading"
    STORED = "stored"
    FAILED = "failed"
    EXPIRED = "expired"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are wanted: those of which all that is not None is true. ``created_after`` holds its own moment,
    ``created_before`` does not; ``error`` is a part of what is wrong with a job or its video, in any case; ``overdue``
    has not ended since; ``expiring``: its video's link was said to end."""

    status: JobStatus | None = None
    provider: str | None = None
    reference: str | None = None
    user: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    error: str | None = None
    overdue: bool | None = None
    video: VideoWanted | None = None
    expiring: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPresent:
    """A job as it is after its notification at the place ``through`` in the stream, before the next; 0: none yet."""

    job: JobRecord
    through: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachedJob:
    """What a detached client's token says of its job, and how many such jobs of one user may appear in a day."""

    user: str = field(repr=False)
    reference: str | None = field(repr=False)
    max_per_day: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One verified request or answer from a provider, as it came, with what was read in it.

    ``event`` is None for a body that could not be read. ``job_id`` is the reply URL's token's. ``sender`` is who signed
    it, to be learned and kept as the account's if this report proves to answer our own submit.
    """

    callback_id: str
    provider: str
    job_id: str | None
    received_at: datetime
    headers: tuple[tuple[str, str], ...]
    body: bytes
    trust: Trust
    event: JobEvent | None
    source: ReportSource = ReportSource.CALLBACK
    sender: str | None = None
    account: str = DEFAULT_ACCOUNT
    nonce: str | None = None
    detached: DetachedJob | None = None

    def __repr__(self) -> str:
        return f"<Report {self.callback_id} {self.provider} {self.event}>"


class Accepted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of a report. ``learned_sender`` says that its sender is now the account's pinned one.

    ``verdict`` is None for an orphan: it is judged when its job is known.
    """

    callback_id: str
    job_id: str | None
    verdict: Verdict | None
    learned_sender: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRecord:
    """A callback as it came, with what became of it."""

    id: str
    provider: str
    job_id: str | None
    source: ReportSource
    received_at: datetime
    trust: Trust
    verdict: Verdict | None
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    dropped_bytes: int | None = None
    """How long the body was, where it and the headers were dropped because they were old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRecord:
    """One notification. ``sequence`` is its place in the stream; ``body`` is what is sent, byte for byte."""

    sequence: int
    id: str
    job_id: str
    type: str
    body: bytes = field(repr=False)


class DeliveryStatus(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """The duty to bring one notification to one endpoint, with all that is needed to do so.

    ``standing_endpoint`` is the id of an endpoint that is no job's own.
    """

    id: str
    notification: NotificationRecord
    channel: str
    target: NotifyTarget
    status: DeliveryStatus
    standing_endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCounts:
    """What a store has done since it was opened, and the callbacks it holds.

    ``fsyncs`` are those that commits waited for; a checkpoint now and then has two more, which are not counted.
    """

    stored: int
    writes: int
    commits: int
    fsyncs: int
