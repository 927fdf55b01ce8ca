"""What the rest of the receiver asks of the outbox: looking at deliveries and their tries, and putting them back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from replyhook.notifications import NotificationType
from replyhook_receiver.records import DeliveryRecord, DeliveryStatus


class WaitsFor(StrEnum):
    """What a pending delivery waits for."""

    TIME = "time"
    ANSWER = "answer"
    EARLIER = "earlier_delivery"
    PLACE = "busy_endpoint"
    ENABLING = "disabled_endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries are wanted: those of which all that is not None is true.

    ``since`` and ``until`` bound when they were made; ``error`` is a part of their last error, in any case.
    ``reference`` and ``of_user`` are their job's; ``user``: of that user's jobs, to places of the user's alone.
    """

    status: DeliveryStatus | None = None
    endpoint: str | None = None
    job: str | None = None
    type: NotificationType | None = None
    since: datetime | None = None
    until: datetime | None = None
    error: str | None = None
    reference: str | None = None
    of_user: str | None = field(default=None, repr=False)
    user: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySummary:
    """A delivery as people look at it. ``attempts`` are all that were ever begun; ``problem`` is the last one's.

    ``counted`` are those that count towards giving up: not those before it was put back.
    """

    id: str
    notification_id: str
    type: str
    job_id: str
    endpoint_id: str
    endpoint_name: str | None
    channel: str
    url: str = field(repr=False)
    is_endpoint_removed: bool
    status: DeliveryStatus
    waits_for: WaitsFor | None
    created_at: datetime
    delivered_at: datetime | None
    next_attempt_at: datetime | None
    attempts: int
    counted: int
    answer: int | None
    problem: str | None
    superseded_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One try. ``is_under_way`` while it runs; one that neither runs nor has ended was cut off with its process."""

    number: int
    begun_at: datetime
    is_under_way: bool
    has_ended: bool
    took_ms: int | None
    status: int | None
    answer: str | None
    problem: str | None


class Deliveries(Protocol):
    """The outbox. Raises ``StoreUnavailable`` when the database cannot."""

    async def get(self, delivery_id: str) -> DeliveryRecord | None:
        """A delivery with its notification and target, or None."""
        ...

    async def summary(self, delivery_id: str) -> DeliverySummary | None:
        """A delivery as people look at it, or None."""
        ...

    async def page(
        self, wanted: DeliveryFilter, *, before: str | None = None, down_to: str | None = None, limit: int = 100
    ) -> list[DeliverySummary]:
        """Deliveries, newest first by their ids; those before the id ``before``, and none below ``down_to``, where
        given."""
        ...

    async def attempts(self, delivery_id: str) -> list[AttemptRecord]:
        """All tries of a delivery, the first one first."""
        ...

    async def retry(self, delivery_id: str, *, now: datetime) -> None:
        """Put a delivery back, under the same ids, with all its tries before it; one that is being tried begins anew
        should this try fail. Raises ``UnknownDelivery``, ``DeliverySuperseded``, and ``EndpointConflict`` where its
        endpoint was removed, or is a job's own and gone."""
        ...

    async def matching(self, wanted: DeliveryFilter) -> Sequence[str]:
        """The ids of all deliveries that ``retry_all`` would put back: without a status, of the dead ones."""
        ...

    async def leading_nowhere(self, wanted: DeliveryFilter) -> Sequence[str]:
        """The ids of those that ``matching`` leaves out, since their endpoints were removed or are gone."""
        ...

    async def retry_all(self, delivery_ids: Sequence[str], *, now: datetime) -> int:
        """Put these back, as ``retry`` does; how many were."""
        ...
