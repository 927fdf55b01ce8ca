"""What the API answers about jobs, endpoints, deliveries, keys and the receiver itself: the models it is encoded by."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from replyhook.jobs import AssetStatus, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.endpoints import EndpointOrigin
from replyhook_receiver.records import DeliveryStatus
from replyhook_receiver.stores.deliveries import WaitsFor

Moment = Annotated[datetime, Meta(tz=True)]


class Told(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an answer is made of: nothing more than is named, and nothing less."""


class Page(Told, kw_only=True):
    """Some of a list, newest first. ``next`` is the ``before`` of the page that follows, null on the last one.

    A page may hold fewer than were asked for, even none, and have more: a filter that is rarely true is looked for in
    so many rows at a time.
    """

    has_more: bool
    next: str | None


class ErrorTold(Told):
    """Why a job failed, in the provider's words or ours."""

    code: str | None
    message: str


class Video(Told):
    """A job's video. ``url`` is ours and signed, for a while; ``provider_url`` is the provider's."""

    status: AssetStatus
    url: str | None
    bytes: int | None
    sha256: str | None
    content_type: str | None
    duration: float | None
    width: int | None
    height: int | None
    stored_at: Moment | None
    provider_url: str | None
    provider_url_expires_at: Moment | None
    problem: str | None


class Job(Told, kw_only=True):
    """A job as it is. ``provider_job_id`` is masked where it holds personal details.

    ``waiting_for`` is why the receiver has not submitted it yet, where it is to; in the answer about one job only.
    """

    id: str
    reference: str | None
    user: str | None
    provider: str
    provider_job_id: str | None
    status: JobStatus
    progress: int | None
    trust: Trust | None
    created_at: Moment
    submitted_at: Moment | None
    called_back_at: Moment | None
    finished_at: Moment | None
    overdue_at: Moment | None
    overdue_reason: str | None
    error: ErrorTold | None
    video: Video
    waiting_for: str | UnsetType = UNSET


class JobPage(Page):
    """Some jobs."""

    data: list[Job]


class RegisteredJob(Job):
    """A job that was registered. ``reply_url`` is where its provider calls back; ``warnings``: what will not work."""

    reply_url: str
    warnings: list[str]


class CanceledJob(Job):
    """A job that was to be canceled. ``canceled_by``: the receiver, before it was submitted, or the provider was asked.

    What the provider then calls back decides.
    """

    canceled_by: str


class ReplyURL(Told):
    """Where a provider calls back."""

    id: str
    provider: str
    account: str
    reply_url: str


class Asked(Told):
    """How often a provider was asked about jobs since the start, by cause; how many jobs recovered, how many not."""

    asked: dict[str, int]
    recovered: int
    lost: int


Refused = dict[str, dict[str, int]]
Questioned = dict[str, Asked]


class EndpointTold(Told):
    """A place to notify. Its headers' values and its secret are not shown."""

    id: str
    origin: EndpointOrigin
    job: str | None
    channel: str
    url: str
    name: str | None
    user: str | None
    types: list[NotificationType]
    headers: dict[str, str]
    secret: str | None
    older_secrets_until: list[Moment]
    enabled: bool
    disabled_at: Moment | None
    disabled_why: str | None
    failing_since: Moment | None
    created_at: Moment


class EndpointPage(Page):
    """Some endpoints."""

    data: list[EndpointTold]


class EndpointTested(Told):
    """What came of a test notification."""

    ok: bool
    endpoint: str
    notification: str
    status: int | None
    answer: str | None
    milliseconds: int
    problem: str | None


class Place(Told):
    """Where a delivery goes; of http(s) URLs the host, of others nothing. ``removed``: the endpoint is gone."""

    id: str
    name: str | None
    channel: str
    host: str | None
    removed: bool


class Delivery(Told, kw_only=True):
    """The duty to bring one notification to one endpoint, and how that goes."""

    id: str
    notification_id: str
    type: str
    job_id: str
    endpoint: Place
    status: DeliveryStatus
    waits_for: WaitsFor | None
    created_at: Moment
    delivered_at: Moment | None
    next_attempt_at: Moment | None
    tries: int
    counted: int
    last_status: int | None
    problem: str | None
    superseded_by: str | None


class DeliveryPage(Page):
    """Some deliveries."""

    data: list[Delivery]


class Attempt(Told):
    """One try at a delivery."""

    number: int
    begun_at: Moment
    under_way: bool
    latency_ms: int | None
    status: int | None
    answer: str | None
    problem: str | None


class WholeDelivery(Delivery):
    """A delivery with every try."""

    attempts: list[Attempt]


class Retried(Told):
    """How many deliveries a filter matched, were put back, and were left out since they lead nowhere."""

    matching: int
    retried: int
    skipped: int
    dry_run: bool


class Problem(msgspec.Struct, kw_only=True):
    """An RFC 9457 problem. Some have more members: ``field``, ``value`` and ``allowed`` say what to change."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    value: Any | UnsetType = UNSET
    allowed: str | UnsetType = UNSET
    still_running: bool | UnsetType = UNSET
    video_status: AssetStatus | UnsetType = UNSET
